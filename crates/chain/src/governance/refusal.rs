//! Why governance refuses a call.

use super::ProposalId;
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Alpha, BlockNumber};

/// Why governance refuses a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, Encode, Decode)]
pub enum GovernanceRefusal {
    /// The proposer holds too little.
    #[error(
        "NotEnoughStakeToPropose: {held} alpha staked throughout the epochs that count, {wanted} alpha wanted; stake more, \
         and hold it"
    )]
    NotEnoughStakeToPropose {
        /// What it held throughout.
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
    /// The proposer has a proposal open.
    #[error("OneProposalAtATime: proposal {id} of this key is open until block {closes_at}; wait until it closes")]
    OneProposalAtATime {
        /// Which.
        id: ProposalId,
        /// When it closes.
        closes_at: BlockNumber,
    },
    /// The stake has voted.
    #[error(
        "StakeLocked: {locked} alpha of this key voted on proposal {id} and stay until block {until}, {left} would be \
         left; take less, or wait"
    )]
    StakeLocked {
        /// On which proposal.
        id: ProposalId,
        /// How much.
        locked: Alpha,
        /// What would be left.
        left: Alpha,
        /// Until when.
        until: BlockNumber,
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
    #[error(
        "NoStakeAtSnapshot: this key held no stake in each of the epochs before block {snapshot_at} that count, so it has no \
         vote on proposal {id}; hold stake until the next proposal"
    )]
    NoStakeAtSnapshot {
        /// Which.
        id: ProposalId,
        /// The block whose stakes vote.
        snapshot_at: BlockNumber,
    },
}
