//! One node of the world: its machine, and what it has on disk.

use super::first_state;
use std::collections::BTreeSet;
use templar_base::{PublicKey, Uid, Window};
use templar_round::{
    AggregateSource, Elector, Event, FailedEffect, FollowEffect, Follower, Miner, MinerEffect, Phases, Position,
    SealCommitment, SealedRecord, Validator, ValidatorEffect,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Validator { stake: u64 },
    Miner,
    Follower,
}

pub enum Machine {
    Validator(Validator),
    Miner(Miner),
    Follower(Follower),
}

/// What a node of any role wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Follow(FollowEffect),
    Miner(MinerEffect),
    Validator(ValidatorEffect),
}

impl Effect {
    pub fn failure(&self) -> Option<(Window, FailedEffect)> {
        match self {
            Self::Follow(effect) => effect.failure(),
            Self::Miner(effect) => effect.failure(),
            Self::Validator(effect) => effect.failure(),
        }
    }
}

impl From<MinerEffect> for Effect {
    fn from(effect: MinerEffect) -> Self {
        match effect {
            MinerEffect::Follow(effect) => Self::Follow(effect),
            effect => Self::Miner(effect),
        }
    }
}

impl From<ValidatorEffect> for Effect {
    fn from(effect: ValidatorEffect) -> Self {
        match effect {
            ValidatorEffect::Follow(effect) => Self::Follow(effect),
            effect => Self::Validator(effect),
        }
    }
}

impl Machine {
    pub fn step(&mut self, event: &Event) -> Vec<Effect> {
        match self {
            Self::Validator(machine) => machine.step(event).into_iter().map(Effect::from).collect(),
            Self::Miner(machine) => machine.step(event).into_iter().map(Effect::from).collect(),
            Self::Follower(machine) => machine.step(event).into_iter().map(Effect::Follow).collect(),
        }
    }

    pub fn follower(&self) -> &Follower {
        match self {
            Self::Validator(machine) => machine.follower(),
            Self::Miner(machine) => machine.follower(),
            Self::Follower(machine) => machine,
        }
    }
}

/// Payloads that are being waited for.
pub struct Gathering {
    pub window: Window,
    pub records: Vec<SealedRecord>,
    pub closed: bool,
}

pub struct Node {
    pub uid: Uid,
    pub hotkey: PublicKey,
    pub role: Role,
    /// None while it is down.
    pub machine: Option<Machine>,
    pub back_at: u64,
    /// Counts crashes: answers to a former life do not reach this one.
    pub incarnation: u64,
    /// Counts replacements of the parameters.
    pub restores: u64,
    /// The parameters on disk.
    pub disk: Position,
    /// The sealed payload on disk.
    pub pending: Option<(Window, SealCommitment)>,
    pub gathering: Option<Gathering>,
    pub close_asked: Option<Window>,
    pub gathered: (Window, BTreeSet<Uid>),
    /// Its parameters are wrong and it has not replaced them yet.
    pub corrupted: bool,
    pub may_be_corrupted: bool,
    /// A validator that votes and reports at random.
    pub lies: bool,
    /// Windows sealed and voted on in this life.
    pub sealed: BTreeSet<Window>,
    pub voted: BTreeSet<Window>,
}

impl Node {
    pub fn new(index: usize, role: Role, phases: &Phases) -> Self {
        let mut node = Self {
            uid: Uid(index as u16),
            hotkey: PublicKey::new([index as u8 + 1; 32]),
            role,
            machine: None,
            back_at: 0,
            incarnation: 0,
            restores: 0,
            disk: Position { next: Window(0), state: first_state() },
            pending: None,
            gathering: None,
            close_asked: None,
            gathered: (Window(0), BTreeSet::new()),
            corrupted: false,
            may_be_corrupted: false,
            lies: false,
            sealed: BTreeSet::new(),
            voted: BTreeSet::new(),
        };
        node.start(phases);
        node
    }

    pub fn elector(&self) -> Option<Elector> {
        match self.role {
            Role::Validator { stake } => Some(Elector { uid: self.uid, hotkey: self.hotkey, stake }),
            _ => None,
        }
    }

    /// Starts the machine from what is on disk.
    pub fn start(&mut self, phases: &Phases) {
        let follower = |source| Follower::new(phases.clone(), source, self.disk);
        self.machine = Some(match self.role {
            Role::Validator { .. } => Machine::Validator(Validator::new(follower(AggregateSource::Payloads), 2)),
            Role::Miner => Machine::Miner(Miner::new(follower(AggregateSource::Download), self.pending)),
            Role::Follower => Machine::Follower(follower(AggregateSource::Download)),
        });
        self.sealed.clear();
        self.voted.clear();
    }
}
