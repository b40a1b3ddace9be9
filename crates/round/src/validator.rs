//! A validator's windows: gather, agree on what is held, judge, vote, build and report the aggregate; weights and checkpoints
//! in between.

mod holding;

use crate::{
    Elector, Event, FailedEffect, Follower, SealedCommitments, SkipReason, ValidatorEffect, Vote, VoteSealRecord,
    seals_end,
};
use templar_base::{BlockNumber, StateHash, Window};

/// How far the judging of one window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judging {
    Idle,
    Listing(Window),
    Gathering {
        window: Window,
        closed: bool,
    },
    /// Everything is here; what is held is written and, where the run agrees on it, read until it stands; the text of judgement
    /// is not drawn yet.
    Gathered(Window),
    /// The candidates stand; those that are missing are fetched until this block.
    Taking {
        window: Window,
        until: BlockNumber,
        closed: bool,
    },
    Scoring(Window),
    Sealing(Window),
    /// The vote is sealed; it is opened when nobody can copy it any more.
    Sealed(Window),
    Voting(Window),
}

/// The state of a validator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    follower: Follower,
    weights_every_windows: u64,
    judging: Judging,
    /// The own vote, until it is opened.
    vote: Option<Vote>,
    /// Whether what is held is to be written: it has not been asked for yet, or has failed.
    is_held_due: bool,
    /// The newest window that was judged, or whose judging was given up.
    settled: Option<Window>,
    /// The head when the request under way was made, or when the gathering was closed.
    asked_at: BlockNumber,
    /// What failed is not retried before this block.
    retry_at: BlockNumber,
}

impl Validator {
    /// A validator that holds the parameters of `follower`.
    pub fn new(follower: Follower, weights_every_windows: u64) -> Self {
        let weights_every_windows = weights_every_windows.max(1);
        let (asked_at, retry_at) = (BlockNumber(0), BlockNumber(0));
        let (judging, vote, is_held_due, settled) = (Judging::Idle, None, false, None);
        Self { follower, weights_every_windows, judging, vote, is_held_due, settled, asked_at, retry_at }
    }

    /// The part that follows the run.
    pub fn follower(&self) -> &Follower {
        &self.follower
    }

    /// What it does now, for people.
    pub fn activity(&self) -> &'static str {
        match self.judging {
            Judging::Idle => self.follower.activity(),
            Judging::Listing(_) | Judging::Gathering { .. } | Judging::Gathered(_) | Judging::Taking { .. } => {
                "gathers payloads"
            }
            Judging::Scoring(_) => "judges payloads",
            Judging::Sealing(_) | Judging::Sealed(_) | Judging::Voting(_) => "votes",
        }
    }

    /// Advances by one event.
    pub fn step(&mut self, event: &Event) -> Vec<ValidatorEffect> {
        let applying = self.follower.position();
        let effects = self.follower.step(event).into_iter();
        let mut effects: Vec<ValidatorEffect> = effects.map(ValidatorEffect::Follow).collect();
        effects.extend(self.drop_judging_from_wrong_parameters());
        match event {
            Event::Applied { window, state, .. }
                if *window == applying.next && self.follower.position() != applying =>
            {
                effects.extend(self.after_applying(*window, *state));
            }
            Event::SealedRead { window, sealed } if self.judging == Judging::Listing(*window) => {
                effects.push(self.gather(*window, sealed));
            }
            Event::Gathered { window, settled, committed } => {
                effects.extend(self.on_gathered(*window, *settled, *committed));
            }
            Event::HeldRead { window, .. } if self.judging == Judging::Gathered(*window) => {
                effects.extend(self.on_held(*window, event));
            }
            Event::CandidatesTaken { window, lacking, all } => effects.extend(self.on_taken(*window, *lacking, *all)),
            Event::Judged { window, vote } if self.judging == Judging::Scoring(*window) => {
                effects.push(self.seal_vote(*window, vote));
            }
            Event::VoteSealed { window } if self.judging == Judging::Sealing(*window) => {
                self.judging = Judging::Sealed(*window);
                // Asked at once, and then in each block.
                self.asked_at = self.follower.head().minus(1);
            }
            Event::VoteSeals { window, at, electors, seals } if self.judging == Judging::Sealed(*window) => {
                effects.extend(self.open_vote(*window, *at, electors, seals));
            }
            Event::Voted { window } if self.judging == Judging::Voting(*window) => self.judging = Judging::Idle,
            Event::Failed { window, effect } => self.on_failed(*window, *effect),
            _ => {}
        }
        effects.extend(self.due());
        effects
    }

    /// A vote that rests on parameters known to be wrong would only mislead.
    fn drop_judging_from_wrong_parameters(&mut self) -> Option<ValidatorEffect> {
        let (Judging::Listing(window)
        | Judging::Gathering { window, .. }
        | Judging::Gathered(window)
        | Judging::Taking { window, .. }
        | Judging::Scoring(window)
        | Judging::Sealed(window)) = self.judging
        else {
            return None;
        };
        if !self.follower.is_replacing_parameters() {
            return None;
        }
        self.judging = Judging::Idle;
        Some(ValidatorEffect::Skip { window, reason: SkipReason::NotInSync })
    }

    /// What is due at the present head and position.
    fn due(&mut self) -> Option<ValidatorEffect> {
        let ended = self.follower.current()?.previous()?;
        let (head, phases) = (self.follower.head(), self.follower.phases());
        match self.judging {
            Judging::Gathered(window) if phases.hold(window).is_some() => self.hold_due(window),
            Judging::Gathered(window) if head >= phases.draw(window) => {
                self.judging = Judging::Scoring(window);
                Some(ValidatorEffect::Judge { window })
            }
            Judging::Taking { window, until, closed: false } if head >= until => {
                self.enter(Judging::Taking { window, until, closed: true });
                Some(ValidatorEffect::CloseTaking { window })
            }
            Judging::Sealed(window) if head > self.asked_at && head < phases.apply(window) => {
                self.asked_at = head;
                Some(ValidatorEffect::ReadVoteSeals { window })
            }
            Judging::Gathering { window, closed: false } if head >= phases.reveal(window) => {
                self.enter(Judging::Gathering { window, closed: true });
                Some(ValidatorEffect::CloseGather { window })
            }
            Judging::Idle
                if self.follower.position().next == ended
                    && !self.follower.is_replacing_parameters()
                    && head >= self.retry_at
                    && self.settled.is_none_or(|settled| settled < ended)
                    && head < phases.judge(ended) =>
            {
                self.settled = Some(ended);
                self.enter(Judging::Listing(ended));
                Some(ValidatorEffect::ReadSealed { window: ended })
            }
            _ => self.give_up_waiting(),
        }
    }

    fn enter(&mut self, judging: Judging) {
        self.judging = judging;
        self.asked_at = self.follower.head();
    }

    /// Ends a request that got neither answer nor failure within its deadline. Reading and gathering start over while
    /// there is time; a judgement or a vote of which nothing is heard is too late by then.
    fn give_up_waiting(&mut self) -> Option<ValidatorEffect> {
        let (head, phases) = (self.follower.head(), self.follower.phases());
        let is_late = head >= self.asked_at.plus(phases.answer_blocks());
        match self.judging {
            Judging::Listing(window)
            | Judging::Gathering { window, closed: true }
            | Judging::Taking { window, closed: true, .. }
                if is_late =>
            {
                self.on_failed(window, FailedEffect::Gather);
                None
            }
            Judging::Scoring(window) if head >= phases.apply(window) => {
                self.judging = Judging::Idle;
                Some(ValidatorEffect::Skip { window, reason: SkipReason::VoteLate })
            }
            Judging::Sealing(window) | Judging::Sealed(window) | Judging::Voting(window)
                if head >= phases.apply(window) =>
            {
                self.judging = Judging::Idle;
                None
            }
            _ => None,
        }
    }

    fn gather(&mut self, window: Window, sealed: &SealedCommitments) -> ValidatorEffect {
        self.judging = Judging::Gathering { window, closed: false };
        ValidatorEffect::Gather { window, sealed: sealed.clone() }
    }

    fn on_gathered(&mut self, window: Window, settled: usize, committed: usize) -> Option<ValidatorEffect> {
        match self.judging {
            Judging::Gathering { window: own, .. } if own == window => {}
            _ => return None,
        }
        let is_agreed_on = self.follower.phases().hold(window).is_some();
        // Where it is agreed on what is held, mirrors have what does not come from miners.
        if settled * 2 < committed && !is_agreed_on {
            self.judging = Judging::Idle;
            return Some(ValidatorEffect::Skip { window, reason: SkipReason::MostMissing });
        }
        // It begins in `due`, as soon as the text is drawn: who still has its key to publish must not know it.
        self.judging = Judging::Gathered(window);
        self.is_held_due = is_agreed_on;
        self.asked_at = self.follower.head().minus(1);
        None
    }

    fn seal_vote(&mut self, window: Window, vote: &Vote) -> ValidatorEffect {
        // What is sent at the deadline would land in a block after it.
        if self.follower.head() >= self.follower.phases().judge(window) {
            self.judging = Judging::Idle;
            return ValidatorEffect::Skip { window, reason: SkipReason::VoteLate };
        }
        self.judging = Judging::Sealing(window);
        self.vote = Some(vote.clone());
        ValidatorEffect::SealVote { window, vote: vote.clone() }
    }

    fn open_vote(
        &mut self,
        window: Window,
        at: BlockNumber,
        electors: &[Elector],
        seals: &[VoteSealRecord],
    ) -> Option<ValidatorEffect> {
        let phases = self.follower.phases();
        seals_end(electors, seals, phases.seal_time(window), at)?;
        let is_late = self.follower.head() >= phases.open(window);
        match self.vote.take().filter(|_| !is_late) {
            Some(vote) => {
                self.judging = Judging::Voting(window);
                Some(ValidatorEffect::Vote { window, vote })
            }
            None => {
                self.judging = Judging::Idle;
                Some(ValidatorEffect::Skip { window, reason: SkipReason::VoteLate })
            }
        }
    }

    fn after_applying(&mut self, window: Window, state: StateHash) -> Vec<ValidatorEffect> {
        let Some((own, applied)) = self.follower.unreported() else { return Vec::new() };
        if own != window || applied.state != state {
            return Vec::new();
        }
        let mut effects = vec![ValidatorEffect::Report { window, applied }];
        // Not while catching up: old ratings would take the place of the newest in the rate limit.
        let is_newest = self.follower.current() == Some(window.next());
        if is_newest && window.next().is_multiple_of(self.weights_every_windows) {
            effects.push(ValidatorEffect::SetWeights { window });
        }
        if self.follower.phases().is_checkpoint(window.next()) {
            effects.push(ValidatorEffect::PublishCheckpoint { window: window.next() });
        }
        effects
    }

    fn on_failed(&mut self, window: Window, effect: FailedEffect) {
        let gives_up = match self.judging {
            Judging::Listing(own) | Judging::Gathering { window: own, .. } | Judging::Taking { window: own, .. } => {
                own == window && effect == FailedEffect::Gather
            }
            Judging::Gathered(own) if own == window && effect == FailedEffect::WriteHeld => {
                self.is_held_due = true;
                self.retry_at = self.follower.head().plus(1);
                false
            }
            Judging::Gathered(_) | Judging::Sealed(_) => false,
            Judging::Scoring(own) => own == window && effect == FailedEffect::Judge,
            Judging::Sealing(own) | Judging::Voting(own) => own == window && effect == FailedEffect::Vote,
            Judging::Idle => false,
        };
        if !gives_up {
            return;
        }
        // Reading and gathering may be retried while there is time; a failed judgement or vote is final.
        if effect == FailedEffect::Gather {
            self.settled = window.previous();
            self.retry_at = self.follower.head().plus(1);
        }
        self.judging = Judging::Idle;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AggregateSource, Applied, AppliedRecord, Phases, Position, VoteSeal};
    use templar_base::{ContentHash, Finding, Findings, Mark, PublicKey, Uid};

    fn validator(next: u64) -> Validator {
        let position = Position { next: Window(next), state: StateHash::new([1; 32]) };
        Validator::new(Follower::new(Phases::for_tests(), AggregateSource::Payloads, position), 2)
    }

    fn block(number: u64) -> Event {
        Event::Block(BlockNumber(number))
    }

    fn applied(window: u64) -> Event {
        let (state, record) = (StateHash::new([1; 32]), ContentHash::default());
        Event::Applied { window: Window(window), state, record }
    }

    fn null_votes(window: u64, at: u64) -> Event {
        Event::Votes { window: Window(window), at: BlockNumber(at), limit: 15, electors: Vec::new(), votes: Vec::new() }
    }

    /// A validator that judges window 0 from block 124 on.
    fn judging() -> Validator {
        let (mut validator, window) = (validator(0), Window(0));
        assert!(validator.step(&block(120)).contains(&ValidatorEffect::ReadSealed { window }));
        let effects = validator.step(&Event::SealedRead { window, sealed: SealedCommitments::default() });
        assert_eq!(effects, [ValidatorEffect::Gather { window, sealed: SealedCommitments::default() }]);
        assert_eq!(validator.step(&Event::Gathered { window, settled: 2, committed: 3 }), []);
        // The text of judgement is drawn in the second block after the last in which a key may come.
        assert_eq!(validator.step(&block(123)).last(), None);
        assert_eq!(validator.step(&block(124)).last(), Some(&ValidatorEffect::Judge { window }));
        validator
    }

    fn vote() -> Vote {
        let miners = vec![Finding { uid: Uid(1), mark: Mark::Selected, is_sure: true, share: None }];
        Vote::new(Findings { miners, ..Findings::default() }, Default::default()).unwrap()
    }

    #[test]
    fn a_failed_listing_is_retried_in_the_next_block_only() {
        let (mut validator, window) = (validator(0), Window(0));
        validator.step(&block(120));
        assert_eq!(validator.step(&Event::Failed { window, effect: FailedEffect::Gather }), []);
        assert!(validator.step(&block(121)).contains(&ValidatorEffect::ReadSealed { window }));
        validator.step(&Event::Failed { window, effect: FailedEffect::Gather });
        assert!(
            !validator.step(&block(126)).contains(&ValidatorEffect::ReadSealed { window }),
            "a vote would come too late"
        );
    }

    #[test]
    fn gathering_is_closed_at_the_reveal_deadline_once() {
        let (mut validator, window) = (validator(0), Window(0));
        validator.step(&block(120));
        validator.step(&Event::SealedRead { window, sealed: SealedCommitments::default() });
        let closes = |effects: &[ValidatorEffect]| effects.contains(&ValidatorEffect::CloseGather { window });
        assert!(!closes(&validator.step(&block(121))));
        assert!(closes(&validator.step(&block(122))));
        assert!(!closes(&validator.step(&block(123))));
    }

    #[test]
    fn a_validator_that_misses_most_payloads_abstains() {
        let (mut validator, window) = (validator(0), Window(0));
        validator.step(&block(120));
        validator.step(&Event::SealedRead { window, sealed: SealedCommitments::default() });
        let effects = validator.step(&Event::Gathered { window, settled: 1, committed: 3 });
        assert_eq!(effects, [ValidatorEffect::Skip { window, reason: SkipReason::MostMissing }]);
        assert!(!validator.step(&block(121)).contains(&ValidatorEffect::ReadSealed { window }));
    }

    #[test]
    fn a_vote_that_could_not_count_is_not_sent() {
        let window = Window(0);
        let mut in_time = judging();
        in_time.step(&block(125));
        assert_eq!(
            in_time.step(&Event::Judged { window, vote: vote() }),
            [ValidatorEffect::SealVote { window, vote: vote() }]
        );
        assert_eq!(in_time.step(&Event::Judged { window, vote: vote() }), []);
        let mut late = judging();
        late.step(&block(126));
        let skip = ValidatorEffect::Skip { window, reason: SkipReason::VoteLate };
        assert_eq!(late.step(&Event::Judged { window, vote: vote() }), [skip]);
    }

    #[test]
    fn a_vote_is_opened_when_all_have_sealed_or_the_time_for_it_is_over() {
        let window = Window(0);
        let hotkeys = [PublicKey::new([8; 32]), PublicKey::new([9; 32])];
        let elector = |(uid, hotkey): (u16, PublicKey)| Elector { uid: Uid(uid), hotkey, stake: 5 };
        let electors: Vec<Elector> = (0..).zip(hotkeys).map(elector).collect();
        let seal = |hotkey, block| VoteSealRecord {
            hotkey,
            block: BlockNumber(block),
            seal: VoteSeal::of(Default::default(), window, hotkey, &vote()),
        };
        let seals = |at, seals: &[VoteSealRecord]| {
            let (at, electors, seals) = (BlockNumber(at), electors.clone(), seals.to_vec());
            Event::VoteSeals { window, at, electors, seals }
        };
        let sealed = || {
            let mut validator = judging();
            validator.step(&Event::Judged { window, vote: vote() });
            let effects = validator.step(&Event::VoteSealed { window });
            assert_eq!(effects, [ValidatorEffect::ReadVoteSeals { window }]);
            assert_eq!(validator.step(&seals(124, &[seal(hotkeys[0], 124)])), []);
            validator
        };
        let open = [ValidatorEffect::Vote { window, vote: vote() }];
        let mut early = sealed();
        assert!(early.step(&block(125)).contains(&ValidatorEffect::ReadVoteSeals { window }));
        assert_eq!(early.step(&seals(125, &[seal(hotkeys[0], 124), seal(hotkeys[1], 125)])), open);
        let mut alone = sealed();
        alone.step(&block(126));
        assert_eq!(alone.step(&seals(126, &[seal(hotkeys[0], 124)])), open);
        let mut late = sealed();
        late.step(&block(128));
        let skip = ValidatorEffect::Skip { window, reason: SkipReason::VoteLate };
        assert_eq!(late.step(&seals(128, &[seal(hotkeys[0], 124)])), [skip]);
    }

    #[test]
    fn weights_are_set_by_the_newest_window_and_not_while_catching_up() {
        let mut validator = validator(0);
        let mut set = Vec::new();
        validator.step(&block(170));
        for window in 0..3 {
            validator.step(&null_votes(window, 170));
            let state = StateHash::new([1; 32]);
            let effects =
                validator.step(&Event::Applied { window: Window(window), state, record: ContentHash::default() });
            assert!(effects.iter().any(|effect| matches!(effect, ValidatorEffect::Report { .. })), "window {window}");
            set.extend(effects.into_iter().filter(|effect| matches!(effect, ValidatorEffect::SetWeights { .. })));
        }
        assert_eq!(set, [], "windows 0 to 2 while the head is in window 3");
        for (window, first) in [(3, 180), (4, 200), (5, 220)] {
            validator.step(&block(first));
            validator.step(&null_votes(window, first + 8));
            let effects = validator.step(&applied(window));
            set.extend(effects.into_iter().filter(|effect| matches!(effect, ValidatorEffect::SetWeights { .. })));
        }
        assert_eq!(
            set,
            [ValidatorEffect::SetWeights { window: Window(3) }, ValidatorEffect::SetWeights { window: Window(5) }]
        );
    }

    #[test]
    fn no_vote_comes_from_parameters_known_to_be_wrong() {
        let mut validator = validator(0);
        let other = Elector { uid: Uid(3), hotkey: PublicKey::new([8; 32]), stake: 5 };
        let other_state = Applied { aggregate: None, state: StateHash::new([7; 32]), record: ContentHash::default() };
        validator.step(&block(120));
        validator.step(&null_votes(0, 128));
        validator.step(&applied(0));
        let window = Window(1);
        // The listing of window 0 is over; that of window 1 begins before anybody reports on window 0.
        validator.step(&Event::SealedRead { window: Window(0), sealed: SealedCommitments::default() });
        validator.step(&Event::Gathered { window: Window(0), settled: 0, committed: 1 });
        assert!(validator.step(&block(140)).contains(&ValidatorEffect::ReadSealed { window }));
        let reports = vec![AppliedRecord { hotkey: other.hotkey, applied: other_state }];
        let effects = validator.step(&Event::Reports { window: Window(0), electors: vec![other], reports });
        assert!(effects.contains(&ValidatorEffect::Skip { window, reason: SkipReason::NotInSync }), "{effects:?}");
        assert_eq!(validator.step(&Event::SealedRead { window, sealed: SealedCommitments::default() }), []);
    }

    #[test]
    fn a_validator_whose_requests_get_no_answer_is_free_again_before_the_next_window_ends() {
        let window = Window(0);
        let mut listing = validator(0);
        listing.step(&block(120));
        listing.step(&block(129));
        assert_eq!(listing.judging, Judging::Idle);
        let mut gathering = validator(0);
        gathering.step(&block(120));
        gathering.step(&Event::SealedRead { window, sealed: SealedCommitments::default() });
        gathering.step(&block(123));
        gathering.step(&block(131));
        assert_eq!(gathering.judging, Judging::Gathering { window, closed: true });
        gathering.step(&block(132));
        assert_eq!(gathering.judging, Judging::Idle);
        let mut scoring = judging();
        let skip = ValidatorEffect::Skip { window, reason: SkipReason::VoteLate };
        assert!(!scoring.step(&block(128)).contains(&skip));
        assert!(scoring.step(&block(129)).contains(&skip));
        let mut voting = judging();
        voting.step(&Event::Judged { window, vote: vote() });
        assert_eq!(voting.judging, Judging::Sealing(window));
        voting.step(&block(129));
        assert_eq!(voting.judging, Judging::Idle);
    }
}
