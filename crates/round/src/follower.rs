//! Following a run: from votes to outcome to aggregate to the next window's parameters. Every role does this.

use crate::agreement::{agreed_verdict, applied_majority, tally};
use crate::{Applied, AppliedRecord, Effect, Elector, Event, FailedEffect, Outcome, Phases, VoteRecord};
use templar_base::{BlockNumber, ContentHash, StateHash, Uid, Window};

/// Where a node gets the aggregate from in the first place. Either falls back on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggregateSource {
    /// It merges the payloads, which it has gathered anyway.
    Payloads,
    /// It downloads one small object, checked against what most of the stake applied.
    Download,
}

/// Where a follower stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
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
        selected: Vec<Uid>,
        failures: u32,
    },
    ReadingReports {
        selected: Vec<Uid>,
        failures: u32,
    },
    Obtaining {
        selected: Vec<Uid>,
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
    standing: Standing,
    stage: Stage,
    head: BlockNumber,
    /// What was applied last and not yet compared with the others' reports.
    unchecked: Option<(Window, Applied)>,
    /// The parameters come from the newest agreed checkpoint, which itself lies out of reach: all nodes were away. Then
    /// another checkpoint would bring nothing, and votes and what objects there are lead on.
    at_newest_checkpoint: bool,
}

impl Follower {
    /// A follower that holds the parameters of `standing`.
    pub fn new(phases: Phases, source: AggregateSource, standing: Standing) -> Self {
        let (stage, head, unchecked) = (Stage::Waiting, BlockNumber(0), None);
        Self { phases, source, standing, stage, head, unchecked, at_newest_checkpoint: false }
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// The deadlines that it goes by.
    pub fn phases(&self) -> &Phases {
        &self.phases
    }

    /// The newest head that it has heard of.
    pub fn head(&self) -> BlockNumber {
        self.head
    }

    /// The window in which the head lies.
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
            Stage::Waiting | Stage::ReadingVotes if self.current() == Some(self.standing.next) => "in step",
            Stage::Waiting | Stage::ReadingVotes => "waits for the votes",
            Stage::Selected { .. } | Stage::ReadingReports { .. } => "waits for the agreed aggregate",
            Stage::Obtaining { .. } => "fetches the aggregate",
            Stage::Applying { .. } => "applies the aggregate",
            Stage::NeedsCheckpoint | Stage::Restoring => "fetches a checkpoint",
        }
    }

    /// Advances by one event. Events of other windows, or that nobody asked for, change nothing.
    pub fn step(&mut self, event: &Event) -> Vec<Effect> {
        match event {
            Event::Block(number) => self.on_block(*number),
            Event::Votes { window, at, limit, electors, votes } => {
                self.on_votes(*window, (*at, *limit), electors, votes)
            }
            Event::Reports { window, electors, reports } => self.on_reports(*window, electors, reports),
            Event::AggregateReady { window, hash } => self.on_aggregate(*window, *hash),
            Event::Applied { window, state } => self.on_applied(*window, *state),
            Event::Restored { next, state } => self.on_restored(Standing { next: *next, state: *state }),
            Event::Failed { window, effect } => self.on_failed(*window, *effect),
            _ => Vec::new(),
        }
    }

    fn on_block(&mut self, number: BlockNumber) -> Vec<Effect> {
        self.head = self.head.max(number);
        let window = self.standing.next;
        let mut effects = Vec::new();
        if let Some((checked, _)) = self.unchecked {
            effects.push(Effect::ReadReports { window: checked });
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
                self.stage = Stage::ReadingVotes;
                effects.push(Effect::ReadVotes { window });
            }
            Stage::Selected { selected, failures } => effects.extend(self.obtain(selected, failures)),
            busy => self.stage = busy,
        }
        effects
    }

    /// Whether objects of the window to apply next may be gone.
    fn is_out_of_reach(&self) -> bool {
        self.current().is_some_and(|current| self.standing.next < self.phases.oldest_kept(current))
    }

    fn restore(&mut self) -> Vec<Effect> {
        self.stage = Stage::Restoring;
        self.unchecked = None;
        self.at_newest_checkpoint = false;
        vec![Effect::Restore { window: self.current().unwrap_or(self.standing.next) }]
    }

    /// Every second try after a failure goes the other way, so that one dead source never blocks a node.
    fn obtain(&mut self, selected: Vec<Uid>, failures: u32) -> Vec<Effect> {
        let window = self.standing.next;
        let build = (self.source == AggregateSource::Payloads) == (failures.is_multiple_of(2));
        if build {
            self.stage = Stage::Obtaining { selected: selected.clone(), failures };
            vec![Effect::BuildAggregate { window, selected }]
        } else {
            self.stage = Stage::ReadingReports { selected, failures };
            vec![Effect::ReadReports { window }]
        }
    }

    fn on_votes(
        &mut self,
        window: Window,
        (at, limit): (BlockNumber, usize),
        electors: &[Elector],
        votes: &[VoteRecord],
    ) -> Vec<Effect> {
        if window != self.standing.next || self.stage != Stage::ReadingVotes {
            return Vec::new();
        }
        let deadline = self.phases.judge(window);
        let outcome = tally(electors, votes, deadline, at, limit);
        self.stage = Stage::Waiting;
        let mut effects = Vec::new();
        if outcome != Outcome::Open
            && let Some((verdict, from)) = agreed_verdict(electors, votes, deadline)
        {
            effects.push(Effect::AdoptVerdict { window, verdict, from });
        }
        match outcome {
            Outcome::Open => {}
            Outcome::Null => {
                self.stage = Stage::Applying { aggregate: None };
                effects.push(Effect::Apply { window, aggregate: None });
            }
            Outcome::Selected(selected) => effects.extend(self.obtain(selected, 0)),
        }
        effects
    }

    fn on_reports(&mut self, window: Window, electors: &[Elector], reports: &[AppliedRecord]) -> Vec<Effect> {
        let majority = applied_majority(electors, reports);
        if let Some((checked, own)) = self.unchecked
            && checked == window
        {
            return self.compare(checked, own, majority.map(|majority| majority.applied));
        }
        if window != self.standing.next {
            return Vec::new();
        }
        let Stage::ReadingReports { selected, failures } = &self.stage else { return Vec::new() };
        let (selected, failures) = (selected.clone(), *failures);
        match majority {
            Some(majority) if let Some(hash) = majority.applied.aggregate => {
                self.stage = Stage::Obtaining { selected, failures };
                vec![Effect::FetchAggregate { window, hash, from: majority.by }]
            }
            // The votes are the rule and the reports only a help: without them a node merges the payloads itself.
            _ if self.head >= self.phases.apply(window) => {
                self.stage = Stage::Obtaining { selected: selected.clone(), failures };
                vec![Effect::BuildAggregate { window, selected }]
            }
            _ => {
                self.stage = Stage::Selected { selected, failures };
                Vec::new()
            }
        }
    }

    fn compare(&mut self, window: Window, own: Applied, agreed: Option<Applied>) -> Vec<Effect> {
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
        let mut effects = vec![Effect::Diverged { window, own, agreed }];
        effects.extend(self.restore());
        effects
    }

    fn on_aggregate(&mut self, window: Window, hash: ContentHash) -> Vec<Effect> {
        if window != self.standing.next || !matches!(self.stage, Stage::Obtaining { .. }) {
            return Vec::new();
        }
        self.stage = Stage::Applying { aggregate: Some(hash) };
        vec![Effect::Apply { window, aggregate: Some(hash) }]
    }

    fn on_applied(&mut self, window: Window, state: StateHash) -> Vec<Effect> {
        let Stage::Applying { aggregate } = self.stage else { return Vec::new() };
        if window != self.standing.next {
            return Vec::new();
        }
        self.standing = Standing { next: window.next(), state };
        self.unchecked = Some((window, Applied { aggregate, state }));
        self.stage = Stage::Waiting;
        self.at_newest_checkpoint &= self.is_out_of_reach();
        // A node that lags behind goes on at once instead of one window a block.
        if self.head >= self.phases.end(self.standing.next) { self.on_block(self.head) } else { Vec::new() }
    }

    fn on_restored(&mut self, standing: Standing) -> Vec<Effect> {
        if self.stage != Stage::Restoring {
            return Vec::new();
        }
        self.standing = standing;
        self.stage = Stage::Waiting;
        self.at_newest_checkpoint = self.is_out_of_reach();
        self.on_block(self.head)
    }

    fn on_failed(&mut self, window: Window, effect: FailedEffect) -> Vec<Effect> {
        let own = window == self.standing.next;
        match (effect, &self.stage) {
            (FailedEffect::ReadVotes, Stage::ReadingVotes) if own => self.stage = Stage::Waiting,
            (FailedEffect::ReadReports, Stage::ReadingReports { selected, failures }) if own => {
                self.stage = Stage::Selected { selected: selected.clone(), failures: *failures };
            }
            (FailedEffect::Aggregate, Stage::Obtaining { selected, failures }) if own => {
                self.stage = Stage::Selected { selected: selected.clone(), failures: failures + 1 };
            }
            // From the votes on anew: what was held in memory for it may be gone by the time that the disk gives way.
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
    use templar_base::PublicKey;

    const FIRST: Standing = Standing { next: Window(0), state: StateHash::new([1; 32]) };

    fn elector() -> Elector {
        Elector { uid: Uid(0), hotkey: PublicKey::new([9; 32]), stake: 10 }
    }

    fn block(number: u64) -> Event {
        Event::Block(BlockNumber(number))
    }

    fn votes(window: u64, at: u64, selected: &[u16]) -> Event {
        let selected: Vec<Uid> = selected.iter().copied().map(Uid).collect();
        let vote = Vote::new(&selected, &selected, ContentHash::default()).unwrap();
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

    fn build(window: u64) -> Vec<Effect> {
        vec![Effect::BuildAggregate { window: Window(window), selected: vec![Uid(1)] }]
    }

    #[test]
    fn a_downloader_waits_for_reports_until_the_apply_deadline_and_then_merges_itself() {
        let mut follower = Follower::new(Phases::for_tests(), AggregateSource::Download, FIRST);
        assert_eq!(follower.step(&block(119)), []);
        assert_eq!(follower.step(&block(120)), [Effect::ReadVotes { window: Window(0) }]);
        assert_eq!(follower.step(&votes(0, 121, &[1])).last(), Some(&Effect::ReadReports { window: Window(0) }));
        assert_eq!(follower.step(&reports(0, None)), []);
        assert_eq!(follower.step(&block(129)), [Effect::ReadReports { window: Window(0) }]);
        assert_eq!(follower.step(&reports(0, None)), build(0));
    }

    #[test]
    fn a_dead_source_of_the_aggregate_is_left_for_the_other_one() {
        let mut follower = Follower::new(Phases::for_tests(), AggregateSource::Payloads, FIRST);
        let applied = Applied { aggregate: Some(ContentHash::new([5; 32])), state: StateHash::new([6; 32]) };
        follower.step(&block(120));
        assert!(follower.step(&votes(0, 121, &[1])).ends_with(&build(0)));
        assert_eq!(follower.step(&failed(0, FailedEffect::Aggregate)), []);
        assert_eq!(follower.step(&block(121)), [Effect::ReadReports { window: Window(0) }]);
        let fetch =
            Effect::FetchAggregate { window: Window(0), hash: ContentHash::new([5; 32]), from: vec![elector().hotkey] };
        assert_eq!(follower.step(&reports(0, Some(applied))), [fetch]);
        assert_eq!(follower.step(&failed(0, FailedEffect::Aggregate)), []);
        assert_eq!(follower.step(&block(122)), build(0));
    }

    /// Bug: a node whose disk was full for a moment waited for ever.
    #[test]
    fn what_could_not_be_applied_is_tried_again() {
        let mut follower = Follower::new(Phases::for_tests(), AggregateSource::Payloads, FIRST);
        let (window, hash) = (Window(0), ContentHash::new([5; 32]));
        for at in [120, 121] {
            assert_eq!(follower.step(&block(at)), [Effect::ReadVotes { window }]);
            assert!(follower.step(&votes(0, at, &[1])).ends_with(&build(0)));
            let apply = Effect::Apply { window, aggregate: Some(hash) };
            assert_eq!(follower.step(&Event::AggregateReady { window, hash }), [apply]);
            assert_eq!(follower.step(&failed(0, FailedEffect::Apply)), []);
        }
        assert_eq!(follower.standing(), FIRST);
    }

    #[test]
    fn answers_that_nobody_asked_for_change_nothing() {
        let mut follower = Follower::new(Phases::for_tests(), AggregateSource::Payloads, FIRST);
        follower.step(&block(110));
        let before = follower.clone();
        let (window, state) = (Window(0), StateHash::new([3; 32]));
        for event in [
            votes(0, 121, &[1]),
            reports(0, None),
            Event::AggregateReady { window, hash: ContentHash::default() },
            Event::Applied { window, state },
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
        assert_eq!(follower.step(&block(405)), [Effect::Restore { window: Window(15) }]);
        let effects = follower.step(&Event::Restored { next: Window(3), state: StateHash::new([2; 32]) });
        assert_eq!(effects, [Effect::ReadVotes { window: Window(3) }]);
        // What was selected before the outage is tried once; only if it is gone does a newer checkpoint help.
        assert!(follower.step(&votes(3, 180, &[1])).ends_with(&build(3)));
        follower.step(&failed(3, FailedEffect::Aggregate));
        assert_eq!(follower.step(&block(406)), [Effect::Restore { window: Window(15) }]);
    }

    #[test]
    fn other_parameters_than_most_of_the_stake_has_are_told_and_replaced() {
        let mut follower = Follower::new(Phases::for_tests(), AggregateSource::Payloads, FIRST);
        let (own, agreed) = (StateHash::new([3; 32]), StateHash::new([4; 32]));
        let aggregate = Some(ContentHash::new([5; 32]));
        follower.step(&block(120));
        follower.step(&votes(0, 121, &[1]));
        follower.step(&Event::AggregateReady { window: Window(0), hash: ContentHash::new([5; 32]) });
        follower.step(&Event::Applied { window: Window(0), state: own });
        assert_eq!(follower.step(&block(125)), [Effect::ReadReports { window: Window(0) }]);
        let (own, agreed) = (Applied { aggregate, state: own }, Applied { aggregate, state: agreed });
        let effects = follower.step(&reports(0, Some(agreed)));
        assert_eq!(
            effects,
            [Effect::Diverged { window: Window(0), own, agreed }, Effect::Restore { window: Window(1) }]
        );
        assert!(follower.is_replacing_parameters());
    }
}
