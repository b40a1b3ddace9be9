//! The tree over all commitments: for each hotkey the list of its own, for all hotkeys the list of those.
//!
//! A change costs the list of its hotkey and the list of hotkeys, whose digests are kept; see `templar_chain::RecordProof`
//! for what it proves.

use super::rows::{Commitment, CommitmentKey};
use std::collections::{BTreeMap, BTreeSet};
use templar_base::{PublicKey, StateRoot};
use templar_chain::{KeyLeaf, Leaf, MerkleList, RecordLeaf, RecordProof, RecordsDigest, Topic, prove_in};

/// Digests of all commitments by hotkey.
#[derive(Debug, Clone, Default)]
pub(crate) struct RecordTree {
    keys: BTreeMap<PublicKey, OfKey>,
    changed: BTreeSet<PublicKey>,
}

/// The commitments of a hotkey.
#[derive(Debug, Clone, Default)]
struct OfKey {
    leaves: BTreeMap<(Topic, u64), RecordsDigest>,
    /// Digest of the hotkey's leaf in the outer list.
    hash: RecordsDigest,
}

impl OfKey {
    fn list(&self) -> MerkleList {
        MerkleList::new(self.leaves.values().copied().collect())
    }

    fn leaf(&self, hotkey: PublicKey) -> KeyLeaf {
        KeyLeaf { hotkey, records: self.list().root() }
    }
}

fn leaf((topic, index, _): &CommitmentKey, commitment: &Commitment) -> RecordLeaf {
    RecordLeaf { topic: *topic, index: *index, block: commitment.block, data: commitment.data.clone() }
}

impl RecordTree {
    /// Takes a commitment in, or in place of the one that was there.
    pub fn insert(&mut self, key: &CommitmentKey, commitment: &Commitment) {
        let of_key = self.keys.entry(key.2).or_default();
        of_key.leaves.insert((key.0, key.1), leaf(key, commitment).hash());
        self.changed.insert(key.2);
    }

    pub fn remove(&mut self, key: &CommitmentKey) {
        let Some(of_key) = self.keys.get_mut(&key.2) else { return };
        of_key.leaves.remove(&(key.0, key.1));
        if of_key.leaves.is_empty() {
            self.keys.remove(&key.2);
        }
        self.changed.insert(key.2);
    }

    /// Brings the digests up to date; the new root, or none where nothing changed.
    pub fn settle(&mut self) -> Option<StateRoot> {
        if self.changed.is_empty() {
            return None;
        }
        for hotkey in std::mem::take(&mut self.changed) {
            if let Some(of_key) = self.keys.get_mut(&hotkey) {
                of_key.hash = of_key.leaf(hotkey).hash();
            }
        }
        Some(self.root())
    }

    /// The root as of the last settling.
    pub fn root(&self) -> StateRoot {
        StateRoot::new(self.list().root())
    }

    fn list(&self) -> MerkleList {
        MerkleList::new(self.keys.values().map(|of_key| of_key.hash).collect())
    }

    /// Proves of each hotkey that it has the commitment, or none, as of the last settling; `find` reads commitments.
    pub fn prove<'a>(
        &self,
        (topic, index): (Topic, u64),
        hotkeys: &[PublicKey],
        find: impl Fn(&CommitmentKey) -> Option<&'a Commitment>,
    ) -> Vec<RecordProof> {
        let (list, keys) = (self.list(), self.keys.iter().collect::<Vec<_>>());
        let prove = |hotkey: &PublicKey| {
            let place = keys.binary_search_by_key(&hotkey, |(key, _)| *key);
            let key = prove_in(&list, place, |at| keys.get(at).map(|(hotkey, of_key)| of_key.leaf(**hotkey)));
            let record = self.keys.get(hotkey).map(|of_key| {
                let places: Vec<_> = of_key.leaves.keys().copied().collect();
                prove_in(&of_key.list(), places.binary_search(&(topic, index)), |at| {
                    let (topic, index) = *places.get(at)?;
                    let key = (topic, index, *hotkey);
                    find(&key).map(|commitment| leaf(&key, commitment))
                })
            });
            RecordProof { key, record }
        };
        hotkeys.iter().map(prove).collect()
    }
}
