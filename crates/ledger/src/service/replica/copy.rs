//! A copy in memory or in a folder, and the blocks that it replays.

use super::error::ReplicaError;
use crate::rules::conservation::check_conservation;
use crate::service::authority::{ReplayError, record, replay_after};
use crate::service::store::{BlockRecord, Opened, Store, StoreError, genesis_header};
use crate::service::view;
use crate::state::{Profile, State};
use std::path::Path;
use templar_chain::{Block, Header, SignedBlock, SignedHeader};

/// A copy of a ledger, in a folder or in memory.
#[derive(Debug)]
pub struct Replica {
    state: State,
    head: SignedHeader,
    store: Option<Store>,
}

impl Replica {
    /// A copy in memory at block 0 of the ledger whose first block this is.
    pub fn at_genesis(profile: Profile, first: &Block) -> Result<Self, ReplicaError> {
        let state = State::genesis(profile).map_err(StoreError::from)?;
        if first.header != genesis_header(&state) {
            return Err(ReplicaError::WrongGenesis);
        }
        let head = SignedHeader { header: first.header.clone(), certificate: None };
        Ok(Self { state, head, store: None })
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
    pub(super) fn create(folder: &Path, mut state: State, first: &SignedBlock) -> Result<Self, ReplicaError> {
        let mut changes = Vec::new();
        state.visit_entries(&mut |table, key, value| changes.push((table, vec![(key, Some(value))])));
        let record = BlockRecord {
            block: &first.block,
            certificate: first.certificate.as_ref(),
            events: &[],
            receipts: &[],
            changes: &changes,
            metagraph: Some(view::neurons(&state)),
            weights: Some(view::weight_rows(&state)),
            epoch: None,
        };
        let store = Store::create_replica(folder, state.profile(), record)?;
        Ok(Self { state, head: head_of(first), store: Some(store) })
    }

    /// The state after the newest replayed block.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The newest replayed block.
    pub fn head(&self) -> &Header {
        &self.head.header
    }

    /// Checks that the authority signed the next block, and replays it; what breaks the rules is refused, and the copy
    /// stands where it stood. One in a folder is on disk when this returns.
    pub fn follow(&mut self, signed: &SignedBlock) -> Result<(), ReplicaError> {
        let key = self.state.chain_key().ok_or(ReplayError::NoKey)?;
        let number = signed.block.header.number;
        signed.verify(key).map_err(|error| ReplayError::NotSigned(number, error))?;
        let replayed = replay_after(&mut self.state, &self.head, &signed.block).map_err(ReplicaError::from);
        let checked = replayed.and_then(|applied| {
            check_conservation(&self.state)?;
            Ok(applied)
        });
        let Some(store) = &self.store else {
            checked?;
            self.head = head_of(signed);
            return Ok(());
        };
        let written = checked.and_then(|applied| {
            let record = record(signed, &applied, &self.state);
            Ok(store.commit(record)?)
        });
        if let Err(error) = written {
            (self.state, self.head) = store.load_state(self.state.profile().clone())?;
            return Err(error);
        }
        self.head = head_of(signed);
        Ok(())
    }
}

fn head_of(signed: &SignedBlock) -> SignedHeader {
    SignedHeader { header: signed.block.header.clone(), certificate: signed.certificate.clone() }
}
