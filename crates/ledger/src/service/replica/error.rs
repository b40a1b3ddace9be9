//! Why a ledger is not followed.

use crate::rules::conservation::ConservationError;
use crate::service::authority::ReplayError;
use crate::service::store::StoreError;
use std::path::PathBuf;
use templar_base::{BlockHash, BlockNumber};
use templar_chain::ChainError;

/// Why a ledger is not followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The first block is not that of the profile; the authority is at fault.
    #[error("the ledger's first block is not that of its profile; do not trust it")]
    WrongGenesis,
    /// A block breaks the rules; the authority is at fault.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// Money was made or lost; the authority is at fault.
    #[error(transparent)]
    Conservation(#[from] ConservationError),
    /// The ledger keeps another chain than the one that is meant.
    #[error("the ledger's profile is that of chain {found}, not of {wanted}; name the ledger of that chain")]
    WrongChain {
        /// The chain that is meant.
        wanted: BlockHash,
        /// The chain of the profile.
        found: BlockHash,
    },
    /// The ledger's answers contradict each other; the ledger is at fault.
    #[error("the ledger's snapshot contradicts itself: {0}; do not trust this ledger, or fetch again")]
    Contradiction(String),
    /// The state is not the one that the trusted header names; the ledger is at fault.
    #[error("the snapshot is false: it is not the state that the header of block {0} names; do not trust this ledger")]
    FalseState(BlockNumber),
    /// The ledger could not be asked.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The copy's folder failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk failed or is full.
    #[error("{0}: {1}; check the disk's space and rights")]
    Disk(PathBuf, #[source] std::io::Error),
}

impl ReplicaError {
    /// Whether the snapshot is at fault, or what it is held to; not the way to it or the disk.
    pub(super) fn is_of_snapshot(&self) -> bool {
        matches!(
            self,
            Self::Contradiction(_)
                | Self::FalseState(_)
                | Self::Conservation(_)
                | Self::Replay(_)
                | Self::Chain(ChainError::Forged { .. })
        )
    }
}
