//! A small world for the machines of a round: a ledger, buckets and nodes, driven block by block by one seed.
//!
//! Every effect is carried out after a random delay and answered after another one; with faults it may fail (before or
//! after it took effect), its answer may come twice, blocks go unseen, and nodes crash and come back with what was on
//! their disk. Parameters are a hash chain. The world checks the protocol's promises at every step.

mod node;
mod rules;

pub use node::{Effect, Node, Role};
pub use rules::genesis;

use parity_scale_codec::Encode;
use std::collections::{BTreeMap, BTreeSet};
use templar_base::random::Stream;
use templar_base::{BlockNumber, ContentHash, PublicKey, RunSetting, SettingChange, StateHash, StepShare, Uid, Window};
use templar_round::{
    Applied, AppliedRecord, Elector, Event, FailedEffect, FollowEffect, MinerEffect, Outcome, Phases, Position,
    SealCommitment, SealedCommitments, SealedRecord, SkipReason, ValidatorEffect, Vote, VoteRecord, tally,
};

pub const SELECTION_LIMIT: usize = 15;

/// What goes wrong, in shares of one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    pub failure: f32,
    pub unseen_block: f32,
    /// Requests that get neither answer nor failure, whether or not they take effect.
    pub silence: f32,
    pub duplicate: f32,
    pub crash: f32,
    /// Most blocks that a crashed node is away.
    pub downtime_blocks: u64,
    /// An outer step that goes wrong, such as memory that flipped.
    pub corruption: f32,
    /// Most blocks until an effect is carried out, and until its answer comes.
    pub delay_blocks: u64,
}

impl Faults {
    /// Everything works; each step takes a block at most.
    pub fn none() -> Self {
        Self { delay_blocks: 1, ..Self::default() }
    }
}

enum Task {
    Carry(Effect),
    Answer(Event),
}

struct Item {
    due: u64,
    node: usize,
    incarnation: u64,
    /// Answers about the parameters count only until the parameters are replaced.
    restores: u64,
    task: Task,
}

enum Transaction {
    Seal(Window, SealCommitment),
    Vote(Window, Vote),
    Report(Window, Applied),
}

struct Submitted {
    due: u64,
    node: usize,
    incarnation: u64,
    transaction: Transaction,
    answer: bool,
}

pub struct World {
    pub seed: u64,
    pub head: u64,
    pub faults: Faults,
    pub nodes: Vec<Node>,
    pub phases: Phases,
    random: Stream,
    items: Vec<Item>,
    submitted: Vec<Submitted>,
    seals: BTreeMap<(Window, PublicKey), SealedRecord>,
    votes: BTreeMap<(Window, PublicKey), VoteRecord>,
    reports: BTreeMap<(Window, PublicKey), AppliedRecord>,
    reveals: BTreeSet<(Window, Uid)>,
    checkpoints: BTreeMap<(Window, StateHash), BTreeSet<PublicKey>>,
    /// What the token's holders decided, in order.
    changes: Vec<SettingChange>,
    /// The most payloads merged in a window and the bits of its alpha, once the window has begun.
    rules: BTreeMap<Window, (usize, u32)>,
    /// What nodes decided, and the state that follows; one value each, whoever is asked.
    pub decided: BTreeMap<Window, Option<ContentHash>>,
    pub states: BTreeMap<Window, StateHash>,
    pub skips: Vec<(usize, Window, SkipReason)>,
    pub diverged: Vec<(usize, Window)>,
}

/// State hash of the first parameters.
pub fn first_state() -> StateHash {
    StateHash::new([7; 32])
}

/// The parameters after an outer step with an alpha of these bits.
fn after(state: StateHash, aggregate: Option<ContentHash>, alpha: u32) -> StateHash {
    match aggregate {
        Some(aggregate) => StateHash::new(*ContentHash::of(&(state, aggregate, alpha).encode()).as_bytes()),
        None => state,
    }
}

impl World {
    /// A world before block 1. Validators come first, then miners, then plain followers.
    pub fn new(seed: u64, validator_stakes: &[u64], miners: usize, followers: usize, faults: Faults) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let validators = validator_stakes.iter().map(|stake| Role::Validator { stake: *stake });
        let roles = validators.chain((0..miners).map(|_| Role::Miner)).chain((0..followers).map(|_| Role::Follower));
        let phases = Phases::of(&genesis());
        let nodes = roles.enumerate().map(|(index, role)| Node::new(index, role, &phases)).collect();
        Self {
            seed,
            head: 0,
            faults,
            nodes,
            phases,
            random: Stream::new(key, "round world", 0),
            items: Vec::new(),
            submitted: Vec::new(),
            seals: BTreeMap::new(),
            votes: BTreeMap::new(),
            reports: BTreeMap::new(),
            reveals: BTreeSet::new(),
            checkpoints: BTreeMap::new(),
            changes: Vec::new(),
            rules: BTreeMap::new(),
            decided: BTreeMap::new(),
            states: BTreeMap::from([(Window(0), first_state())]),
            skips: Vec::new(),
            diverged: Vec::new(),
        }
    }

    /// The token's holders decide on a setting in the block at hand.
    pub fn decide(&mut self, setting: RunSetting) {
        self.changes.push(SettingChange { decided_at: BlockNumber(self.head), setting });
    }

    /// What a node finds when it reads the rules of a window that has begun, however late it reads them.
    pub fn rules_of(&mut self, window: Window) -> (usize, u32) {
        assert!(self.phases.start(window).0 <= self.head, "seed {}: asks for rules that are still open", self.seed);
        let rules = genesis().rules_in(window, &self.changes).genesis;
        let found = (rules.judging.selected, rules.outer.alpha(window).to_bits());
        let known = *self.rules.entry(window).or_insert(found);
        assert_eq!(known, found, "seed {}: the rules of window {window} changed after it had begun", self.seed);
        found
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    fn happens(&mut self, share: f32) -> bool {
        share > 0.0 && self.random.unit_f32() < share
    }

    fn soon(&mut self) -> u64 {
        self.head + self.random.below(self.faults.delay_blocks + 1)
    }

    /// The window in which the head lies.
    pub fn current(&self) -> Window {
        self.phases.window_of(BlockNumber(self.head)).expect("the run starts at block 0")
    }

    pub fn run_to(&mut self, block: u64) {
        while self.head < block {
            self.next_block();
        }
    }

    pub fn next_block(&mut self) {
        self.head += 1;
        self.include_transactions();
        for node in 0..self.nodes.len() {
            if self.nodes[node].machine.is_some() && self.happens(self.faults.crash) {
                let back = self.head + 1 + self.random.below(self.faults.downtime_blocks + 1);
                self.crash(node, back);
            }
            if self.nodes[node].machine.is_none() && self.nodes[node].back_at <= self.head {
                let phases = self.phases.clone();
                self.nodes[node].start(&phases);
            }
            self.poll_gathering(node);
            if !self.happens(self.faults.unseen_block) {
                self.deliver(node, Event::Block(BlockNumber(self.head)), self.head);
            }
        }
        self.settle();
    }

    /// Takes a node down until a block; what is under way for it is lost, except transactions.
    pub fn crash(&mut self, node: usize, back_at: u64) {
        let node = &mut self.nodes[node];
        node.machine = None;
        node.incarnation += 1;
        node.back_at = back_at;
        node.gathering = None;
    }

    /// Carries out what is due in this block, in random order.
    fn settle(&mut self) {
        for turn in 0.. {
            assert!(turn < 20_000, "seed {}: block {} never settles; a node asks in a loop", self.seed, self.head);
            let due: Vec<usize> = (0..self.items.len()).filter(|item| self.items[*item].due <= self.head).collect();
            if due.is_empty() {
                break;
            }
            let chosen = due[self.random.below(due.len() as u64) as usize];
            let item = self.items.swap_remove(chosen);
            let owner = &self.nodes[item.node];
            if owner.incarnation != item.incarnation || owner.machine.is_none() {
                continue;
            }
            match item.task {
                Task::Carry(effect) => self.carry(item.node, effect, item.restores),
                Task::Answer(event) => self.step(item.node, &event, item.restores),
            }
        }
    }

    fn deliver(&mut self, node: usize, event: Event, due: u64) {
        let (incarnation, restores) = (self.nodes[node].incarnation, self.nodes[node].restores);
        self.items.push(Item { due, node, incarnation, restores, task: Task::Answer(event) });
    }

    fn answer(&mut self, node: usize, event: Event) {
        let due = self.soon();
        // What the own disk says of the parameters comes once; what crosses the network may come twice.
        let is_of_disk = matches!(event, Event::Restored { .. } | Event::Failed { effect: FailedEffect::Apply, .. });
        if self.happens(self.faults.duplicate) && !is_of_disk {
            let later = due + self.random.below(40);
            self.deliver(node, event.clone(), later);
        }
        self.deliver(node, event, due);
    }

    fn step(&mut self, index: usize, event: &Event, restores: u64) {
        // A node changes its parameters in the order in which it was told to, so an answer from before their
        // replacement is no answer any more.
        let outdated = self.nodes[index].restores != restores;
        if outdated && matches!(event, Event::Applied { .. } | Event::Restored { .. }) {
            return;
        }
        let Some(machine) = &mut self.nodes[index].machine else { return };
        for effect in machine.step(event) {
            self.check(index, &effect);
            if matches!(effect, Effect::Follow(FollowEffect::Restore { .. })) {
                self.nodes[index].restores += 1;
            }
            let (due, incarnation) = (self.soon(), self.nodes[index].incarnation);
            let restores = self.nodes[index].restores;
            self.items.push(Item { due, node: index, incarnation, restores, task: Task::Carry(effect) });
        }
    }

    fn electors(&self) -> Vec<Elector> {
        self.nodes.iter().filter_map(Node::elector).collect()
    }

    fn include_transactions(&mut self) {
        let block = BlockNumber(self.head);
        let (now, later) = std::mem::take(&mut self.submitted).into_iter().partition(|sent| sent.due <= self.head);
        self.submitted = later;
        for Submitted { node, incarnation, transaction, answer, .. } in now {
            let (uid, hotkey) = (self.nodes[node].uid, self.nodes[node].hotkey);
            // Of everything the first counts.
            let event = match transaction {
                Transaction::Seal(window, commitment) => {
                    let record = SealedRecord { uid, hotkey, block, commitment };
                    let first = self.seals.entry((window, hotkey)).or_insert(record);
                    Event::SealCommitted { window, block: first.block }
                }
                Transaction::Vote(window, vote) => {
                    self.votes.entry((window, hotkey)).or_insert(VoteRecord { hotkey, block, vote });
                    Event::Voted { window }
                }
                Transaction::Report(window, applied) => {
                    self.reports.entry((window, hotkey)).or_insert(AppliedRecord { hotkey, applied });
                    continue;
                }
            };
            if answer && self.nodes[node].incarnation == incarnation {
                self.answer(node, event);
            }
        }
    }

    fn submit(&mut self, node: usize, transaction: Transaction, answer: bool) {
        let due = self.soon().max(self.head + 1);
        let incarnation = self.nodes[node].incarnation;
        self.submitted.push(Submitted { due, node, incarnation, transaction, answer });
    }

    /// Whether the objects of a window are still kept: nodes delete by what they have applied, not by the clock.
    fn is_kept(&self, window: Window) -> bool {
        let furthest = self.nodes.iter().map(|node| node.disk.next).max().unwrap_or_default();
        window >= self.phases.oldest_kept(furthest)
    }

    fn carry(&mut self, node: usize, effect: Effect, restores: u64) {
        if effect.failure().is_some() && self.happens(self.faults.silence) {
            if self.below(2) == 0 {
                self.carry_out(node, effect, restores, false);
            }
            return;
        }
        let failed = effect.failure().filter(|_| self.happens(self.faults.failure));
        let Some((window, kind)) = failed else { return self.carry_out(node, effect, restores, true) };
        // Some of what failed has taken effect all the same: the answer was lost, or the object had arrived.
        let takes_effect = matches!(kind, FailedEffect::Vote | FailedEffect::CommitSeal | FailedEffect::Reveal);
        if takes_effect && self.below(2) == 0 {
            self.carry_out(node, effect, restores, false);
        }
        self.answer(node, Event::Failed { window, effect: kind });
    }

    /// Carries an effect out; the answer comes only where `answered` is set.
    fn carry_out(&mut self, node: usize, effect: Effect, restores: u64, answered: bool) {
        match effect {
            Effect::Follow(effect) => self.carry_out_follow(node, effect, restores, answered),
            Effect::Miner(effect) => self.carry_out_miner(node, effect, answered),
            Effect::Validator(effect) => self.carry_out_validator(node, effect, answered),
        }
    }

    fn answer_if(&mut self, answered: bool, node: usize, event: Event) {
        if answered {
            self.answer(node, event);
        }
    }

    fn carry_out_follow(&mut self, node: usize, effect: FollowEffect, restores: u64, answered: bool) {
        let zero = PublicKey::new([0; 32]);
        let event = match effect {
            FollowEffect::ReadVotes { window } => {
                let votes = self.votes.range((window, zero)..(window.next(), zero));
                let (votes, electors) = (votes.map(|(_, vote)| vote.clone()).collect(), self.electors());
                let limit = self.rules_of(window).0;
                Event::Votes { window, at: BlockNumber(self.head), limit, electors, votes }
            }
            FollowEffect::ReadReports { window } => {
                let reports = self.reports.range((window, zero)..(window.next(), zero));
                let (reports, electors) = (reports.map(|(_, report)| *report).collect(), self.electors());
                Event::Reports { window, electors, reports }
            }
            FollowEffect::BuildAggregate { window, selection } => {
                let selected = selection.uids;
                let there = self.is_kept(window) && selected.iter().all(|uid| self.reveals.contains(&(window, *uid)));
                let hash = ContentHash::of(&(window, selected).encode());
                let failed = Event::Failed { window, effect: FailedEffect::Aggregate };
                if there { Event::AggregateReady { window, hash } } else { failed }
            }
            FollowEffect::FetchAggregate { window, hash, from, .. } => {
                let there = self.is_kept(window) && from.iter().any(|key| self.reports.contains_key(&(window, *key)));
                let failed = Event::Failed { window, effect: FailedEffect::Aggregate };
                if there { Event::AggregateReady { window, hash } } else { failed }
            }
            FollowEffect::Apply { window, aggregate } => match self.apply(node, window, aggregate, restores) {
                Some(event) => event,
                None => return,
            },
            FollowEffect::Restore { .. } => match self.restore(node, restores) {
                Some(event) => event,
                None => return,
            },
            FollowEffect::Diverged { window, .. } => return self.diverged.push((node, window)),
            FollowEffect::AdoptVerdict { .. } => return,
        };
        self.answer_if(answered, node, event);
    }

    fn carry_out_miner(&mut self, node: usize, effect: MinerEffect, answered: bool) {
        let uid = self.nodes[node].uid;
        match effect {
            MinerEffect::Follow(_) | MinerEffect::BeginWindow { .. } => {}
            MinerEffect::Seal { window, start } => {
                let commitment = SealCommitment { digest: ContentHash::of(&(window, uid, start).encode()), bytes: 99 };
                self.nodes[node].pending = Some((window, commitment));
                self.answer_if(answered, node, Event::Sealed { window, commitment });
            }
            MinerEffect::CommitSeal { window, commitment } => {
                self.submit(node, Transaction::Seal(window, commitment), answered);
            }
            MinerEffect::Reveal { window } => {
                self.reveals.insert((window, uid));
                if answered {
                    self.nodes[node].pending = None;
                    self.answer(node, Event::Revealed { window });
                }
            }
            MinerEffect::Unsend { .. } => self.nodes[node].pending = None,
            MinerEffect::Skip { window, reason } => self.skips.push((node, window, reason)),
        }
    }

    fn carry_out_validator(&mut self, node: usize, effect: ValidatorEffect, answered: bool) {
        match effect {
            ValidatorEffect::Follow(_) | ValidatorEffect::SetWeights { .. } => {}
            ValidatorEffect::ReadSealed { window } => {
                let in_time = |record: &&SealedRecord| record.block < self.phases.end(window);
                let all = self.seals.iter().filter(|((sealed, _), _)| *sealed == window);
                let records = all.map(|(_, record)| record).filter(in_time).copied().collect();
                let sealed = SealedCommitments { records, malformed: Vec::new() };
                self.answer_if(answered, node, Event::SealedRead { window, sealed });
            }
            ValidatorEffect::Gather { window, sealed } => {
                if !answered {
                    return;
                }
                let closed = self.nodes[node].close_asked == Some(window);
                self.nodes[node].gathering = Some(node::Gathering { window, records: sealed.records, closed });
                self.poll_gathering(node);
            }
            ValidatorEffect::CloseGather { window } => {
                self.nodes[node].close_asked = Some(window);
                if let Some(gathering) = &mut self.nodes[node].gathering {
                    gathering.closed |= gathering.window == window;
                }
                self.poll_gathering(node);
            }
            ValidatorEffect::Judge { window } => {
                if self.nodes[node].gathered.0 > window {
                    // The machine gave the window up, and has gathered the next one.
                    return self.answer(node, Event::Failed { window, effect: FailedEffect::Judge });
                }
                let liar = self.nodes[node].lies && self.below(2) == 0;
                let vote = self.judge(node, window, liar);
                self.answer_if(answered, node, Event::Judged { window, vote });
            }
            ValidatorEffect::Vote { window, vote } => self.submit(node, Transaction::Vote(window, vote), answered),
            ValidatorEffect::Report { window, mut applied } => {
                if self.nodes[node].lies && self.below(2) == 0 {
                    applied.state = StateHash::new([self.below(256) as u8; 32]);
                }
                if !self.happens(self.faults.failure) {
                    self.submit(node, Transaction::Report(window, applied), false);
                }
            }
            ValidatorEffect::PublishCheckpoint { window } => {
                let (position, hotkey) = (self.nodes[node].disk, self.nodes[node].hotkey);
                if position.next == window {
                    self.checkpoints.entry((window, position.state)).or_default().insert(hotkey);
                }
            }
            ValidatorEffect::Skip { window, reason } => self.skips.push((node, window, reason)),
        }
    }

    fn poll_gathering(&mut self, node: usize) {
        if self.nodes[node].machine.is_none() {
            return;
        }
        let Some(gathering) = &self.nodes[node].gathering else { return };
        let window = gathering.window;
        let here = gathering.records.iter().filter(|record| self.reveals.contains(&(window, record.uid)));
        let here: BTreeSet<Uid> = here.map(|record| record.uid).collect();
        let committed = gathering.records.len();
        if here.len() == committed || gathering.closed {
            let settled = here.len();
            self.nodes[node].gathering = None;
            self.nodes[node].gathered = (window, here);
            self.answer(node, Event::Gathered { window, settled, committed });
        }
    }

    fn judge(&mut self, node: usize, window: Window, lies: bool) -> Vote {
        let (gathered_window, gathered) = self.nodes[node].gathered.clone();
        assert_eq!(gathered_window, window, "seed {}: judges what it has not gathered", self.seed);
        let uids: Vec<Uid> = gathered.into_iter().collect();
        if lies {
            let some: Vec<Uid> = uids.iter().copied().filter(|_| self.below(2) == 0).collect();
            return Vote::new(&uids, &some, StepShare::Whole, ContentHash::new([self.below(256) as u8; 32])).unwrap();
        }
        let position = self.nodes[node].disk;
        let start = if position.next == window { Some(position.state) } else { self.states.get(&window).copied() };
        let verdict = ContentHash::of(&(window, start, &uids).encode());
        let limit = self.rules_of(window).0;
        Vote::new(&uids, &uids[..uids.len().min(limit)], StepShare::Whole, verdict).unwrap()
    }

    fn apply(&mut self, index: usize, window: Window, aggregate: Option<ContentHash>, restores: u64) -> Option<Event> {
        if self.nodes[index].restores != restores {
            return None;
        }
        // The answer to an earlier request was lost.
        let Position { next, state } = self.nodes[index].disk;
        if next == window.next() {
            return Some(Event::Applied { window, state });
        }
        assert_eq!(self.nodes[index].disk.next, window, "seed {}: applies out of turn", self.seed);
        let alpha = self.rules_of(window).1;
        let mut state = after(self.nodes[index].disk.state, aggregate, alpha);
        if self.happens(self.faults.corruption) && self.nodes[index].may_be_corrupted {
            state = StateHash::new([index as u8 ^ 0x80; 32]);
            self.nodes[index].corrupted = true;
        }
        self.nodes[index].disk = Position { next: window.next(), state };
        if !self.nodes[index].corrupted {
            let known = *self.states.entry(window.next()).or_insert(state);
            assert_eq!(known, state, "seed {}: two states at the start of window {}", self.seed, window.next());
        }
        Some(Event::Applied { window, state })
    }

    /// The newest checkpoint that more than half of the stake published; the first parameters where there is none.
    fn restore(&mut self, index: usize, restores: u64) -> Option<Event> {
        if self.nodes[index].restores != restores {
            return None;
        }
        let electors = self.electors();
        let all: u64 = electors.iter().map(|elector| elector.stake).sum();
        let agreed = |by: &BTreeSet<PublicKey>| {
            let stake: u64 = electors.iter().filter(|elector| by.contains(&elector.hotkey)).map(|e| e.stake).sum();
            stake * 2 > all
        };
        let newest = self.checkpoints.iter().rev().find(|(_, by)| agreed(by)).map(|((next, state), _)| (*next, *state));
        let (next, state) = newest.unwrap_or((Window(0), first_state()));
        assert_eq!(self.states[&next], state, "seed {}: most of the stake published a wrong checkpoint", self.seed);
        self.nodes[index].disk = Position { next, state };
        self.nodes[index].corrupted = false;
        Some(Event::Restored { next, state })
    }

    /// The outcome that a reader of the whole ledger computes afterwards.
    pub fn outcome(&mut self, window: Window) -> Outcome {
        let zero = PublicKey::new([0; 32]);
        let limit = self.rules_of(window).0;
        let votes: Vec<VoteRecord> =
            self.votes.range((window, zero)..(window.next(), zero)).map(|(_, v)| v.clone()).collect();
        tally(&self.electors(), &votes, self.phases.judge(window), BlockNumber(u64::MAX), limit)
    }

    /// Whether the miner's payload of this window was committed in time and revealed.
    pub fn has_sent(&self, node: usize, window: Window) -> bool {
        let Node { uid, hotkey, .. } = &self.nodes[node];
        let sealed = self.seals.get(&(window, *hotkey)).is_some_and(|record| record.block < self.phases.end(window));
        sealed && self.reveals.contains(&(window, *uid))
    }
}
