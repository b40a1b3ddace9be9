//! Governance: holders of the subnet's token decide on run settings, the price and revenue of access, and the treasury.
//!
//! A proposal is voted on by the stake that each coldkey held when it was made (the snapshot), so that no token votes
//! twice. Votes can be changed until the proposal closes; then it is decided once and never changes. What was adopted is
//! carried out in the deciding block; a run setting holds from the first window that starts after it.
//!
//! ```text
//!  propose            vote, change the vote             block `closes_at`
//!    │  snapshot of stakes │                                  │ quorum? majority?
//!    ▼                     ▼                                  ▼
//!   Open ──────────────── Open ──────────────────▶ Adopted · Rejected · Failed (the treasury is short)
//! ```
//!
//! Quorum, majority, cost and bounds stand in the ledger's profile, whose hash every run's genesis names.

mod call;
mod rule;
mod voting;

pub use call::{GovernanceCall, GovernanceEvent};
pub(crate) use call::{apply, begin_block};
pub use rule::{Bounds, GovernanceRule};
pub(crate) use voting::GovernanceState;

use crate::access::Service;
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::fmt;
use templar_base::{Alpha, BlockNumber, PublicKey, RunSetting};

/// The most bytes of a proposal's title.
pub const MAX_TITLE_BYTES: usize = 128;

/// Names a proposal: counted from 0, in the order in which they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, Encode, Decode)]
#[serde(transparent)]
pub struct ProposalId(pub u32);

impl fmt::Display for ProposalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::str::FromStr for ProposalId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// What a proposal would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Changes a rule of the run.
    Setting(RunSetting),
    /// Changes what becomes of the revenue from access; the rest goes to miners and validators.
    Revenue {
        /// Part that is burned, in thousandths.
        burned_per_mille: u16,
        /// Part that goes to the treasury, in thousandths.
        treasury_per_mille: u16,
    },
    /// Changes the price of access.
    Price {
        /// Of what.
        service: Service,
        /// For a thousand units.
        per_thousand: Alpha,
    },
    /// Pays from the treasury, as stake of `to` behind `hotkey`.
    Spend {
        /// Coldkey that receives.
        to: PublicKey,
        /// Registered hotkey behind which it is staked.
        hotkey: PublicKey,
        /// How much.
        amount: Alpha,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(setting) => write!(f, "{setting}"),
            Self::Revenue { burned_per_mille, treasury_per_mille } => {
                let rest = 1000u16.saturating_sub(burned_per_mille.saturating_add(*treasury_per_mille));
                write!(f, "revenue: burned {burned_per_mille}, treasury {treasury_per_mille}, nodes {rest} of 1000")
            }
            Self::Price { service, per_thousand } => {
                write!(f, "price of {service} = {per_thousand} alpha per thousand")
            }
            Self::Spend { to, amount, .. } => write!(f, "pay {amount} alpha of the treasury to {to}"),
        }
    }
}

/// A vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum Ballot {
    /// For it.
    Yes,
    /// Against it.
    No,
    /// Counts for the quorum alone.
    Abstain,
}

/// Where a proposal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Votes are taken.
    Open,
    /// Decided for, and carried out.
    Adopted,
    /// Too little of the stake voted.
    NoQuorum,
    /// Too little of the voting stake was for it.
    NoMajority,
    /// Decided for, but it cannot be carried out: the treasury is short, or the hotkey is gone.
    Failed,
}

/// A proposal and its tally, in alpha of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Proposal {
    /// Its name.
    pub id: ProposalId,
    /// Whose it is.
    pub proposer: PublicKey,
    /// For people; foreign text.
    pub title: String,
    /// What it would do.
    pub action: Action,
    /// The block whose stakes vote.
    pub snapshot_at: BlockNumber,
    /// The block that decides; votes in earlier blocks count.
    pub closes_at: BlockNumber,
    /// Where it stands.
    pub status: Status,
    /// All stake of the snapshot.
    pub electorate: Alpha,
    /// Stake for it.
    pub yes: Alpha,
    /// Stake against it.
    pub no: Alpha,
    /// Stake that counts for the quorum alone.
    pub abstain: Alpha,
}

impl Proposal {
    /// Stake that voted.
    pub fn voted(&self) -> u128 {
        u128::from(self.yes.0) + u128::from(self.no.0) + u128::from(self.abstain.0)
    }

    /// How it would be decided as the votes stand.
    pub fn outcome(&self, rule: &GovernanceRule) -> Status {
        if self.electorate == Alpha::ZERO
            || self.voted() * 1000 < u128::from(self.electorate.0) * u128::from(rule.quorum_per_mille)
        {
            return Status::NoQuorum;
        }
        let decisive = u128::from(self.yes.0) + u128::from(self.no.0);
        if u128::from(self.yes.0) * 1000 > decisive * u128::from(rule.majority_per_mille) {
            Status::Adopted
        } else {
            Status::NoMajority
        }
    }
}

/// A proposal as it stands, with a page of its votes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalView {
    /// The proposal.
    pub proposal: Proposal,
    /// How it would be decided as the votes stand, or was.
    pub outcome: Status,
    /// Votes with their weights, by key.
    pub votes: Vec<(PublicKey, Ballot, Alpha)>,
}

/// Why governance refuses a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, Encode, Decode)]
pub enum GovernanceRefusal {
    /// The proposer holds too little.
    #[error("NotEnoughStakeToPropose: {held} alpha staked, {wanted} alpha wanted; stake more")]
    NotEnoughStakeToPropose {
        /// What it holds.
        held: Alpha,
        /// What it takes.
        wanted: Alpha,
    },
    /// Too many proposals are open.
    #[error("TooManyProposals: {limit} proposals are open; wait until one closes")]
    TooManyProposals {
        /// How many may be open.
        limit: u16,
    },
    /// The title is too long.
    #[error("TitleTooLong: {actual} bytes, at most {limit}; shorten the title")]
    TitleTooLong {
        /// Bytes given.
        actual: u32,
        /// Bytes allowed.
        limit: u32,
    },
    /// A value that the ledger's genesis does not allow.
    #[error("ProposalOutOfBounds: {what} is {value}, the genesis allows {least} to {most}; propose another value")]
    OutOfBounds {
        /// Of what.
        what: String,
        /// The value.
        value: u64,
        /// The least allowed.
        least: u64,
        /// The most allowed.
        most: u64,
    },
    /// No such proposal.
    #[error("NoSuchProposal: there is no proposal {id}; list them with `templar governance list`")]
    NoSuchProposal {
        /// Asked for.
        id: ProposalId,
    },
    /// The proposal was decided.
    #[error("ProposalClosed: proposal {id} was decided at block {at} and never changes; propose anew")]
    ProposalClosed {
        /// Which.
        id: ProposalId,
        /// When.
        at: BlockNumber,
    },
    /// The voter held nothing.
    #[error("NoStakeAtSnapshot: this key held no stake at block {snapshot_at}, so it has no vote on proposal {id}")]
    NoStakeAtSnapshot {
        /// Which.
        id: ProposalId,
        /// The block whose stakes vote.
        snapshot_at: BlockNumber,
    },
}
