//! A ledger's whole state in parts, for those who would follow it without replaying its past.
//!
//! A snapshot is every entry of the state's tables after one block, in the order of tables and keys, cut into parts that
//! are named by their hashes. It proves nothing by itself: whoever takes one rebuilds the state and compares its digest
//! with a header that it trusts (`replica.rs`). A ledger makes one when it is asked and the newest is old, and keeps the
//! last two, so that a slow download can end.

use crate::Ledger;
use parity_scale_codec::{DecodeAll, Encode};
use std::collections::VecDeque;
use std::sync::Arc;
use templar_base::{BlockNumber, ContentHash};
use templar_chain::{ChainError, SnapshotOffer};

/// A new snapshot is made when the newest is so many blocks old; so nobody can keep a ledger busy by asking.
pub const SNAPSHOT_BLOCKS: u64 = 128;
/// A part is closed when it has so many bytes; the entry that does it may be longer.
const PART_BYTES: usize = 256 << 10;
/// A part has this many bytes at most.
pub const MAX_PART_BYTES: usize = 1 << 20;
/// A snapshot has this many parts at most: a GiB or more.
pub const MAX_PARTS: usize = 4096;
/// Snapshots that a ledger keeps.
const KEPT: usize = 2;

/// An entry of the state: its table's number, the encoded key, the encoded value.
pub(crate) type Entry = (u8, Vec<u8>, Vec<u8>);

/// A snapshot at hand.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub offer: SnapshotOffer,
    pub parts: Vec<Vec<u8>>,
}

impl Snapshot {
    /// The state of `ledger` now.
    fn of(ledger: &mut Ledger) -> Self {
        let (mut parts, mut entries, mut bytes) = (Vec::new(), Vec::<Entry>::new(), 0);
        ledger.visit_entries(&mut |table, key, value| {
            bytes += 1 + key.len() + value.len();
            entries.push((table, key, value));
            if bytes >= PART_BYTES {
                parts.push(std::mem::take(&mut entries).encode());
                bytes = 0;
            }
        });
        if !entries.is_empty() {
            parts.push(entries.encode());
        }
        let head = ledger.head();
        let hashes = parts.iter().map(|part| ContentHash::of(part)).collect();
        Self { offer: SnapshotOffer { block: head.number, hash: head.hash, parts: hashes }, parts }
    }
}

/// Reads a part's entries from a peer's bytes; none where they are no part.
pub(crate) fn read_part(bytes: &[u8]) -> Option<Vec<Entry>> {
    // SCALE vectors reserve no more than the input holds, so the input's bound is the memory's bound.
    if bytes.len() > MAX_PART_BYTES { None } else { Vec::<Entry>::decode_all(&mut &bytes[..]).ok() }
}

/// The snapshots that a ledger keeps, the newest last.
#[derive(Debug, Default)]
pub(crate) struct Snapshots(VecDeque<Arc<Snapshot>>);

impl Snapshots {
    /// The newest snapshot; a new one where that is old.
    pub fn offer(&mut self, ledger: &mut Ledger) -> SnapshotOffer {
        let head = ledger.head().number;
        let newest = self.0.back().filter(|newest| head < newest.offer.block.plus(SNAPSHOT_BLOCKS));
        if let Some(newest) = newest {
            return newest.offer.clone();
        }
        let made = Snapshot::of(ledger);
        let offer = made.offer.clone();
        self.0.push_back(Arc::new(made));
        while self.0.len() > KEPT {
            self.0.pop_front();
        }
        offer
    }

    /// A part of the snapshot of `block`.
    pub fn part(&self, block: BlockNumber, index: u32) -> Result<Vec<u8>, ChainError> {
        let found = self.0.iter().find(|snapshot| snapshot.offer.block == block);
        let part = found.and_then(|snapshot| snapshot.parts.get(index as usize));
        part.cloned().ok_or(ChainError::NoSnapshot { block })
    }
}
