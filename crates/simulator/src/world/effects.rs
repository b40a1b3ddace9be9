//! Carrying effects out: whether they work, how long they take, and what they leave.

use super::transfers::{Job, Made, Route};
use super::{Address, Happening, World};
use crate::chain::{SIMULATED_RUN, Transaction};
use crate::invariants::{self, Invariant};
use crate::links::Link;
use crate::machine::Effect;
use crate::model::{Judgement, Judging, SealOrder, Step};
use crate::{Behaviour, Violation};
use std::collections::BTreeSet;
use templar_base::{
    BlockNumber, ContentHash, Finding, Findings, MAX_CANDIDATES, Mark, Nats, PublicKey, Share, StateHash, StepShare,
    Uid, Window,
};
use templar_round::{
    Event, FailedEffect, FollowEffect, MinerEffect, Position, SealedCommitments, SealedRecord, ValidatorEffect, Vote,
    VoteSeal, last_majority, may_resume,
};

/// What an effect needs before it is done.
struct Needs {
    made: Made,
    before: u64,
    route: Option<Route>,
    after: u64,
}

impl Needs {
    const NOTHING: Self = Self { made: Made::Nothing, before: 0, route: None, after: 0 };
}

impl World {
    /// An effect's request has arrived: decides whether it works, and sets it on its way.
    pub(super) fn begin(&mut self, from: Address, effect: Effect) -> Result<(), Violation> {
        if !self.is_alive(from) {
            return Ok(());
        }
        let mut job = Job { from, effect, is_answered: true, made: Made::Nothing, work: 0 };
        if job.effect.needs_ledger() && self.cut_until(from.node).is_some() {
            self.fail(&job);
            return Ok(());
        }
        let failure = job.effect.failure();
        if failure.is_some() && self.happens(self.faults.silence) {
            job.is_answered = false;
            return if self.below(2) == 0 { self.carry(job) } else { Ok(()) };
        }
        let Some((_, kind)) = failure.filter(|_| self.happens(self.faults.failure)) else { return self.carry(job) };
        // Some of what failed has taken effect all the same: the answer was lost, or the object had arrived.
        let takes_effect = matches!(
            kind,
            FailedEffect::WriteHeld | FailedEffect::Vote | FailedEffect::CommitSeal | FailedEffect::Reveal
        );
        self.fail(&job);
        if takes_effect && self.below(2) == 0 {
            job.is_answered = false;
            return self.carry(job);
        }
        Ok(())
    }

    fn carry(&mut self, mut job: Job) -> Result<(), Violation> {
        let Some(needs) = self.needs(&job)? else {
            self.fail(&job);
            return Ok(());
        };
        (job.made, job.work) = (needs.made, needs.after);
        match needs.route {
            Some(route) if needs.before > 0 => {
                self.queue.push(self.now.plus(needs.before), Happening::Move { job, route });
                Ok(())
            }
            Some(route) => {
                self.start_transfer(job, route);
                Ok(())
            }
            None => self.work_and_finish(job),
        }
    }

    /// What an effect needs; none where it cannot be had.
    fn needs(&mut self, job: &Job) -> Result<Option<Needs>, Violation> {
        let node = job.from.node;
        let times = self.nodes[node].spec.times;
        Ok(Some(match &job.effect {
            Effect::Miner(MinerEffect::Seal { window, start }) => {
                let order = SealOrder { window: *window, uid: self.nodes[node].uid, start: *start };
                let sealed = self.model.seal(node, order, self.now).map_err(|error| self.model_violation(&error))?;
                let Some(sealed) = sealed else { return Ok(None) };
                self.nodes[node].interrupt(self.now, times.seal);
                let route = self.upload(node, u64::from(sealed.bytes));
                Needs { made: Made::Seal(sealed), before: times.seal, route: Some(route), after: 0 }
            }
            Effect::Follow(FollowEffect::BuildAggregate { window, selection }) => {
                let Some(records) = self.payloads_of(*window, &selection.uids) else { return Ok(None) };
                let Some(missing) = self.missing(node, *window, &records) else { return Ok(None) };
                let links = vec![Link::Down(node)];
                let route = Route { bucket: None, links, bytes: missing, is_upload: false };
                let after = times.merge_payload * records.len() as u64;
                Needs { route: (missing > 0).then_some(route), after, ..Needs::NOTHING }
            }
            Effect::Follow(FollowEffect::FetchAggregate { window, hash, from, .. }) => {
                let Some(source) = self.source(node, *window, from) else { return Ok(None) };
                Needs { route: Some(self.download(node, source, self.model.aggregate_bytes(*hash))), ..Needs::NOTHING }
            }
            Effect::Follow(FollowEffect::Apply { aggregate: Some(_), .. }) => {
                self.nodes[node].interrupt(self.now, times.apply);
                Needs { after: times.apply, ..Needs::NOTHING }
            }
            Effect::Follow(FollowEffect::Restore { .. }) => match self.checkpoint_source(node) {
                Ok(source) => {
                    let route = source.map(|source| self.download(node, source, self.model.checkpoint_bytes()));
                    Needs { route, ..Needs::NOTHING }
                }
                Err(()) => return Ok(None),
            },
            Effect::Validator(ValidatorEffect::Judge { .. }) => {
                let payloads = self.nodes[node].gathered.1.len() as u64;
                Needs { after: times.judge + times.judge_payload * payloads, ..Needs::NOTHING }
            }
            Effect::Validator(ValidatorEffect::Report { applied, .. }) => {
                let route = applied.aggregate.map(|hash| self.upload(node, self.model.aggregate_bytes(hash)));
                Needs { route, ..Needs::NOTHING }
            }
            Effect::Validator(ValidatorEffect::PublishCheckpoint { window }) => {
                let Position { next, state } = self.nodes[node].disk;
                if next != *window {
                    return Ok(None);
                }
                let route = Some(self.upload(node, self.model.checkpoint_bytes()));
                Needs { made: Made::Checkpoint(state), route, ..Needs::NOTHING }
            }
            _ => Needs::NOTHING,
        }))
    }

    fn upload(&self, node: usize, bytes: u64) -> Route {
        Route { bucket: None, links: vec![Link::Up(node)], bytes, is_upload: true }
    }

    fn download(&self, node: usize, source: usize, bytes: u64) -> Route {
        let links = vec![Link::Bucket(source), Link::Down(node)];
        Route { bucket: Some(source), links, bytes, is_upload: false }
    }

    /// The committed payloads of these uids; none where one is not open or not kept any more.
    fn payloads_of(&self, window: Window, selected: &[Uid]) -> Option<Vec<SealedRecord>> {
        if !self.is_kept(window) {
            return None;
        }
        let record = |uid: &Uid| {
            let hotkey = self.nodes.get(uid.index())?.hotkey;
            let record = self.chain.seals.get(&(window, hotkey))?;
            self.chain.reveals.contains(&(window, *uid)).then_some(*record)
        };
        selected.iter().map(record).collect()
    }

    /// Bytes of the payloads that a node does not hold; none where one is out of reach.
    fn missing(&self, node: usize, window: Window, records: &[SealedRecord]) -> Option<u64> {
        let (gathered, own) = &self.nodes[node].gathered;
        let is_held = |record: &SealedRecord| *gathered == window && own.contains(record);
        let missing = records.iter().filter(|record| !is_held(record));
        let is_out_of_reach = |record: &SealedRecord| {
            let owner = record.uid.index();
            let is_hidden = self.is_stalling(owner) || self.are_parted(node, owner) || self.hides(owner, node);
            is_hidden && !self.is_mirrored_for(node, window, record.uid)
        };
        if missing.clone().any(is_out_of_reach) {
            return None;
        }
        Some(missing.map(|record| u64::from(record.commitment.bytes)).sum())
    }

    /// Whose bucket a node asks for an aggregate: all share the load, and after a failure it asks another.
    fn source(&self, node: usize, window: Window, from: &[PublicKey]) -> Option<usize> {
        if !self.is_kept(window) {
            return None;
        }
        let holders: Vec<usize> = from
            .iter()
            .filter(|key| self.chain.reports.contains_key(&(window, **key)))
            .filter_map(|key| self.index_of(*key))
            .filter(|holder| !self.are_parted(node, *holder))
            .collect();
        let turn = (node + self.nodes[node].attempts) % holders.len().max(1);
        holders.get(turn).copied()
    }

    pub(super) fn index_of(&self, key: PublicKey) -> Option<usize> {
        let elector = self.electors.all().iter().find(|elector| elector.hotkey == key)?;
        Some(elector.uid.index())
    }

    /// Where a node gets what it restores from: a peer's checkpoint, or nobody where it needs none; an error where there is
    /// nothing to be had.
    fn checkpoint_source(&self, node: usize) -> Result<Option<usize>, ()> {
        let (window, state) = match self.restorable(node).ok_or(())? {
            Restorable::First | Restorable::Own => return Ok(None),
            Restorable::Checkpoint(window, state) => (window, state),
        };
        let Some(by) = self.chain.checkpoints.get(&(window, state)) else { return Err(()) };
        let holders: Vec<usize> =
            by.iter().filter_map(|key| self.index_of(*key)).filter(|holder| !self.are_parted(node, *holder)).collect();
        let turn = (node + self.nodes[node].attempts) % holders.len().max(1);
        holders.get(turn).copied().map(Some).ok_or(())
    }

    /// What a node can restore: the newest checkpoint that more than half of the stake published and still keeps; the first
    /// parameters while everything since is kept; its own disk, where the ledger tells that it was agreed last.
    fn restorable(&self, node: usize) -> Option<Restorable> {
        let oldest = self.phases.oldest_kept(self.current());
        let kept = self.chain.agreed_checkpoint(self.electors.all()).filter(|(window, _)| *window >= oldest);
        if let Some((window, state)) = kept {
            return Some(Restorable::Checkpoint(window, state));
        }
        if oldest == Window::ZERO {
            return Some(Restorable::First);
        }
        let own = self.nodes[node].disk;
        let record = own.next.previous().map_or(ContentHash::default(), |last| self.model.record(last));
        let reports = self.chain.reports.iter().map(|((window, _), report)| (*window, *report));
        let is_agreed = may_resume(own, record, last_majority(self.electors.all(), reports));
        (own.next < oldest && is_agreed).then_some(Restorable::Own)
    }

    /// An effect's work is done: it leaves its trace, unless the node crashes just before.
    pub(super) fn finish(&mut self, mut job: Job) -> Result<(), Violation> {
        if !self.is_alive(job.from) {
            return Ok(());
        }
        let crashes = job.effect.writes() && self.happens(self.faults.crash_at_write);
        if !crashes {
            return self.carry_out(job);
        }
        let (node, back) = (job.from.node, self.back_at());
        if self.below(2) == 0 {
            job.is_answered = false;
            self.carry_out(job)?;
        }
        self.crash(node, back);
        Ok(())
    }

    /// Carries an effect out; the answer comes only where the job is answered.
    fn carry_out(&mut self, job: Job) -> Result<(), Violation> {
        let Job { from, effect, is_answered, made, .. } = job;
        let event = match effect {
            Effect::Follow(effect) => self.carry_out_follow(from, effect)?,
            Effect::Miner(effect) => self.carry_out_miner(from.node, effect, is_answered, made)?,
            Effect::Validator(effect) => self.carry_out_validator(from.node, effect, is_answered, made)?,
        };
        if let Some(event) = event.filter(|_| is_answered) {
            self.answer(from.node, event);
        }
        Ok(())
    }

    fn carry_out_follow(&mut self, from: Address, effect: FollowEffect) -> Result<Option<Event>, Violation> {
        let node = from.node;
        let failed = |window| Event::Failed { window, effect: FailedEffect::Aggregate };
        Ok(Some(match effect {
            FollowEffect::ReadVotes { window } => {
                let (at, electors) = (BlockNumber(self.head), self.electors.of(window));
                let votes = self.chain.votes_on(window, &electors, &self.phases, at);
                let limit = self.rules_of(window)?.0;
                Event::Votes { window, at, limit, electors, votes }
            }
            FollowEffect::ReadReports { window } => {
                Event::Reports { window, electors: self.electors.of(window), reports: self.chain.reports_on(window) }
            }
            FollowEffect::BuildAggregate { window, selection } => match self.payloads_of(window, &selection.uids) {
                None => failed(window),
                Some(records) => {
                    let hash = self.model.merge(window, &records, selection.step);
                    let hash = hash.map_err(|error| self.model_violation(&error))?;
                    Event::AggregateReady { window, hash }
                }
            },
            FollowEffect::FetchAggregate { window, hash, .. } => match self.is_kept(window) {
                true => Event::AggregateReady { window, hash },
                false => failed(window),
            },
            FollowEffect::Apply { window, aggregate } => return self.apply(from, window, aggregate),
            FollowEffect::Restore { .. } => return self.restore(from),
            FollowEffect::Diverged { window, .. } => {
                self.diverged.push((node, window));
                return Ok(None);
            }
            FollowEffect::Settle { window, agreed, .. } => {
                self.model.settle(window, &agreed);
                let ledger = (&self.chain, &self.phases);
                let counted = self.electors.settle((window, &agreed), ledger, BlockNumber(self.head));
                self.require(Invariant::OneOutcome, counted)?;
                let known = self.agreed.entry(window).or_insert_with(|| agreed.clone());
                let finding = invariants::one_agreement(node, window, known, &agreed);
                self.require(Invariant::OneOutcome, finding)?;
                return Ok(None);
            }
        }))
    }

    fn carry_out_miner(
        &mut self,
        node: usize,
        effect: MinerEffect,
        is_answered: bool,
        made: Made,
    ) -> Result<Option<Event>, Violation> {
        let uid = self.nodes[node].uid;
        match effect {
            MinerEffect::Follow(_) => {}
            MinerEffect::BeginWindow { window } => {
                self.nodes[node].training_since.get_or_insert(self.now);
                self.model.begin(node, window, self.now).map_err(|error| self.model_violation(&error))?;
            }
            MinerEffect::Seal { window, .. } => {
                let Made::Seal(commitment) = made else { return Ok(None) };
                self.nodes[node].pending = Some((window, commitment));
                return Ok(Some(Event::Sealed { window, commitment }));
            }
            MinerEffect::CommitSeal { window, commitment } => {
                self.submit(node, Transaction::Seal(window, commitment), is_answered);
            }
            MinerEffect::Reveal { window } => {
                self.chain.reveals.insert((window, uid));
                self.on_reveal(window, uid);
                if is_answered {
                    self.nodes[node].pending = None;
                }
                return Ok(Some(Event::Revealed { window }));
            }
            MinerEffect::Unsend { window } => {
                self.nodes[node].pending = None;
                self.model.unsend(node, window);
            }
            MinerEffect::Skip { window, reason } => self.skips.push((node, window, reason)),
        }
        Ok(None)
    }

    fn carry_out_validator(
        &mut self,
        node: usize,
        effect: ValidatorEffect,
        is_answered: bool,
        made: Made,
    ) -> Result<Option<Event>, Violation> {
        match effect {
            ValidatorEffect::Follow(_) | ValidatorEffect::SetWeights { .. } => {}
            ValidatorEffect::ReadSealed { window } => {
                let sealed =
                    SealedCommitments { records: self.chain.pool(window, &self.phases), malformed: Vec::new() };
                return Ok(Some(Event::SealedRead { window, sealed }));
            }
            ValidatorEffect::Gather { window, sealed } => {
                if is_answered {
                    self.gather(node, window, sealed.records);
                }
            }
            ValidatorEffect::CloseGather { window } => self.close_gathering(node, window),
            ValidatorEffect::WriteHeld { window, .. } => match self.held(node, window) {
                Some(held) => self.submit(node, Transaction::Held(window, held), is_answered),
                None => return Ok(Some(Event::Failed { window, effect: FailedEffect::WriteHeld })),
            },
            ValidatorEffect::ReadHeld { window } => return Ok(Some(self.read_held(window))),
            ValidatorEffect::TakeCandidates { window, mirrors } => {
                self.take_candidates(node, window, &mirrors, is_answered);
            }
            ValidatorEffect::CloseTaking { window } => self.close_taking(node, window),
            ValidatorEffect::Judge { window } => return self.judge(node, window).map(Some),
            ValidatorEffect::SealVote { window, vote } => {
                let seal = VoteSeal::of(SIMULATED_RUN, window, self.nodes[node].hotkey, &vote);
                self.submit(node, Transaction::VoteSeal(window, seal), is_answered);
            }
            ValidatorEffect::ReadVoteSeals { window } => {
                let (at, electors) = (BlockNumber(self.head), self.electors.of(window));
                let seals = self.chain.vote_seals_on(window);
                return Ok(Some(Event::VoteSeals { window, at, electors, seals }));
            }
            ValidatorEffect::Vote { window, vote } => {
                self.submit(node, Transaction::Vote(window, vote), is_answered);
            }
            ValidatorEffect::Report { window, mut applied } => {
                if self.lies(node) {
                    applied.state = StateHash::new([self.below(256) as u8; 32]);
                }
                if !self.happens(self.faults.failure) {
                    self.submit(node, Transaction::Report(window, applied), false);
                }
            }
            ValidatorEffect::PublishCheckpoint { window } => {
                if let Made::Checkpoint(state) = made {
                    let hotkey = self.nodes[node].hotkey;
                    self.chain.checkpoints.entry((window, state)).or_default().insert(hotkey);
                }
            }
            ValidatorEffect::Skip { window, reason } => self.skips.push((node, window, reason)),
        }
        Ok(None)
    }

    /// Whether a validator that lies at random does so now.
    fn lies(&mut self, node: usize) -> bool {
        self.nodes[node].spec.behaviour == Behaviour::Random && self.below(2) == 0
    }

    fn judge(&mut self, node: usize, window: Window) -> Result<Event, Violation> {
        let (gathered, payloads) = self.nodes[node].gathered.clone();
        if gathered != window {
            // The machine gave the window up, and has gathered another one.
            let finding = if gathered > window { Ok(()) } else { Err("judges what it has not gathered".to_owned()) };
            self.require(Invariant::HonestVote, finding)?;
            return Ok(Event::Failed { window, effect: FailedEffect::Judge });
        }
        if !self.may_judge(node, window) {
            return Ok(Event::Failed { window, effect: FailedEffect::Judge });
        }
        let finding = self.judges_candidates(node, window, &payloads);
        self.require(Invariant::HonestVote, finding)?;
        if self.lies(node) {
            return Ok(Event::Judged { window, vote: self.random_vote(&payloads)? });
        }
        let Position { next, state } = self.nodes[node].disk;
        let start = if next == window { Some(state) } else { self.states.get(&window).copied() };
        let limit = self.rules_of(window)?.0;
        let judging = Judging { window, start, payloads: &payloads, limit };
        let judgement = self.model.judge(judging).map_err(|error| self.model_violation(&error))?;
        Ok(Event::Judged { window, vote: self.vote_of(&judgement)? })
    }

    fn random_vote(&mut self, payloads: &[SealedRecord]) -> Result<Vote, Violation> {
        const MARKS: [Mark; 6] =
            [Mark::NotAdmitted, Mark::Admitted, Mark::Selected, Mark::Dropped, Mark::Harmful, Mark::Copy];
        let uids: BTreeSet<Uid> = payloads.iter().map(|record| record.uid).take(MAX_CANDIDATES).collect();
        let finding = |uid| {
            let share = (self.below(2) == 0).then(|| Share::new(self.below(9) as f64 - 4.0, self.below(5) as f64));
            Finding { uid, mark: MARKS[self.below(6) as usize], is_sure: self.below(2) == 0, share }
        };
        let miners = uids.into_iter().map(finding).collect();
        let verdict = ContentHash::new([self.below(256) as u8; 32]);
        let step = StepShare::ALL[self.below(3) as usize];
        let surplus = Nats(self.below(1 << 40) as i64 - (1 << 39));
        let magnitude = self.below(1 << 20);
        let findings = Findings { miners, step, magnitude, surplus, surplus_error: Nats(1), ..Findings::default() };
        self.vote_of(&Judgement { findings, verdict })
    }

    fn vote_of(&self, judgement: &Judgement) -> Result<Vote, Violation> {
        Vote::new(judgement.findings.clone(), judgement.verdict)
            .map_err(|error| self.violation(Invariant::HonestVote, error.to_string()))
    }

    fn apply(
        &mut self,
        from: Address,
        window: Window,
        aggregate: Option<ContentHash>,
    ) -> Result<Option<Event>, Violation> {
        let index = from.node;
        if self.nodes[index].restores != from.restores {
            return Ok(None);
        }
        let Position { next, state } = self.nodes[index].disk;
        if next == window.next() {
            // The answer to an earlier request was lost.
            return Ok(Some(Event::Applied { window, state, record: self.model.record(window) }));
        }
        let finding = invariants::applies_in_turn(index, window, self.nodes[index].disk);
        self.require(Invariant::NoSkippedWindow, finding)?;
        let alpha = self.rules_of(window)?.1;
        let fails = self.happens(self.faults.corruption) && self.nodes[index].may_be_corrupted;
        let state = match fails || self.nodes[index].corrupted {
            true => {
                self.nodes[index].corrupted = true;
                let wrong = [state.as_bytes().as_slice(), &[index as u8 ^ 0x80]].concat();
                StateHash::new(*ContentHash::of(&wrong).as_bytes())
            }
            false => {
                let step = Step { window, before: state, aggregate, alpha };
                self.model.apply(index, step, self.now).map_err(|error| self.model_violation(&error))?
            }
        };
        self.nodes[index].disk = Position { next: window.next(), state };
        if window.next() == self.current() {
            self.nodes[index].in_step_at.get_or_insert(self.now);
        }
        if !self.nodes[index].corrupted {
            let known = *self.states.entry(window.next()).or_insert(state);
            self.require(Invariant::OneState, invariants::one_state(index, window.next(), known, state))?;
        }
        Ok(Some(Event::Applied { window, state, record: self.model.record(window) }))
    }

    fn restore(&mut self, from: Address) -> Result<Option<Event>, Violation> {
        let index = from.node;
        if self.nodes[index].restores != from.restores {
            return Ok(None);
        }
        let (next, state) = match self.restorable(index) {
            None => {
                let (window, effect) = (self.current(), FailedEffect::Restore);
                return Ok(Some(Event::Failed { window, effect }));
            }
            Some(Restorable::Own) => {
                let Position { next, state } = self.nodes[index].disk;
                return Ok(Some(Event::Restored { next, state }));
            }
            Some(Restorable::First) => (Window(0), self.model.first_state()),
            Some(Restorable::Checkpoint(window, state)) => (window, state),
        };
        let finding = invariants::true_checkpoint(next, self.states.get(&next).copied(), state);
        self.require(Invariant::TrueCheckpoint, finding)?;
        self.nodes[index].disk = Position { next, state };
        self.nodes[index].corrupted = false;
        self.model.start(index, next, state).map_err(|error| self.model_violation(&error))?;
        Ok(Some(Event::Restored { next, state }))
    }
}

/// What a node that is out of step can go on from.
enum Restorable {
    Checkpoint(Window, StateHash),
    First,
    Own,
}
