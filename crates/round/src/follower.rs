//! Following a run: from votes to outcome to aggregate to the next window's parameters. Every role does this.

use crate::agreement::{agreed_findings, applied_majority, leading_verdict, tally};
use crate::{
    Applied, AppliedRecord, Elector, Event, FailedEffect, FollowEffect, Outcome, Phases, Selection, VoteRecord,
};
use templar_base::{BlockNumber, ContentHash, StateHash, Window};

/// Where a node first tries to get the aggregate. Either falls back on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggregateSource {
    /// It merges the payloads, which it has gathered anyway.
    Payloads,
    /// It downloads one small object, checked against what most of the stake applied.
    Download,
}

/// The point of a run that a node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The window whose start the parameters are.
    pub next: Window,
    /// Their state hash.
    pub state: StateHash,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Waits for the next block to look at the votes.
    Waiting,
    ReadingVotes,
    /// The selection is agreed; waits for the next block to look for the agreed aggregate.
    Selected {
        selection: Selection,
        failures: u32,
    },
    ReadingReports {
        selection: Selection,
        failures: u32,
    },
    Obtaining {
        selection: Selection,
        failures: u32,
    },
    Applying {
        aggregate: Option<ContentHash>,
    },
    NeedsCheckpoint,
    Restoring,
}

/// The state of a follower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    phases: Phases,
    source: AggregateSource,
    position: Position,
    stage: Stage,
    head: BlockNumber,
    /// The head when the request of this stage was made.
    asked_at: BlockNumber,
    /// What was applied last and not yet compared with the others' reports.
    unchecked: Option<(Window, Applied)>,
    /// The parameters come from the newest agreed checkpoint, which is itself out of reach: all nodes were away. Then
    /// another checkpoint would not help; the votes and the objects that still exist do.
    at_newest_checkpoint: bool,
}

impl Follower {
    /// A follower that holds the parameters of `position`.
    pub fn new(phases: Phases, source: AggregateSource, position: Position) -> Self {
        let (stage, head, asked_at, unchecked) = (Stage::Waiting, BlockNumber(0), BlockNumber(0), None);
        Self { phases, source, position, stage, head, asked_at, unchecked, at_newest_checkpoint: false }
    }

    /// The window whose start its parameters are.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The run's deadlines.
    pub fn phases(&self) -> &Phases {
        &self.phases
    }

    /// The newest head that it knows.
    pub fn head(&self) -> BlockNumber {
        self.head
    }

    /// The window that the head is in.
    pub fn current(&self) -> Option<Window> {
        self.phases.window_of(self.head)
    }

    /// What was applied last, until it has been compared with the others' reports.
    pub(crate) fn unreported(&self) -> Option<(Window, Applied)> {
        self.unchecked
    }

    /// Whether the parameters are to be replaced: they are wrong or too old, and nothing may be made from them.
    pub(crate) fn is_replacing_parameters(&self) -> bool {
        matches!(self.stage, Stage::NeedsCheckpoint | Stage::Restoring)
    }

    /// What it does now, for people.
    pub fn activity(&self) -> &'static str {
        match &self.stage {
            Stage::Waiting | Stage::ReadingVotes if self.current() == Some(self.position.next) => "in step",
            Stage::Waiting | Stage::ReadingVotes => "waits for the votes",
            Stage::Selected { .. } | Stage::ReadingReports { .. } => "waits for the agreed aggregate",
            Stage::Obtaining { .. } => "fetches the aggregate",
            Stage::Applying { .. } => "applies the aggregate",
            Stage::NeedsCheckpoint | Stage::Restoring => "fetches a checkpoint",
        }
    }

    /// Advances by one event. Events of other windows, and unsolicited ones, are ignored.
    pub fn step(&mut self, event: &Event) -> Vec<FollowEffect> {
        match event {
            Event::Block(number) => self.on_block(*number),
            Event::Votes { window, at, limit, electors, votes } => {
                self.on_votes(*window, (*at, *limit), electors, votes)
            }
            Event::Reports { window, electors, reports } => self.on_reports(*window, electors, reports),
            Event::AggregateReady { window, hash } => self.on_aggregate(*window, *hash),
            Event::Applied { window, state, record } => self.on_applied(*window, *state, *record),
            Event::Restored { next, state } => self.on_restored(Position { next: *next, state: *state }),
            Event::Failed { window, effect } => self.on_failed(*window, *effect),
            _ => Vec::new(),
        }
    }

    fn on_block(&mut self, number: BlockNumber) -> Vec<FollowEffect> {
        self.head = self.head.max(number);
        let window = self.position.next;
        let mut effects = Vec::new();
        if let Some((checked, _)) = self.unchecked {
            effects.push(FollowEffect::ReadReports { window: checked });
        }
        let out_of_reach = self.is_out_of_reach();
        match std::mem::replace(&mut self.stage, Stage::Waiting) {
            Stage::Waiting if self.head < self.phases.end(window) => {}
            Stage::Waiting | Stage::Selected { failures: 0, .. } if out_of_reach && !self.at_newest_checkpoint => {
                effects.extend(self.restore());
            }
            Stage::Selected { failures: 1.., .. } if out_of_reach => effects.extend(self.restore()),
            Stage::NeedsCheckpoint => effects.extend(self.restore()),
            Stage::Waiting => {
                effects.push(self.ask(Stage::ReadingVotes, FollowEffect::ReadVotes { window }));
            }
            Stage::Selected { selection, failures } => effects.extend(self.obtain(selection, failures)),
            busy => {
                self.stage = busy;
                effects.extend(self.ask_again());
            }
        }
        effects
    }

    /// Enters a stage that waits for the answer to a request.
    fn ask(&mut self, stage: Stage, request: FollowEffect) -> FollowEffect {
        self.stage = stage;
        self.asked_at = self.head;
        request
    }

    /// Gives up a request that got neither answer nor failure within its deadline, or repeats it. What changes the
    /// parameters is repeated, since it may have taken effect: only its answer says what they are now.
    fn ask_again(&mut self) -> Option<FollowEffect> {
        let window = self.position.next;
        let deadline = match self.stage {
            Stage::Restoring => self.phases.restore_blocks(),
            _ => self.phases.answer_blocks(),
        };
        if self.head < self.asked_at.plus(deadline) {
            return None;
        }
        match &self.stage {
            Stage::Waiting | Stage::Selected { .. } | Stage::NeedsCheckpoint => None,
            Stage::ReadingVotes => Some(self.ask(Stage::ReadingVotes, FollowEffect::ReadVotes { window })),
            Stage::ReadingReports { .. } => {
                self.asked_at = self.head;
                Some(FollowEffect::ReadReports { window })
            }
            Stage::Obtaining { selection, failures } => {
                self.stage = Stage::Selected { selection: selection.clone(), failures: failures + 1 };
                None
            }
            Stage::Applying { aggregate } => {
                let aggregate = *aggregate;
                Some(self.ask(Stage::Applying { aggregate }, FollowEffect::Apply { window, aggregate }))
            }
            Stage::Restoring => self.restore().pop(),
        }
    }

    /// Whether objects of the window to apply next may be gone.
    fn is_out_of_reach(&self) -> bool {
        self.current().is_some_and(|current| self.position.next < self.phases.oldest_kept(current))
    }

    fn restore(&mut self) -> Vec<FollowEffect> {
        self.unchecked = None;
        self.at_newest_checkpoint = false;
        let window = self.current().unwrap_or(self.position.next);
        vec![self.ask(Stage::Restoring, FollowEffect::Restore { window })]
    }

    /// Every second try after a failure goes the other way, so that one dead source never blocks a node.
    fn obtain(&mut self, selection: Selection, failures: u32) -> Vec<FollowEffect> {
        let window = self.position.next;
        let build = (self.source == AggregateSource::Payloads) == (failures.is_multiple_of(2));
        if build {
            let stage = Stage::Obtaining { selection: selection.clone(), failures };
            vec![self.ask(stage, FollowEffect::BuildAggregate { window, selection })]
        } else {
            let stage = Stage::ReadingReports { selection, failures };
            vec![self.ask(stage, FollowEffect::ReadReports { window })]
        }
    }

    fn on_votes(
        &mut self,
        window: Window,
        (at, limit): (BlockNumber, usize),
        electors: &[Elector],
        votes: &[VoteRecord],
    ) -> Vec<FollowEffect> {
        if window != self.position.next || self.stage != Stage::ReadingVotes {
            return Vec::new();
        }
        let deadline = self.phases.open(window);
        let outcome = tally(electors, votes, deadline, at, limit);
        self.stage = Stage::Waiting;
        let mut effects = Vec::new();
        if outcome != Outcome::Open {
            let agreed = agreed_findings(electors, votes, deadline, limit);
            let verdict = leading_verdict(electors, votes, deadline);
            effects.push(FollowEffect::Settle { window, agreed, verdict });
        }
        match outcome {
            Outcome::Open => {}
            Outcome::Null => {
                let request = FollowEffect::Apply { window, aggregate: None };
                effects.push(self.ask(Stage::Applying { aggregate: None }, request));
            }
            Outcome::Selected(selection) => effects.extend(self.obtain(selection, 0)),
        }
        effects
    }

    fn on_reports(&mut self, window: Window, electors: &[Elector], reports: &[AppliedRecord]) -> Vec<FollowEffect> {
        let majority = applied_majority(electors, reports);
        if let Some((checked, own)) = self.unchecked
            && checked == window
        {
            return self.compare(checked, own, majority.map(|majority| majority.applied));
        }
        if window != self.position.next {
            return Vec::new();
        }
        let Stage::ReadingReports { selection, failures } = &self.stage else { return Vec::new() };
        let (selection, failures) = (selection.clone(), *failures);
        match majority {
            Some(majority) if let Some(hash) = majority.applied.aggregate => {
                let from = majority.by;
                let request = FollowEffect::FetchAggregate { window, hash, selection: selection.clone(), from };
                vec![self.ask(Stage::Obtaining { selection, failures }, request)]
            }
            // The votes are the rule and the reports only a help: without them a node merges the payloads itself.
            _ if self.head >= self.phases.apply(window) => {
                let stage = Stage::Obtaining { selection: selection.clone(), failures };
                vec![self.ask(stage, FollowEffect::BuildAggregate { window, selection })]
            }
            _ => {
                self.stage = Stage::Selected { selection, failures };
                Vec::new()
            }
        }
    }

    fn compare(&mut self, window: Window, own: Applied, agreed: Option<Applied>) -> Vec<FollowEffect> {
        let Some(agreed) = agreed else {
            // Reports that have not come by the end of the next window will not come.
            if self.head >= self.phases.end(window.next()) {
                self.unchecked = None;
            }
            return Vec::new();
        };
        self.unchecked = None;
        if agreed == own {
            return Vec::new();
        }
        let mut effects = vec![FollowEffect::Diverged { window, own, agreed }];
        effects.extend(self.restore());
        effects
    }

    fn on_aggregate(&mut self, window: Window, hash: ContentHash) -> Vec<FollowEffect> {
        // Also one that came after its deadline: a slow node must not go from source to source and never be done.
        let is_wanted =
            matches!(self.stage, Stage::Obtaining { .. } | Stage::Selected { .. } | Stage::ReadingReports { .. });
        if window != self.position.next || !is_wanted {
            return Vec::new();
        }
        let aggregate = Some(hash);
        vec![self.ask(Stage::Applying { aggregate }, FollowEffect::Apply { window, aggregate })]
    }

    fn on_applied(&mut self, window: Window, state: StateHash, record: ContentHash) -> Vec<FollowEffect> {
        let Stage::Applying { aggregate } = self.stage else { return Vec::new() };
        if window != self.position.next {
            return Vec::new();
        }
        self.position = Position { next: window.next(), state };
        self.unchecked = Some((window, Applied { aggregate, state, record }));
        self.stage = Stage::Waiting;
        self.at_newest_checkpoint &= self.is_out_of_reach();
        // A node that lags behind continues at once instead of one window a block.
        if self.head >= self.phases.end(self.position.next) { self.on_block(self.head) } else { Vec::new() }
    }

    fn on_restored(&mut self, position: Position) -> Vec<FollowEffect> {
        // Also where a failure of an earlier request came in between: the parameters are replaced all the same.
        if !matches!(self.stage, Stage::Restoring | Stage::NeedsCheckpoint) {
            return Vec::new();
        }
        self.position = position;
        self.stage = Stage::Waiting;
        self.at_newest_checkpoint = self.is_out_of_reach();
        self.on_block(self.head)
    }

    fn on_failed(&mut self, window: Window, effect: FailedEffect) -> Vec<FollowEffect> {
        let own = window == self.position.next;
        match (effect, &self.stage) {
            (FailedEffect::ReadVotes, Stage::ReadingVotes) if own => self.stage = Stage::Waiting,
            (FailedEffect::ReadReports, Stage::ReadingReports { selection, failures }) if own => {
                self.stage = Stage::Selected { selection: selection.clone(), failures: *failures };
            }
            (FailedEffect::Aggregate, Stage::Obtaining { selection, failures }) if own => {
                self.stage = Stage::Selected { selection: selection.clone(), failures: failures + 1 };
            }
            // Again from the votes on: what was held in memory may be gone by the time that the disk recovers.
            (FailedEffect::Apply, Stage::Applying { .. }) if own => self.stage = Stage::Waiting,
            (FailedEffect::Restore, Stage::Restoring) => self.stage = Stage::NeedsCheckpoint,
            _ => {}
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Vote;
    use templar_base::{Finding, Findings, Mark, PublicKey, StepShare, Uid};

    const RECORD: ContentHash = ContentHash::new([8; 32]);
    const FIRST: Position = Position { next: Window(0), state: StateHash::new([1; 32]) };

    fn elector() -> Elector {
        Elector { uid: Uid(0), hotkey: PublicKey::new([9; 32]), stake: 10 }
    }

    fn block(number: u64) -> Event {
        Event::Block(BlockNumber(number))
    }

    fn votes(window: u64, at: u64, selected: &[u16]) -> Event {
        let finding = |uid: &u16| Finding { uid: Uid(*uid), mark: Mark::Selected, is_sure: true, share: None };
        let findings = Findings { miners: selected.iter().map(finding).collect(), ..Findings::default() };
        let vote = Vote::new(findings, ContentHash::default()).unwrap();
        let record = VoteRecord { hotkey: elector().hotkey, block: BlockNumber(at), vote };
        let (window, at, limit) = (Window(window), BlockNumber(at), 15);
        Event::Votes { window, at, limit, electors: vec![elector()], votes: vec![record] }
    }

    fn reports(window: u64, applied: Option<Applied>) -> Event {
        let reports = applied.map(|applied| AppliedRecord { hotkey: elector().hotkey, applied }).into_iter().collect();
        Event::Reports { window: Window(window), electors: vec![elector()], reports }
    }

    fn failed(window: u64, effect: FailedEffect) -> Event {
        Event::Failed { window: Window(window), effect }
    }

    fn selection() -> Selection {
        Selection { uids: vec![Uid(1)], step: StepShare::Whole }
    }

    fn build(window: u64) -> Vec<FollowEffect> {
        vec![FollowEffect::BuildAggregate { window: Window(window), selection: selection() }]
    }

    #[test]
    fn a_downloader_waits_for_reports_until_the_apply_deadline_and_then_merges_itself() {
        let mut follower = Follower::new(Phases::for_tests(), AggregateSource::Download, FIRST);
        assert_eq!(follower.step(&block(119)), []);
        assert_eq!(follower.step(&block(120)), [FollowEffect::ReadVotes { window: Window(0) }]);
        assert_eq!(follower.step(&votes(0, 121, &[1])).last(), Some(&FollowEffect::ReadReports { window: Window(0) }));
        assert_eq!(follower.step(&reports(0, None)), []);
        assert_eq!(follower.step(&block(129)), [FollowEffect::ReadReports { window: Window(0) }]);
        assert_eq!(follower.step(&reports(0, None)), build(0));
    }

    #[test]
    fn a_dead_source_of_the_aggregate_is_left_for_the_other_one() {
        let mut follower = Follower::new(Phases::for_tests(), AggregateSource::Payloads, FIRST);
        let applied =
            Applied { aggregate: Some(ContentHash::new([5; 32])), state: StateHash::new([6; 32]), record: RECORD };
        follower.step(&block(120));
        assert!(follower.step(&votes(0, 121, &[1])).ends_with(&build(0)));
        assert_eq!(follower.step(&failed(0, FailedEffect::Aggregate)), []);
        assert_eq!(follower.step(&block(121)), [FollowEffect::ReadReports { window: Window(0) }]);
        let fetch = FollowEffect::FetchAggregate {
            window: Window(0),
            hash: ContentHash::new([5; 32]),
            selection: selection(),
            from: vec![elector().hotkey],
        };
        assert_eq!(follower.step(&reports(0, Some(applied))), [fetch]);
        assert_eq!(follower.step(&failed(0, FailedEffect::Aggregate)), []);
        assert_eq!(follower.step(&block(122)), build(0));
    }

    /// Bug: a node whose disk was full for a moment waited for ever.
    #[test]
    fn what_could_not_be_applied_is_retried() {
        let mut follower = Follower::new(Phases::for_tests(), AggregateSource::Payloads, FIRST);
        let (window, hash) = (Window(0), ContentHash::new([5; 32]));
        for at in [120, 121] {
            assert_eq!(follower.step(&block(at)), [FollowEffect::ReadVotes { window }]);
            assert!(follower.step(&votes(0, at, &[1])).ends_with(&build(0)));
            let apply = FollowEffect::Apply { window, aggregate: Some(hash) };
            assert_eq!(follower.step(&Event::AggregateReady { window, hash }), [apply]);
            assert_eq!(follower.step(&failed(0, FailedEffect::Apply)), []);
        }
        assert_eq!(follower.position(), FIRST);
    }

    #[test]
    fn unsolicited_answers_change_nothing() {
        let mut follower = Follower::new(Phases::for_tests(), AggregateSource::Payloads, FIRST);
        follower.step(&block(110));
        let before = follower.clone();
        let (window, state) = (Window(0), StateHash::new([3; 32]));
        for event in [
            votes(0, 121, &[1]),
            reports(0, None),
            Event::AggregateReady { window, hash: ContentHash::default() },
            Event::Applied { window, state, record: RECORD },
            Event::Restored { next: Window(7), state },
            failed(0, FailedEffect::Restore),
        ] {
            assert_eq!(follower.step(&event), []);
        }
        assert_eq!(follower, before);
    }

    #[test]
    fn a_checkpoint_that_is_too_old_itself_is_not_fetched_again_and_again() {
        let mut follower = Follower::new(Phases::for_tests(), AggregateSource::Payloads, FIRST);
        // Window 15: everybody was away since window 4.
        assert_eq!(follower.step(&block(405)), [FollowEffect::Restore { window: Window(15) }]);
        let effects = follower.step(&Event::Restored { next: Window(3), state: StateHash::new([2; 32]) });
        assert_eq!(effects, [FollowEffect::ReadVotes { window: Window(3) }]);
        // What was selected before the outage is tried once; only if it is gone does a newer checkpoint help.
        assert!(follower.step(&votes(3, 180, &[1])).ends_with(&build(3)));
        follower.step(&failed(3, FailedEffect::Aggregate));
        assert_eq!(follower.step(&block(406)), [FollowEffect::Restore { window: Window(15) }]);
    }

    /// Bug: the failure of an earlier request came late, and the node took no note that its parameters had been replaced.
    #[test]
    fn a_late_failure_does_not_hide_that_the_parameters_were_replaced() {
        let mut follower = Follower::new(Phases::for_tests(), AggregateSource::Payloads, FIRST);
        follower.step(&block(405));
        follower.step(&failed(15, FailedEffect::Restore));
        let state = StateHash::new([2; 32]);
        follower.step(&Event::Restored { next: Window(12), state });
        assert_eq!(follower.position(), Position { next: Window(12), state });
    }

    #[test]
    fn other_parameters_than_most_of_the_stake_has_are_reported_and_replaced() {
        let mut follower = Follower::new(Phases::for_tests(), AggregateSource::Payloads, FIRST);
        let (own, agreed) = (StateHash::new([3; 32]), StateHash::new([4; 32]));
        let aggregate = Some(ContentHash::new([5; 32]));
        follower.step(&block(120));
        follower.step(&votes(0, 121, &[1]));
        follower.step(&Event::AggregateReady { window: Window(0), hash: ContentHash::new([5; 32]) });
        follower.step(&Event::Applied { window: Window(0), state: own, record: RECORD });
        assert_eq!(follower.step(&block(125)), [FollowEffect::ReadReports { window: Window(0) }]);
        let report = |state| Applied { aggregate, state, record: RECORD };
        let (own, agreed) = (report(own), report(agreed));
        let effects = follower.step(&reports(0, Some(agreed)));
        assert_eq!(
            effects,
            [FollowEffect::Diverged { window: Window(0), own, agreed }, FollowEffect::Restore { window: Window(1) }]
        );
        assert!(follower.is_replacing_parameters());
    }

    #[test]
    fn requests_without_an_answer_are_made_again_after_the_deadline_and_not_before() {
        let mut follower = Follower::new(Phases::for_tests(), AggregateSource::Payloads, FIRST);
        let (window, hash) = (Window(0), ContentHash::new([5; 32]));
        let read = FollowEffect::ReadVotes { window };
        assert_eq!(follower.step(&block(120)), std::slice::from_ref(&read));
        assert_eq!(follower.step(&block(128)), []);
        assert_eq!(follower.step(&block(129)), [read]);
        // A source of the aggregate that says nothing is left for the other one.
        assert!(follower.step(&votes(0, 121, &[1])).ends_with(&build(0)));
        assert_eq!(follower.step(&block(137)), []);
        assert_eq!(follower.step(&block(138)), []);
        let reports = FollowEffect::ReadReports { window };
        assert_eq!(follower.step(&block(139)), std::slice::from_ref(&reports));
        assert_eq!(follower.step(&block(148)), [reports]);
        // What comes late is taken all the same.
        let apply = FollowEffect::Apply { window, aggregate: Some(hash) };
        assert_eq!(follower.step(&Event::AggregateReady { window, hash }), std::slice::from_ref(&apply));
        assert_eq!(follower.step(&block(156)), []);
        assert_eq!(follower.step(&block(157)), [apply]);
        let effects = follower.step(&Event::Applied { window, state: StateHash::new([3; 32]), record: RECORD });
        assert!(effects.contains(&FollowEffect::ReadVotes { window: Window(1) }), "{effects:?}");
    }

    #[test]
    fn a_checkpoint_may_take_long_and_is_then_fetched_again() {
        let mut follower = Follower::new(Phases::for_tests(), AggregateSource::Payloads, FIRST);
        assert_eq!(follower.step(&block(405)), [FollowEffect::Restore { window: Window(15) }]);
        assert_eq!(follower.step(&block(405 + 159)), []);
        assert_eq!(follower.step(&block(405 + 160)), [FollowEffect::Restore { window: Window(23) }]);
    }
}
