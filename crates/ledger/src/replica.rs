//! A follower's copy of a ledger: it stands where the blocks end that it replayed itself.
//!
//! A copy begins at the first block, or at a snapshot. Headers are not signed, each names the one before by its hash;
//! so a snapshot is believed where its block is one that the follower trusts, or an ancestor of one: the digest of the
//! whole state is in the block's header, the header under the block's hash.

mod download;

pub use download::{SnapshotSource, fetch_snapshot};

use crate::conservation::ConservationError;
use crate::store::{BlockRecord, Opened, Store, StoreError};
use crate::{Profile, ReplayError, State, check_conservation, replay, view};
use std::path::{Path, PathBuf};
use templar_base::{BlockHash, BlockNumber};
use templar_chain::Block;
use templar_chain::{ChainError, Header};

/// Why a ledger is not followed.
#[derive(Debug, thiserror::Error)]
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
    /// No hash was given to hold the snapshot to.
    #[error(
        "the ledger offers its state after block {block}, whose hash is {hash}; nothing says yet that this is true"
    )]
    Untrusted {
        /// The snapshot's block.
        block: BlockNumber,
        /// That block's hash, as the ledger says.
        hash: BlockHash,
    },
    /// The trusted block does not come of the snapshot's.
    #[error(
        "no block from {from} to {to} has the trusted hash {trusted}: it is older than the snapshot, or the ledger's \
         blocks are false"
    )]
    NotTrusted {
        /// The snapshot's block.
        from: BlockNumber,
        /// The last block that was looked at.
        to: BlockNumber,
        /// What was looked for.
        trusted: BlockHash,
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
    Disk(PathBuf, String),
}

impl ReplicaError {
    /// Whether the snapshot is at fault, or what it is held to; not the way to it or the disk.
    fn is_of_snapshot(&self) -> bool {
        matches!(
            self,
            Self::Untrusted { .. }
                | Self::NotTrusted { .. }
                | Self::Contradiction(_)
                | Self::FalseState(_)
                | Self::Conservation(_)
        )
    }
}

/// A copy of a ledger, in a folder or in memory.
#[derive(Debug)]
pub struct Replica {
    state: State,
    head: Header,
    store: Option<Store>,
}

impl Replica {
    /// A copy in memory at block 0 of the ledger whose first block this is.
    pub fn at_genesis(profile: Profile, first: &Block) -> Result<Self, ReplicaError> {
        let state = State::genesis(profile).map_err(StoreError::from)?;
        let is_genesis = first.header.number == BlockNumber(0) && first.header.parent == state.genesis_hash();
        if !is_genesis || state.root() != first.header.state_root {
            return Err(ReplicaError::WrongGenesis);
        }
        Ok(Self { state, head: first.header.clone(), store: None })
    }

    /// The copy in `folder`, where it stood when it last ended; none where there is none.
    pub fn open(folder: &Path) -> Result<Option<Self>, ReplicaError> {
        match Store::open_replica(folder) {
            Ok(Opened { store, state, head, .. }) => Ok(Some(Self { state, head, store: Some(store) })),
            Err(StoreError::Missing(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A new copy in `folder` that begins with `state` after `block`.
    fn create(folder: &Path, mut state: State, block: &Block) -> Result<Self, ReplicaError> {
        let mut changes = Vec::new();
        state.visit_entries(&mut |table, key, value| changes.push((table, vec![(key, Some(value))])));
        let record = BlockRecord {
            block,
            events: &[],
            receipts: &[],
            changes: &changes,
            metagraph: Some(view::neurons(&state)),
            weights: Some(view::weight_rows(&state)),
            epoch: None,
        };
        let store = Store::create_replica(folder, state.profile(), record)?;
        Ok(Self { state, head: block.header.clone(), store: Some(store) })
    }

    /// The state after the newest replayed block.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The newest replayed block.
    pub fn head(&self) -> &Header {
        &self.head
    }

    /// Replays the next block; what breaks the rules is refused, and the copy stands where it stood. One in a folder is
    /// on disk when this returns.
    pub fn follow(&mut self, block: &Block) -> Result<(), ReplicaError> {
        let replayed = replay(&mut self.state, &self.head, block).map_err(ReplicaError::from);
        let checked = replayed.and_then(|applied| {
            check_conservation(&self.state)?;
            Ok(applied)
        });
        let Some(store) = &self.store else {
            checked?;
            self.head = block.header.clone();
            return Ok(());
        };
        let written = checked.and_then(|applied| {
            let record = crate::ledger::record(block, &applied, &self.state);
            Ok(store.commit(record)?)
        });
        if let Err(error) = written {
            (self.state, self.head) = store.load_state(self.state.profile().clone())?;
            return Err(error);
        }
        self.head = block.header.clone();
        Ok(())
    }
}
