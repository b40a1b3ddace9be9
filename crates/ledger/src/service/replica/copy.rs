//! A copy in memory or in a folder, and the blocks that it replays.

use super::error::ReplicaError;
use crate::rules::conservation::check_conservation;
use crate::service::authority::{record, replay};
use crate::service::store::{BlockRecord, Opened, Store, StoreError};
use crate::service::view;
use crate::state::{Profile, State};
use std::path::Path;
use templar_base::BlockNumber;
use templar_chain::{Block, Header};

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
    pub(super) fn create(folder: &Path, mut state: State, block: &Block) -> Result<Self, ReplicaError> {
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
            let record = record(block, &applied, &self.state);
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
