//! Governance as its users see it: proposals, votes, and why a call is refused.

mod call;
mod refusal;
mod words;

pub use call::{GovernanceCall, GovernanceEvent};
pub use refusal::GovernanceRefusal;
pub use words::ActionError;

use crate::ChainError;
use crate::access::Service;
use async_trait::async_trait;
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::fmt;
use templar_base::{Alpha, BlockNumber, Netuid, PublicKey, RunSetting};

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
        u128::from(self.yes.as_rao()) + u128::from(self.no.as_rao()) + u128::from(self.abstain.as_rao())
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

/// A chain whose token holders decide by vote.
#[async_trait]
pub trait Governance: Send + Sync {
    /// The newest proposals, newest first; at most `limit` and [`MAX_ENTRIES`](crate::MAX_ENTRIES).
    async fn proposals(&self, netuid: Netuid, limit: u32) -> Result<Vec<Proposal>, ChainError>;

    /// A proposal with its votes by key, those after `after`; at most [`MAX_ENTRIES`](crate::MAX_ENTRIES) of them.
    async fn proposal(
        &self,
        netuid: Netuid,
        id: ProposalId,
        after: Option<PublicKey>,
    ) -> Result<Option<ProposalView>, ChainError>;

    /// A proposal with all its votes, which come by pages.
    async fn whole_proposal(&self, netuid: Netuid, id: ProposalId) -> Result<Option<ProposalView>, ChainError> {
        let Some(mut view) = self.proposal(netuid, id, None).await? else { return Ok(None) };
        let mut is_full = view.votes.len() >= crate::MAX_ENTRIES as usize;
        while let Some((last, ..)) = view.votes.last().filter(|_| is_full) {
            let Some(page) = self.proposal(netuid, id, Some(*last)).await? else { break };
            is_full = page.votes.len() >= crate::MAX_ENTRIES as usize;
            view.votes.extend(page.votes);
        }
        Ok(Some(view))
    }
}
