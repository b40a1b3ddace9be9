//! A world: a ledger, buckets and nodes on a virtual clock, driven by one seed.
//!
//! The machines are those of `templar_round`. The world carries out what they ask for (`effects.rs`) after the time that
//! links and work take, answers late, twice or not at all where the faults say so, and checks the invariants after every
//! event. Equal setups give equal worlds, event by event.

mod candidates;
mod effects;
mod electorate;
mod gather;
mod transfers;

use crate::chain::{Chain, Transaction};
use crate::invariants::{self, Finding, Invariant, Violation};
use crate::links::{Due, Links, TransferId};
use crate::log::Log;
use crate::machine::{Effect, Role};
use crate::model::Model;
use crate::report::{Reports, WindowReport};
use crate::time::Queue;
use crate::{Bandwidth, Behaviour, Faults, Moment, Node, NodeSpec, Partition};
use electorate::Electorate;
use std::collections::{BTreeMap, BTreeSet};
use templar_base::random::Stream;
use templar_base::{
    AgreedFindings, BlockNumber, ContentHash, Genesis, MAX_CANDIDATES, RunSetting, SettingChange, StateHash, Uid,
    Window,
};
use templar_round::{
    Elector, Event, FailedEffect, FollowEffect, MinerEffect, Outcome, Phases, Position, SkipReason, ValidatorEffect,
};
use transfers::Purpose;

/// Answers of one moment after which a block is taken for one that never settles, for each node.
const MOST_EVENTS_PER_NODE: u64 = 20_000;

/// Everything that a world starts from.
pub struct Setup {
    /// Of everything that is drawn.
    pub seed: u64,
    /// The rules: deadlines, limits.
    pub genesis: Genesis,
    /// Milliseconds between blocks.
    pub block_time: u64,
    /// The nodes: validators and miners first, whose place is their uid.
    pub nodes: Vec<NodeSpec>,
    /// What goes wrong.
    pub faults: Faults,
    /// When the network is cut.
    pub partitions: Vec<Partition>,
    /// What is trained.
    pub model: Box<dyn Model>,
    /// The most payloads that validators fetch and judge in a window, drawn by lot; all where it is none.
    pub pool: Option<usize>,
    /// Payloads that a node fetches at a time.
    pub lanes: usize,
}

/// The most payloads that are judged in a window: what is held is stated of as many as a vote has room for.
fn most_judged(genesis: &Genesis, pool: Option<usize>) -> Option<usize> {
    match genesis.budget.hold_blocks {
        Some(_) => Some(pool.unwrap_or(MAX_CANDIDATES).min(MAX_CANDIDATES)),
        None => pool,
    }
}

/// Something that will happen.
enum Happening {
    Block,
    /// A partition begins: what crosses it breaks off.
    Cut,
    Answer {
        to: Address,
        event: Event,
    },
    Begin {
        to: Address,
        effect: Effect,
    },
    Move {
        job: transfers::Job,
        route: transfers::Route,
    },
    Finish {
        job: transfers::Job,
    },
    Due(Due),
    TimedOut(TransferId),
}

/// A node in one of its lives.
#[derive(Debug, Clone, Copy)]
struct Address {
    node: usize,
    incarnation: u64,
    /// Answers about the parameters count only until the parameters are replaced.
    restores: u64,
}

struct Submitted {
    due: u64,
    from: Address,
    transaction: Transaction,
    is_answered: bool,
}

/// A simulated network.
pub struct World {
    /// Of everything that is drawn.
    pub seed: u64,
    /// The newest block.
    pub head: u64,
    /// What goes wrong from now on.
    pub faults: Faults,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The run's deadlines.
    pub phases: Phases,
    /// What nodes decided.
    pub decided: BTreeMap<Window, Option<ContentHash>>,
    /// What the first node took into its ratings.
    agreed: BTreeMap<Window, AgreedFindings>,
    /// The agreed parameters at the start of each window.
    pub states: BTreeMap<Window, StateHash>,
    /// Windows in which a node did not take part.
    pub skips: Vec<(usize, Window, SkipReason)>,
    /// Nodes that found their parameters to differ.
    pub diverged: Vec<(usize, Window)>,
    /// Events so far.
    pub events: u64,
    genesis: Genesis,
    model: Box<dyn Model>,
    block_time: u64,
    now: Moment,
    random: Stream,
    queue: Queue<Happening>,
    submitted: Vec<Submitted>,
    chain: Chain,
    links: Links,
    purposes: BTreeMap<TransferId, Purpose>,
    partitions: Vec<Partition>,
    electors: Electorate,
    lanes: usize,
    gathering: BTreeSet<usize>,
    taking: BTreeSet<usize>,
    /// Candidates in the buckets of validators.
    mirrored: BTreeSet<(Window, Uid, usize)>,
    reports: Reports,
    log: Log,
}

impl World {
    /// A world before block 1, in which its nodes start.
    pub fn new(setup: Setup) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&setup.seed.to_le_bytes());
        let first = Position { next: Window(0), state: setup.model.first_state() };
        let pool = most_judged(&setup.genesis, setup.pool);
        let bandwidth = |spec: &NodeSpec| match spec.behaviour {
            Behaviour::Stalling => Bandwidth { bucket: 0, ..spec.bandwidth },
            _ => spec.bandwidth,
        };
        let links = Links::new(setup.nodes.iter().map(bandwidth).collect());
        let nodes: Vec<Node> =
            setup.nodes.into_iter().enumerate().map(|(index, spec)| Node::new(index, spec, first)).collect();
        let mut queue = Queue::new();
        queue.push(Moment(setup.block_time), Happening::Block);
        setup.partitions.iter().for_each(|partition| queue.push(partition.from, Happening::Cut));
        Self {
            seed: setup.seed,
            head: 0,
            faults: setup.faults,
            electors: Electorate::new(nodes.iter().filter_map(Node::elector).collect(), setup.genesis.electors),
            reports: Reports::new(&nodes),
            nodes,
            phases: Phases::of(&setup.genesis),
            decided: BTreeMap::new(),
            agreed: BTreeMap::new(),
            states: BTreeMap::from([(first.next, first.state)]),
            skips: Vec::new(),
            diverged: Vec::new(),
            events: 0,
            genesis: setup.genesis,
            model: setup.model,
            block_time: setup.block_time.max(1),
            now: Moment(0),
            random: Stream::new(key, "world", 0),
            queue,
            submitted: Vec::new(),
            chain: Chain::of(pool),
            links,
            purposes: BTreeMap::new(),
            partitions: setup.partitions,
            lanes: setup.lanes.max(1),
            gathering: BTreeSet::new(),
            taking: BTreeSet::new(),
            mirrored: BTreeSet::new(),
            log: Log::default(),
        }
    }

    /// The rules of the run.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The virtual time.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// The hash of everything that machines asked for, in order.
    pub fn log_digest(&self) -> ContentHash {
        self.log.digest()
    }

    /// Keeps the log's lines from now on; they are long.
    pub fn keep_log(&mut self) {
        self.log.keep();
    }

    /// The log's lines, where they are kept.
    pub fn log_lines(&self) -> &[String] {
        self.log.lines()
    }

    /// What each window came to.
    pub fn windows(&self) -> &[WindowReport] {
        self.reports.windows()
    }

    /// The token's holders decide on a setting in the block at hand.
    pub fn decide(&mut self, setting: RunSetting) {
        self.chain.changes.push(SettingChange { decided_at: BlockNumber(self.head), setting });
    }

    /// What a node finds when it reads the rules of a window that has begun: the most payloads merged, the bits of alpha.
    pub fn rules_of(&mut self, window: Window) -> Result<(usize, u32), Violation> {
        let is_open = self.phases.start(window).0 > self.head;
        let found = match is_open {
            true => Err(format!("a node asks for the rules of window {window}, which are still open")),
            false => self.chain.rules_of(window, &self.genesis),
        };
        found.map_err(|what| self.violation(Invariant::FixedRules, what))
    }

    /// A number under a bound, from the world's own randomness.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    /// The window in which the head lies.
    pub fn current(&self) -> Window {
        self.phases.window_of(BlockNumber(self.head)).unwrap_or_default()
    }

    /// Whose stake counts in a window.
    pub fn electors(&self, window: Window) -> Vec<Elector> {
        self.electors.of(window)
    }

    /// The outcome that a reader of the whole ledger computes afterwards.
    pub fn outcome(&mut self, window: Window) -> Result<Outcome, Violation> {
        let limit = self.rules_of(window)?.0;
        Ok(self.chain.outcome(window, &self.electors.of(window), &self.phases, limit))
    }

    /// Whether the miner's payload of this window was committed in time and revealed.
    pub fn has_sent(&self, node: usize, window: Window) -> bool {
        let Node { uid, hotkey, .. } = &self.nodes[node];
        let sealed = self.chain.seals.get(&(window, *hotkey));
        sealed.is_some_and(|record| record.block < self.phases.end(window))
            && self.chain.reveals.contains(&(window, *uid))
    }

    /// Nodes that are up, hold the parameters of the current window's start, and hold the right ones.
    pub fn in_step(&self) -> usize {
        let current = self.current();
        let agreed = self.states.get(&current);
        let is_in_step = |node: &&Node| node.disk.next == current && Some(&node.disk.state) == agreed;
        self.nodes.iter().filter(|node| node.machine.is_some()).filter(is_in_step).count()
    }

    /// Checks that what nodes decided is what the whole ledger says, and that null windows moved nothing.
    pub fn check_history(&mut self) -> Result<(), Violation> {
        for (window, decided) in self.decided.clone() {
            let outcome = self.outcome(window)?;
            let finding = invariants::decided_as_the_ledger(window, &outcome, decided);
            Violation::of_history(finding, self.seed, self.head)?;
            if let (Some(before), Some(after)) = (self.states.get(&window), self.states.get(&window.next())) {
                let finding = invariants::null_moves_nothing(window, decided, *before, *after);
                Violation::of_history(finding, self.seed, self.head)?;
            }
        }
        Ok(())
    }

    /// Lets time pass until everything in this block has happened, or an invariant fails.
    pub fn run_to(&mut self, block: u64) -> Result<(), Violation> {
        let end = Moment(block.saturating_add(1).saturating_mul(self.block_time));
        let (mut since, mut at) = (self.events, self.head);
        while let Some((now, happening)) = self.queue.pop_before(end) {
            self.now = now;
            self.events += 1;
            if self.head != at {
                (since, at) = (self.events, self.head);
            }
            if self.events - since > MOST_EVENTS_PER_NODE * self.nodes.len() as u64 {
                return Err(self.violation(Invariant::Settles, "a node asks in a loop".to_owned()));
            }
            self.happen(happening)?;
        }
        Ok(())
    }

    /// Takes a node down until a block; what is under way for it is lost, except messages to the ledger.
    pub fn crash(&mut self, node: usize, back_at: u64) {
        self.nodes[node].stop(self.now, back_at);
        self.gathering.remove(&node);
        self.taking.remove(&node);
        self.break_off(node);
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Block => self.next_block(),
            Happening::Cut => {
                self.break_off_what_is_cut();
                Ok(())
            }
            Happening::Answer { to, event } => self.step(to, &event),
            Happening::Begin { to, effect } => self.begin(to, effect),
            Happening::Move { job, route } => {
                if self.is_alive(job.from) {
                    self.start_transfer(job, route);
                }
                Ok(())
            }
            Happening::Finish { job } => self.finish(job),
            Happening::Due(due) => self.on_due(due),
            Happening::TimedOut(transfer) => {
                self.break_off_transfer(transfer);
                Ok(())
            }
        }
    }

    fn next_block(&mut self) -> Result<(), Violation> {
        self.head += 1;
        self.queue.push(self.now.plus(self.block_time), Happening::Block);
        self.include_transactions();
        self.look_for_candidates();
        self.report_windows()?;
        for node in 0..self.nodes.len() {
            if self.nodes[node].machine.is_some() && self.happens(self.faults.crash) {
                let back = self.back_at();
                self.crash(node, back);
            }
            if self.nodes[node].machine.is_none() && self.nodes[node].back_at <= self.head {
                self.start(node)?;
            }
            let is_up = self.nodes[node].machine.is_some();
            if is_up && !self.happens(self.faults.unseen_block) && self.cut_until(node).is_none() {
                let at = self.now.plus(self.nodes[node].spec.latency);
                let event = Event::Block(BlockNumber(self.head));
                self.queue.push(at, Happening::Answer { to: self.address(node), event });
            }
        }
        Ok(())
    }

    fn start(&mut self, node: usize) -> Result<(), Violation> {
        let every = self.genesis.economics.weights_every_windows;
        self.nodes[node].start(&self.phases, every);
        let Position { next, state } = self.nodes[node].disk;
        if !self.nodes[node].corrupted {
            self.model.start(node, next, state).map_err(|error| self.model_violation(&error))?;
        }
        Ok(())
    }

    fn report_windows(&mut self) -> Result<(), Violation> {
        let block = BlockNumber(self.head);
        let Some(ended) = self.phases.window_of(block).and_then(Window::previous) else { return Ok(()) };
        if self.phases.end(ended) != block {
            return Ok(());
        }
        self.nodes.iter_mut().for_each(|node| node.count_training(self.now));
        let length = self.block_time * self.genesis.clock.blocks_per_window;
        self.reports.window_ended(ended, &self.nodes, length);
        let Some(applied) = ended.previous() else { return Ok(()) };
        let outcome = self.outcome(applied)?;
        let loss = match self.states.get(&ended) {
            Some(state) => self.model.loss(*state).map_err(|error| self.model_violation(&error))?,
            None => None,
        };
        let agreed = self.states.get(&ended);
        let there = self.nodes.iter().filter(|node| node.machine.is_some());
        let in_step = there.clone().filter(|node| node.disk.next == ended && Some(&node.disk.state) == agreed).count();
        let sealed = self.chain.sealed(applied, &self.phases).len();
        let turnout = self.chain.turnout(applied, &self.electors.of(applied), &self.phases);
        let nodes = (in_step, there.count());
        self.reports.applied(applied, &outcome, (sealed, turnout), (loss, self.model.miners(applied)), nodes);
        Ok(())
    }

    fn include_transactions(&mut self) {
        let (now, later) = std::mem::take(&mut self.submitted).into_iter().partition(|sent| sent.due <= self.head);
        self.submitted = later;
        for Submitted { from, transaction, is_answered, .. } in now {
            let node = &mut self.nodes[from.node];
            node.tally.messages += 1;
            node.tally.message_bytes += transaction.bytes();
            let (uid, hotkey, incarnation) = (node.uid, node.hotkey, node.incarnation);
            let event = self.chain.include(BlockNumber(self.head), uid, hotkey, transaction);
            if let Some(event) = event.filter(|_| is_answered && incarnation == from.incarnation) {
                self.answer(from.node, event);
            }
        }
    }

    fn submit(&mut self, node: usize, transaction: Transaction, is_answered: bool) {
        if self.nodes[node].spec.behaviour == Behaviour::Silent {
            return;
        }
        let at = match self.cut_until(node) {
            Some(until) => until.max(self.soon()),
            None => self.soon(),
        };
        let due = (at.0 / self.block_time + 1).max(self.head + 1);
        let from = self.address(node);
        self.submitted.push(Submitted { due, from, transaction, is_answered });
    }

    fn address(&self, node: usize) -> Address {
        let Node { incarnation, restores, .. } = self.nodes[node];
        Address { node, incarnation, restores }
    }

    fn is_alive(&self, address: Address) -> bool {
        let node = &self.nodes[address.node];
        node.incarnation == address.incarnation && node.machine.is_some()
    }

    fn happens(&mut self, share: f32) -> bool {
        share > 0.0 && self.random.unit_f32() < share
    }

    /// A moment within the faults' delay.
    fn soon(&mut self) -> Moment {
        let most = (f64::from(self.faults.delay_blocks) * self.block_time as f64) as u64;
        if most == 0 { self.now } else { self.now.plus(self.random.below(most + 1)) }
    }

    fn back_at(&mut self) -> u64 {
        self.head + 1 + self.random.below(self.faults.downtime_blocks + 1)
    }

    /// Milliseconds of a request and its answer, lost ones repeated after a second.
    fn lag(&mut self, node: usize) -> u64 {
        let NodeSpec { latency, loss, .. } = self.nodes[node].spec;
        let mut lag = 2 * latency;
        for _ in 0..10 {
            if loss == 0 || self.random.below(1_000_000) >= u64::from(loss) {
                break;
            }
            lag += 1_000;
        }
        lag
    }

    fn cut_until(&self, node: usize) -> Option<Moment> {
        self.partitions.iter().filter_map(|partition| partition.cuts(self.now, node)).max()
    }

    fn answer(&mut self, node: usize, event: Event) {
        let due = self.soon();
        let to = self.address(node);
        // What the own disk says of the parameters comes once; what crosses the network may come twice.
        let is_of_disk = matches!(event, Event::Restored { .. } | Event::Failed { effect: FailedEffect::Apply, .. });
        if !is_of_disk && self.happens(self.faults.duplicate) {
            let later = due.plus(self.random.below(40 * self.block_time));
            self.queue.push(later, Happening::Answer { to, event: event.clone() });
        }
        self.queue.push(due, Happening::Answer { to, event });
    }

    fn step(&mut self, to: Address, event: &Event) -> Result<(), Violation> {
        if !self.is_alive(to) {
            return Ok(());
        }
        let index = to.node;
        // A node changes its parameters in the order in which it was told to, so an answer from before their
        // replacement is no answer any more.
        let is_outdated = self.nodes[index].restores != to.restores;
        if is_outdated && matches!(event, Event::Applied { .. } | Event::Restored { .. }) {
            return Ok(());
        }
        if matches!(event, Event::Restored { .. }) {
            self.nodes[index].is_restoring = false;
        }
        let Some(machine) = &mut self.nodes[index].machine else { return Ok(()) };
        for effect in machine.step(event) {
            self.check_effect(index, &effect)?;
            self.log.add(self.now, index, &effect);
            if matches!(effect, Effect::Follow(FollowEffect::Restore { .. })) {
                self.nodes[index].restores += 1;
                self.nodes[index].is_restoring = true;
                self.nodes[index].pause(self.now);
            }
            let lag = if effect.is_remote() { self.lag(index) } else { 0 };
            let due = self.soon().plus(lag);
            self.queue.push(due, Happening::Begin { to: self.address(index), effect });
        }
        self.check_node(index)
    }

    fn violation(&self, invariant: Invariant, what: String) -> Violation {
        Violation { invariant, seed: self.seed, block: self.head, what }
    }

    fn model_violation(&self, error: &crate::ModelError) -> Violation {
        self.violation(Invariant::ModelWorks, error.to_string())
    }

    fn require(&self, invariant: Invariant, finding: Finding) -> Result<(), Violation> {
        finding.map_err(|what| self.violation(invariant, what))
    }

    /// What must hold of a node after each of its steps.
    fn check_node(&self, index: usize) -> Result<(), Violation> {
        let node = &self.nodes[index];
        let Some(machine) = &node.machine else { return Ok(()) };
        if node.is_restoring {
            return Ok(());
        }
        self.require(Invariant::KillSafe, invariants::kill_safe(index, machine.follower().position(), node.disk))
    }

    /// What must hold of an effect when a machine asks for it.
    fn check_effect(&mut self, index: usize, effect: &Effect) -> Result<(), Violation> {
        let seen = self.nodes[index].machine.as_ref().map(|machine| machine.follower().head()).unwrap_or_default();
        let node = &mut self.nodes[index];
        match effect {
            Effect::Miner(MinerEffect::Seal { window, start }) => {
                let is_first = node.sealed.insert(*window);
                let own = self.phases.window_of(seen);
                let finding = invariants::seals_its_window_once(index, *window, is_first, own);
                self.require(Invariant::HonestSeal, finding)?;
                if !self.nodes[index].corrupted {
                    let agreed = self.states.get(window).copied();
                    let finding = invariants::seals_from_the_agreed_state(index, *window, agreed, *start);
                    self.require(Invariant::HonestSeal, finding)?;
                }
            }
            Effect::Miner(MinerEffect::Reveal { window }) => {
                let (head, end) = (BlockNumber(self.head), self.phases.end(*window));
                self.require(Invariant::SealedFirst, invariants::sealed_first(index, *window, head, end))?;
            }
            Effect::Validator(ValidatorEffect::Vote { window, .. }) => {
                let is_first = node.voted.insert(*window);
                let deadline = self.phases.open(*window);
                let finding = invariants::votes_once_in_time(index, *window, is_first, seen, deadline);
                self.require(Invariant::HonestVote, finding)?;
            }
            Effect::Follow(FollowEffect::Apply { window, aggregate }) => {
                let known = *self.decided.entry(*window).or_insert(*aggregate);
                let finding = invariants::one_decision(index, *window, known, *aggregate);
                self.require(Invariant::OneOutcome, finding)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the objects of a window are still kept: nodes delete by what they have applied, not by the clock.
    fn is_kept(&self, window: Window) -> bool {
        let furthest = self.nodes.iter().map(|node| node.disk.next).max().unwrap_or_default();
        window >= self.phases.oldest_kept(furthest)
    }

    /// The node of a uid of miners and validators.
    fn is_stalling(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|node| node.spec.behaviour == Behaviour::Stalling)
    }

    fn count_work(&mut self, node: usize, milliseconds: u64) {
        if matches!(self.nodes[node].spec.role, Role::Validator { .. }) {
            self.nodes[node].tally.judged += milliseconds;
        }
    }
}
