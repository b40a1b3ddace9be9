//! One node of the world: its machine, its disk, its connection.

use crate::machine::{Machine, Role};
use crate::{Bandwidth, Moment};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use templar_base::{PublicKey, Uid, Window};
use templar_round::{Elector, Phases, Position, SealCommitment, SealedRecord};

/// How a node treats the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    /// By the rules.
    #[default]
    Honest,
    /// It follows, and writes nothing on the ledger.
    Silent,
    /// A validator that votes and reports at random in half of the windows.
    Random,
    /// Its bucket takes what it is given and serves nothing.
    Stalling,
    /// A miner that trains its own way and sends the opposite of what it learnt.
    SignFlip,
    /// A validator that states to hold every payload, whether it does or not.
    Claiming,
}

/// How long a node's work takes, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct WorkTimes {
    /// To compress a payload. Training pauses for it.
    pub seal: u64,
    /// To judge a window, whatever the number of payloads.
    pub judge: u64,
    /// To judge a payload, besides.
    pub judge_payload: u64,
    /// To merge a payload.
    pub merge_payload: u64,
    /// To apply an aggregate. Training pauses for it.
    pub apply: u64,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSpec {
    /// What it does.
    pub role: Role,
    /// How it treats the others.
    pub behaviour: Behaviour,
    /// Its connection.
    pub bandwidth: Bandwidth,
    /// Milliseconds from it to the ledger, to a bucket, and back.
    pub latency: u64,
    /// Share of its requests that are lost and have to be repeated, in millionths.
    pub loss: u32,
    /// How long its work takes.
    pub times: WorkTimes,
    /// The block in which it comes for the first time.
    pub joins: u64,
    /// Nodes that its bucket serves nothing to.
    pub hides_from: Vec<usize>,
}

impl NodeSpec {
    /// An honest node to which nothing is far.
    pub fn near(role: Role) -> Self {
        Self {
            role,
            behaviour: Behaviour::Honest,
            bandwidth: Bandwidth::UNLIMITED,
            latency: 0,
            loss: 0,
            times: WorkTimes::default(),
            joins: 0,
            hides_from: Vec::new(),
        }
    }
}

/// Payloads that are being waited for.
#[derive(Debug, Clone)]
pub(crate) struct Gathering {
    pub window: Window,
    /// What is wanted, by uid.
    pub records: BTreeMap<Uid, SealedRecord>,
    /// Not asked for yet, the next one last.
    pub waiting: Vec<Uid>,
    pub under_way: usize,
    pub fetched: BTreeSet<Uid>,
    /// Fetched, and the key is out.
    pub settled: BTreeSet<Uid>,
    pub closed: bool,
}

/// Candidates that are being waited for.
#[derive(Debug, Clone)]
pub(crate) struct Taking {
    pub window: Window,
    /// How many candidates there are.
    pub all: usize,
    /// Those that are missing, each with the nodes that should have it.
    pub lacking: BTreeMap<Uid, (SealedRecord, Vec<usize>)>,
    /// Downloads that run, and whose bucket they are from.
    pub under_way: BTreeMap<Uid, usize>,
    /// Whose buckets did not serve what.
    pub failed: BTreeSet<(Uid, usize)>,
}

/// What a node has done, in all its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Bytes from buckets.
    pub down: u64,
    /// Bytes into its bucket.
    pub up: u64,
    /// Milliseconds in which it trained.
    pub trained: u64,
    /// Messages on the ledger.
    pub messages: u64,
    /// Their bytes.
    pub message_bytes: u64,
    /// Milliseconds that it judged and merged.
    pub judged: u64,
}

/// A node.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is.
    pub spec: NodeSpec,
    /// Its slot.
    pub uid: Uid,
    /// Its key.
    pub hotkey: PublicKey,
    /// None while it is down.
    pub machine: Option<Machine>,
    /// The block in which it comes back.
    pub back_at: u64,
    /// Counts crashes: answers to a former life do not reach this one.
    pub incarnation: u64,
    /// Counts replacements of the parameters.
    pub restores: u64,
    /// The parameters on disk.
    pub disk: Position,
    /// The sealed payload on disk.
    pub pending: Option<(Window, SealCommitment)>,
    /// Its parameters are wrong and it has not replaced them yet.
    pub corrupted: bool,
    /// Whether [`crate::Faults::corruption`] concerns it.
    pub may_be_corrupted: bool,
    /// When it was in step for the first time after its last start.
    pub in_step_at: Option<Moment>,
    /// What it has done.
    pub tally: Tally,
    pub(crate) gathering: Option<Gathering>,
    pub(crate) close_asked: Option<Window>,
    pub(crate) gathered: (Window, Vec<SealedRecord>),
    pub(crate) taking: Option<Taking>,
    pub(crate) taking_closed: Option<Window>,
    /// The window whose candidates are what was gathered.
    pub(crate) taken: Option<Window>,
    /// Its parameters are being replaced: the machine's are not the disk's.
    pub(crate) is_restoring: bool,
    /// Windows sealed and voted on in this life.
    pub(crate) sealed: BTreeSet<Window>,
    pub(crate) voted: BTreeSet<Window>,
    pub(crate) training_since: Option<Moment>,
    /// Requests that failed: the next one goes to another source.
    pub(crate) attempts: usize,
}

impl Node {
    pub(crate) fn new(index: usize, spec: NodeSpec, disk: Position) -> Self {
        Self {
            uid: Uid(index.min(usize::from(u16::MAX)) as u16),
            hotkey: hotkey_of(index),
            machine: None,
            back_at: spec.joins,
            incarnation: 0,
            restores: 0,
            disk,
            pending: None,
            corrupted: false,
            may_be_corrupted: false,
            in_step_at: None,
            tally: Tally::default(),
            gathering: None,
            close_asked: None,
            gathered: (Window(0), Vec::new()),
            taking: None,
            taking_closed: None,
            taken: None,
            is_restoring: false,
            sealed: BTreeSet::new(),
            voted: BTreeSet::new(),
            training_since: None,
            attempts: 0,
            spec,
        }
    }

    /// Its role.
    pub fn role(&self) -> Role {
        self.spec.role
    }

    pub(crate) fn elector(&self) -> Option<Elector> {
        match self.spec.role {
            Role::Validator { stake } => Some(Elector { uid: self.uid, hotkey: self.hotkey, stake }),
            _ => None,
        }
    }

    /// Starts the machine from what is on disk.
    pub(crate) fn start(&mut self, phases: &Phases, weights_every_windows: u64) {
        self.machine = Some(Machine::start(self.spec.role, phases, self.disk, self.pending, weights_every_windows));
        self.sealed.clear();
        self.voted.clear();
        self.is_restoring = false;
        self.in_step_at = None;
    }

    /// Ends its life; what is under way for it is lost, except what is on its way to the ledger.
    pub(crate) fn stop(&mut self, now: Moment, back_at: u64) {
        self.pause(now);
        self.machine = None;
        self.incarnation += 1;
        self.back_at = back_at;
        self.gathering = None;
        self.close_asked = None;
        (self.taking, self.taking_closed) = (None, None);
    }

    /// Counts the time that it trained up to now.
    pub(crate) fn count_training(&mut self, now: Moment) {
        if let Some(since) = self.training_since.as_mut() {
            self.tally.trained += now.since(*since);
            *since = now.max(*since);
        }
    }

    /// Training stands still while the processor does something else.
    pub(crate) fn interrupt(&mut self, now: Moment, milliseconds: u64) {
        self.count_training(now);
        if let Some(since) = self.training_since.as_mut() {
            *since = now.plus(milliseconds);
        }
    }

    /// Training ends until it is begun again.
    pub(crate) fn pause(&mut self, now: Moment) {
        self.count_training(now);
        self.training_since = None;
    }
}

/// The key of the node at a place.
pub(crate) fn hotkey_of(index: usize) -> PublicKey {
    let mut key = [0x55; 32];
    key[..8].copy_from_slice(&(index as u64 + 1).to_le_bytes());
    PublicKey::new(key)
}
