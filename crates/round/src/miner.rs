//! A miner's windows: train without a pause, seal before the end, reveal after it, follow the outcome.
//!
//! Training continues while a payload is made and sent, and the steps from then on are carried into the next payload:
//! to seal early costs nothing but freshness. So a miner whose disk, bucket or processor is slow learns how early it must.

use crate::{Event, FailedEffect, Follower, MinerEffect, SealCommitment, SkipReason};
use templar_base::{BlockNumber, Window};

/// What a miner allows itself beyond the blocks that its last payload took from the seal to the ledger.
const MARGIN_BLOCKS: u64 = 2;

/// How far the payload of one window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sealing {
    /// Nothing is under way.
    Idle,
    /// The payload is being made and uploaded.
    Making(Window),
    /// On disk and in the bucket; not yet on the ledger.
    Sealed(Window, SealCommitment),
    /// The commitment is on its way to the ledger.
    Committing(Window, SealCommitment),
    /// On the ledger in time; the key follows after the window's end.
    Committed(Window),
    /// The key is on its way to the bucket.
    Revealing(Window),
}

/// The state of a miner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miner {
    follower: Follower,
    /// The window whose data is trained on.
    training: Option<Window>,
    /// The newest window that was sealed, given up or begun too late.
    settled: Option<Window>,
    sealing: Sealing,
    /// The head when the payload at hand was begun; none for one from before a restart.
    sealing_since: Option<BlockNumber>,
    /// Blocks before the window's end at which it seals, as its last payloads needed them.
    lead: u64,
    /// Blocks that an inner step takes, whole ones.
    step_blocks: u64,
    /// The head when the request under way was made.
    asked_at: BlockNumber,
    /// What failed is not retried before this block.
    retry_at: BlockNumber,
}

impl Miner {
    /// A miner that holds the parameters of `follower`. `pending` is a payload that was sealed before a
    /// restart: it is committed (again) or revealed as if nothing had happened.
    pub fn new(follower: Follower, pending: Option<(Window, SealCommitment)>) -> Self {
        let sealing = pending.map_or(Sealing::Idle, |(window, commitment)| Sealing::Sealed(window, commitment));
        let settled = pending.map(|(window, _)| window);
        let (training, sealing_since, lead, step_blocks) = (None, None, 0, 0);
        let (asked_at, retry_at) = (BlockNumber(0), BlockNumber(0));
        Self { follower, training, settled, sealing, sealing_since, lead, step_blocks, asked_at, retry_at }
    }

    /// The part that follows the run.
    pub fn follower(&self) -> &Follower {
        &self.follower
    }

    /// An inner step takes this many whole blocks: a payload is not begun before the step under way has ended, so that a
    /// miner that is slow for its model asks for it that much earlier.
    pub fn expect_steps_of(&mut self, blocks: u64) {
        self.step_blocks = blocks;
    }

    /// Blocks before the window's end at which it seals.
    fn lead(&self) -> u64 {
        // Until it was measured, making a payload is taken to last as long as a step.
        let steps = if self.step_blocks == 0 { 0 } else { self.step_blocks.saturating_add(1).saturating_mul(2) };
        self.lead.max(steps)
    }

    /// Advances by one event.
    pub fn step(&mut self, event: &Event) -> Vec<MinerEffect> {
        let mut effects: Vec<MinerEffect> = self.follower.step(event).into_iter().map(MinerEffect::Follow).collect();
        match event {
            Event::Block(_) => {}
            Event::Sealed { window, commitment } if self.sealing == Sealing::Making(*window) => {
                effects.push(self.commit(*window, *commitment));
            }
            Event::SealCommitted { window, block } => effects.extend(self.on_committed(*window, *block)),
            Event::Revealed { window } if self.sealing == Sealing::Revealing(*window) => self.sealing = Sealing::Idle,
            Event::Failed { window, effect } => effects.extend(self.on_failed(*window, *effect)),
            _ => {}
        }
        effects.extend(self.due());
        effects
    }

    /// What is due at the present head and position.
    fn due(&mut self) -> Vec<MinerEffect> {
        let Some(current) = self.follower.current() else { return Vec::new() };
        let (head, next) = (self.follower.head(), self.follower.position().next);
        let mut effects = self.continue_sealing(head);
        // A miner continues to train while the last window's outcome is still open, but not from older or wrong parameters.
        let may_train = next.next() >= current && next <= current && !self.follower.is_replacing_parameters();
        if self.training != Some(current) && may_train {
            self.training = Some(current);
            effects.push(MinerEffect::BeginWindow { window: current });
        }
        let seal = self.follower.phases().seal_with_lead(current, self.lead());
        if head >= seal && self.settled.is_none_or(|settled| settled < current) {
            effects.extend(self.seal_or_skip(current, next, head));
        }
        effects
    }

    fn seal_or_skip(&mut self, current: Window, next: Window, head: BlockNumber) -> Option<MinerEffect> {
        let in_sync = self.training == Some(current) && next == current && !self.follower.is_replacing_parameters();
        // In the last block of the window a commitment can no longer be in time.
        if head < self.follower.phases().last_block(current) {
            if !in_sync || self.sealing != Sealing::Idle {
                return None;
            }
            self.settled = Some(current);
            self.sealing = Sealing::Making(current);
            self.sealing_since = Some(head);
            return Some(MinerEffect::Seal { window: current, start: self.follower.position().state });
        }
        self.settled = Some(current);
        let reason = if in_sync { SkipReason::CommitLate } else { SkipReason::NotInSync };
        Some(MinerEffect::Skip { window: current, reason })
    }

    fn continue_sealing(&mut self, head: BlockNumber) -> Vec<MinerEffect> {
        match self.sealing {
            // Also when the window is over: the ledger says whether the commitment had arrived before a restart.
            Sealing::Sealed(window, commitment) => vec![self.commit(window, commitment)],
            Sealing::Committed(window) if head >= self.follower.phases().end(window).max(self.retry_at) => {
                vec![self.reveal(window)]
            }
            Sealing::Making(_) | Sealing::Committing(..) | Sealing::Revealing(_) => self.ask_again(head),
            Sealing::Idle | Sealing::Committed(_) => Vec::new(),
        }
    }

    fn commit(&mut self, window: Window, commitment: SealCommitment) -> MinerEffect {
        self.sealing = Sealing::Committing(window, commitment);
        self.asked_at = self.follower.head();
        MinerEffect::CommitSeal { window, commitment }
    }

    fn reveal(&mut self, window: Window) -> MinerEffect {
        self.sealing = Sealing::Revealing(window);
        self.asked_at = self.follower.head();
        MinerEffect::Reveal { window }
    }

    /// Repeats a request that got neither answer nor failure within its deadline, or gives the payload up where it can
    /// no longer count.
    fn ask_again(&mut self, head: BlockNumber) -> Vec<MinerEffect> {
        let phases = self.follower.phases();
        let deadline = self.asked_at.plus(phases.answer_blocks());
        match self.sealing {
            // Its upload ends with the window; what was not heard of by now will not come.
            Sealing::Making(window) if head >= phases.end(window).plus(phases.answer_blocks()) => {
                self.seal_earlier(window);
                self.give_up(window)
            }
            Sealing::Committing(window, commitment) if head >= deadline => {
                if head < phases.judge(window) {
                    return vec![self.commit(window, commitment)];
                }
                self.give_up(window)
            }
            Sealing::Revealing(window) if head >= deadline => {
                if head <= phases.judge(window) {
                    return vec![self.reveal(window)];
                }
                self.sealing = Sealing::Idle;
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn on_committed(&mut self, window: Window, block: BlockNumber) -> Vec<MinerEffect> {
        match self.sealing {
            Sealing::Committing(own, _) if own == window => {}
            _ => return Vec::new(),
        }
        if block < self.follower.phases().end(window) {
            self.sealing = Sealing::Committed(window);
            if let Some(since) = self.sealing_since.take() {
                let needed = block.blocks_since(since) + MARGIN_BLOCKS;
                self.lead = needed.max(self.lead.saturating_sub(1));
            }
            return Vec::new();
        }
        self.seal_earlier(window);
        self.give_up(window)
    }

    /// The time from the seal to the window's end was too short: twice as much from now on.
    fn seal_earlier(&mut self, window: Window) {
        if let Some(since) = self.sealing_since.take() {
            self.lead = 2 * self.follower.phases().end(window).blocks_since(since);
        }
    }

    fn give_up(&mut self, window: Window) -> Vec<MinerEffect> {
        self.sealing = Sealing::Idle;
        vec![MinerEffect::Unsend { window }, MinerEffect::Skip { window, reason: SkipReason::CommitLate }]
    }

    fn on_failed(&mut self, window: Window, effect: FailedEffect) -> Vec<MinerEffect> {
        // What fails at once, such as for want of training after a restart, would fail earlier too. The head may be a
        // block behind the one at which an upload was given up.
        let has_run_out_of_time = self.follower.head().plus(2) >= self.follower.phases().end(window);
        match (effect, self.sealing) {
            // Perhaps the payload was made, and only its upload failed.
            (FailedEffect::Seal, Sealing::Making(own)) | (FailedEffect::CommitSeal, Sealing::Committing(own, _))
                if own == window =>
            {
                if has_run_out_of_time {
                    self.seal_earlier(window);
                }
                self.give_up(window)
            }
            (FailedEffect::Reveal, Sealing::Revealing(own)) if own == window => {
                let late = self.follower.head() > self.follower.phases().judge(window);
                self.retry_at = self.follower.head().plus(1);
                self.sealing = if late { Sealing::Idle } else { Sealing::Committed(window) };
                Vec::new()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AggregateSource, Phases, Position};
    use templar_base::{ContentHash, StateHash};

    const STATE: StateHash = StateHash::new([1; 32]);
    const COMMITMENT: SealCommitment = SealCommitment { digest: ContentHash::new([2; 32]), bytes: 10 };

    fn miner(next: u64, pending: Option<(Window, SealCommitment)>) -> Miner {
        let position = Position { next: Window(next), state: STATE };
        Miner::new(Follower::new(Phases::for_tests(), AggregateSource::Download, position), pending)
    }

    fn block(number: u64) -> Event {
        Event::Block(BlockNumber(number))
    }

    /// A miner whose payload of window 0 is committed.
    fn committed() -> Miner {
        let mut miner = miner(0, None);
        let (window, commitment) = (Window(0), COMMITMENT);
        assert_eq!(miner.step(&block(100)), [MinerEffect::BeginWindow { window }]);
        assert_eq!(miner.step(&block(116)), [MinerEffect::Seal { window, start: STATE }]);
        assert_eq!(miner.step(&Event::Sealed { window, commitment }), [MinerEffect::CommitSeal { window, commitment }]);
        assert_eq!(miner.step(&Event::SealCommitted { window, block: BlockNumber(118) }), []);
        miner
    }

    fn reveals(effects: &[MinerEffect]) -> usize {
        effects.iter().filter(|effect| matches!(effect, MinerEffect::Reveal { .. })).count()
    }

    #[test]
    fn the_key_comes_out_at_the_end_and_not_before() {
        let mut miner = committed();
        assert_eq!(reveals(&miner.step(&block(119))), 0);
        assert_eq!(reveals(&miner.step(&block(120))), 1);
        assert_eq!(reveals(&miner.step(&block(121))), 0);
    }

    #[test]
    fn a_reveal_that_fails_at_once_is_retried_in_the_next_block_only() {
        let mut miner = committed();
        miner.step(&block(120));
        let failed = Event::Failed { window: Window(0), effect: FailedEffect::Reveal };
        assert_eq!(reveals(&miner.step(&failed)), 0);
        assert_eq!(reveals(&miner.step(&block(121))), 1);
        miner.step(&block(127));
        assert_eq!(reveals(&miner.step(&failed)), 0);
        assert_eq!(reveals(&miner.step(&block(128))), 0, "no vote counts any more");
    }

    /// Bug: a model whose steps take longer than the time for sealing lost its first windows, one after the other.
    #[test]
    fn a_miner_whose_steps_take_long_does_not_wait_until_one_is_in_the_way() {
        let mut miner = miner(0, None);
        let seals = |effects: &[MinerEffect]| effects.iter().any(|effect| matches!(effect, MinerEffect::Seal { .. }));
        miner.expect_steps_of(4);
        miner.step(&block(100));
        assert!(!seals(&miner.step(&block(109))));
        assert!(seals(&miner.step(&block(110))));
        // Never before the step of the window before is applied.
        let mut miner = self::miner(0, None);
        miner.expect_steps_of(u64::MAX);
        assert!(!seals(&miner.step(&block(108))));
        assert!(seals(&miner.step(&block(109))));
    }

    /// Bug: on a machine that was busy for a while, all miners missed window after window by half a second.
    #[test]
    fn a_miner_that_was_late_seals_earlier_and_comes_back_to_the_usual_time() {
        let mut miner = miner(0, None);
        let seals = |effects: &[MinerEffect]| effects.iter().any(|effect| matches!(effect, MinerEffect::Seal { .. }));
        // The block of the seal, and the blocks that the commitment takes; none where it is late.
        let mut run = |window: u64, took: Option<u64>| {
            miner.follower = Follower::new(
                Phases::for_tests(),
                AggregateSource::Download,
                Position { next: Window(window), state: STATE },
            );
            let start = 100 + 20 * window;
            let sealed = (start..start + 20).find(|at| seals(&miner.step(&block(*at)))).expect("it seals");
            let window = Window(window);
            miner.step(&Event::Sealed { window, commitment: COMMITMENT });
            let committed = took.map_or(start + 20, |took| sealed + took);
            miner.step(&Event::SealCommitted { window, block: BlockNumber(committed) });
            miner.step(&block(start + 20));
            miner.step(&Event::Revealed { window });
            start + 20 - sealed
        };
        let outcomes = [Some(1), None, None, Some(6), Some(6), Some(1), Some(1), Some(1), Some(1), Some(1), Some(1)];
        let leads: Vec<u64> = (0..).zip(outcomes).map(|(window, took)| run(window, took)).collect();
        assert_eq!(leads, [4, 4, 8, 11, 11, 11, 11, 11, 11, 10, 9]);
    }

    #[test]
    fn only_a_failure_for_want_of_time_makes_a_miner_seal_earlier() {
        for (failed_at, expected) in [(116, 136), (118, 132)] {
            let mut miner = miner(0, None);
            miner.step(&block(116));
            miner.step(&block(failed_at));
            miner.step(&Event::Failed { window: Window(0), effect: FailedEffect::Seal });
            let seal = miner.follower.phases().seal_with_lead(Window(1), miner.lead);
            assert_eq!(seal, BlockNumber(expected), "failed in block {failed_at}");
        }
    }

    #[test]
    fn nothing_is_sealed_in_the_last_block_of_a_window() {
        let mut miner = miner(0, None);
        miner.step(&block(115));
        let skip = MinerEffect::Skip { window: Window(0), reason: SkipReason::CommitLate };
        assert_eq!(miner.step(&block(119)), [skip]);
    }

    #[test]
    fn nothing_is_sealed_from_parameters_that_are_behind() {
        let mut miner = miner(0, None);
        let effects = miner.step(&block(138));
        assert!(effects.contains(&MinerEffect::BeginWindow { window: Window(1) }));
        let effects = miner.step(&block(139));
        assert!(effects.contains(&MinerEffect::Skip { window: Window(1), reason: SkipReason::NotInSync }));
        assert!(!effects.iter().any(|effect| matches!(effect, MinerEffect::Seal { .. })));
    }

    #[test]
    fn a_payload_that_was_made_and_not_uploaded_is_taken_back() {
        let (mut miner, window) = (miner(0, None), Window(0));
        miner.step(&block(100));
        miner.step(&block(116));
        let failed = Event::Failed { window, effect: FailedEffect::Seal };
        let skip = MinerEffect::Skip { window, reason: SkipReason::CommitLate };
        assert_eq!(miner.step(&failed), [MinerEffect::Unsend { window }, skip]);
        assert_eq!(miner.step(&failed), [], "it is taken back once");
    }

    #[test]
    fn a_payload_sealed_before_a_restart_is_committed_again_and_revealed_or_taken_back() {
        let (window, commitment) = (Window(0), COMMITMENT);
        let mut restarted = miner(0, Some((window, commitment)));
        let effects = restarted.step(&block(117));
        assert_eq!(effects, [MinerEffect::CommitSeal { window, commitment }, MinerEffect::BeginWindow { window }]);
        let mut late = restarted.clone();
        restarted.step(&Event::SealCommitted { window, block: BlockNumber(116) });
        assert_eq!(reveals(&restarted.step(&block(121))), 1);
        let skip = MinerEffect::Skip { window, reason: SkipReason::CommitLate };
        let effects = late.step(&Event::SealCommitted { window, block: BlockNumber(120) });
        assert_eq!(effects, [MinerEffect::Unsend { window }, skip]);
    }

    #[test]
    fn a_payload_of_which_nothing_is_heard_is_given_up_and_the_next_one_sealed() {
        let (mut miner, window) = (miner(0, None), Window(0));
        miner.step(&block(116));
        let unsend = MinerEffect::Unsend { window };
        assert!(!miner.step(&block(128)).contains(&unsend));
        assert!(miner.step(&block(129)).contains(&unsend));
        assert_eq!(miner.sealing, Sealing::Idle);
        assert_eq!(miner.lead, 8, "it had four blocks");
    }

    #[test]
    fn a_commitment_or_a_reveal_without_an_answer_is_made_again_while_it_can_count() {
        let (window, commitment) = (Window(0), COMMITMENT);
        let commit = MinerEffect::CommitSeal { window, commitment };
        let mut committing = miner(0, Some((window, commitment)));
        assert!(committing.step(&block(116)).contains(&commit));
        assert!(!committing.step(&block(124)).contains(&commit));
        assert!(committing.step(&block(125)).contains(&commit));
        assert!(committing.step(&block(134)).contains(&MinerEffect::Unsend { window }));
        let mut revealing = committed();
        assert_eq!(reveals(&revealing.step(&block(120))), 1);
        assert_eq!(reveals(&revealing.step(&block(129))), 0, "no vote counts any more");
        assert_eq!(revealing.sealing, Sealing::Idle);
    }
}
