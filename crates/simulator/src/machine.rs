//! The machines of `templar_round`, whatever the role. This is the one file that makes votes and reads outcomes.

use std::collections::BTreeSet;
use templar_base::{PublicKey, Uid, Window};
use templar_round::{
    AggregateSource, Elector, Event, FailedEffect, FollowEffect, Follower, Miner, MinerEffect, Outcome, Phases,
    Position, SealCommitment, Validator, ValidatorEffect,
};

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Judges and votes.
    Validator {
        /// The weight of its vote.
        stake: u64,
    },
    /// Trains and sends.
    Miner,
    /// Follows the run and writes nothing.
    Follower,
}

impl Role {
    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Validator { .. } => "validator",
            Self::Miner => "miner",
            Self::Follower => "follower",
        }
    }
}

/// A node's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Machine {
    /// That of a validator.
    Validator(Validator),
    /// That of a miner.
    Miner(Miner),
    /// That of a node which only follows.
    Follower(Follower),
}

/// What a node of any role wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// What every role does.
    Follow(FollowEffect),
    /// What a miner does besides.
    Miner(MinerEffect),
    /// What a validator does besides.
    Validator(ValidatorEffect),
}

impl Effect {
    /// What the machine hears where this fails.
    pub(crate) fn failure(&self) -> Option<(Window, FailedEffect)> {
        match self {
            Self::Follow(effect) => effect.failure(),
            Self::Miner(effect) => effect.failure(),
            Self::Validator(effect) => effect.failure(),
        }
    }

    /// Whether carrying it out leaves a trace on a disk, in a bucket or on the ledger.
    pub(crate) fn writes(&self) -> bool {
        match self {
            Self::Follow(effect) => matches!(effect, FollowEffect::Apply { .. } | FollowEffect::Restore { .. }),
            Self::Miner(effect) => matches!(
                effect,
                MinerEffect::Seal { .. }
                    | MinerEffect::CommitSeal { .. }
                    | MinerEffect::Reveal { .. }
                    | MinerEffect::Unsend { .. }
            ),
            Self::Validator(effect) => matches!(
                effect,
                ValidatorEffect::WriteHeld { .. }
                    | ValidatorEffect::TakeCandidates { .. }
                    | ValidatorEffect::SealVote { .. }
                    | ValidatorEffect::Vote { .. }
                    | ValidatorEffect::Report { .. }
                    | ValidatorEffect::PublishCheckpoint { .. }
            ),
        }
    }

    /// Whether it crosses the network; what does not needs no time to arrive.
    pub(crate) fn is_remote(&self) -> bool {
        match self {
            Self::Follow(effect) => !matches!(
                effect,
                FollowEffect::Apply { .. } | FollowEffect::Settle { .. } | FollowEffect::Diverged { .. }
            ),
            Self::Miner(effect) => !matches!(
                effect,
                MinerEffect::BeginWindow { .. } | MinerEffect::Unsend { .. } | MinerEffect::Skip { .. }
            ),
            Self::Validator(effect) => !matches!(
                effect,
                ValidatorEffect::Judge { .. }
                    | ValidatorEffect::CloseGather { .. }
                    | ValidatorEffect::CloseTaking { .. }
                    | ValidatorEffect::Skip { .. }
            ),
        }
    }

    /// Whether it needs the ledger.
    pub(crate) fn needs_ledger(&self) -> bool {
        match self {
            Self::Follow(effect) => {
                matches!(effect, FollowEffect::ReadVotes { .. } | FollowEffect::ReadReports { .. })
            }
            Self::Miner(effect) => matches!(effect, MinerEffect::CommitSeal { .. }),
            Self::Validator(effect) => {
                matches!(
                    effect,
                    ValidatorEffect::ReadSealed { .. }
                        | ValidatorEffect::WriteHeld { .. }
                        | ValidatorEffect::ReadHeld { .. }
                        | ValidatorEffect::SealVote { .. }
                        | ValidatorEffect::ReadVoteSeals { .. }
                        | ValidatorEffect::Vote { .. }
                )
            }
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
    /// A machine that starts from what is on disk.
    pub(crate) fn start(
        role: Role,
        phases: &Phases,
        disk: Position,
        pending: Option<(Window, SealCommitment)>,
        weights_every_windows: u64,
    ) -> Self {
        let follower = |source| Follower::new(phases.clone(), source, disk);
        match role {
            Role::Validator { .. } => {
                Self::Validator(Validator::new(follower(AggregateSource::Payloads), weights_every_windows))
            }
            Role::Miner => Self::Miner(Miner::new(follower(AggregateSource::Download), pending)),
            Role::Follower => Self::Follower(follower(AggregateSource::Download)),
        }
    }

    pub(crate) fn step(&mut self, event: &Event) -> Vec<Effect> {
        match self {
            Self::Validator(machine) => machine.step(event).into_iter().map(Effect::from).collect(),
            Self::Miner(machine) => machine.step(event).into_iter().map(Effect::from).collect(),
            Self::Follower(machine) => machine.step(event).into_iter().map(Effect::Follow).collect(),
        }
    }

    /// The part that follows the run.
    pub fn follower(&self) -> &Follower {
        match self {
            Self::Validator(machine) => machine.follower(),
            Self::Miner(machine) => machine.follower(),
            Self::Follower(machine) => machine,
        }
    }
}

/// Whose payloads an outcome merges; none of a window that is null or open.
pub fn selected(outcome: &Outcome) -> Option<&[Uid]> {
    match outcome {
        Outcome::Selected(selection) => Some(&selection.uids),
        Outcome::Open | Outcome::Null => None,
    }
}

/// The stake of electors that voted in time, and of all.
pub(crate) fn turnout(electors: &[Elector], voters: &BTreeSet<PublicKey>) -> (u64, u64) {
    let voting = electors.iter().filter(|elector| voters.contains(&elector.hotkey));
    (voting.map(|elector| elector.stake).sum(), electors.iter().map(|elector| elector.stake).sum())
}
