//! A sorted map that knows its own digest and what changed since it was last asked.
//!
//! The digest is a two-level hash tree: an entry hashes to a leaf, leaves fall into 256 groups by the hash of their
//! key, a group's digest covers its leaves in order, the table's digest covers the groups. A change costs one leaf and
//! one group, however large the table; equal contents give equal digests whatever the order they were written in.

use parity_scale_codec::{Decode, DecodeAll, Encode};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;

const GROUPS: usize = 256;

/// One entry as the store keeps it: the encoded key, and the encoded value unless it was removed.
pub(crate) type Change = (Vec<u8>, Option<Vec<u8>>);

/// What changed in each table of a state, by the table's number.
pub(crate) type StateChanges = Vec<(u8, Vec<Change>)>;

/// A sorted map with a digest.
#[derive(Debug, Clone)]
pub(crate) struct Table<K, V> {
    entries: BTreeMap<K, V>,
    changed: BTreeSet<K>,
    leaves: Vec<BTreeMap<[u8; 32], [u8; 32]>>,
    groups: Vec<[u8; 32]>,
    digest: [u8; 32],
}

/// What the state and the store ask of a table, whatever it holds.
pub(crate) trait Stored {
    /// Brings the digest up to date; returns it and the changes since the last call.
    fn settle(&mut self) -> ([u8; 32], Vec<Change>);

    /// Takes in an entry as the store kept it; false where the bytes are no entry of this table.
    fn restore(&mut self, key: &[u8], value: &[u8]) -> bool;

    /// Shows every entry, encoded, in the order of the keys.
    fn visit(&self, entry: &mut dyn FnMut(Vec<u8>, Vec<u8>));
}

/// The tables of a part of the state, each under the number that the store knows it by.
pub(crate) type NumberedTables<'a> = Vec<(u8, &'a mut dyn Stored)>;

impl<K: Ord + Clone + Encode + Decode, V: Encode + Decode + PartialEq> Default for Table<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord + Clone + Encode + Decode, V: Encode + Decode + PartialEq> Table<K, V> {
    pub fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            changed: BTreeSet::new(),
            leaves: vec![BTreeMap::new(); GROUPS],
            groups: vec![[0; 32]; GROUPS],
            digest: digest_of(&[[0; 32]; GROUPS]),
        }
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    pub fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter()
    }

    pub fn range<R: RangeBounds<K>>(&self, range: R) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.entries.range(range)
    }

    /// Writes an entry; writing what is there already is no change.
    pub fn insert(&mut self, key: K, value: V) {
        if self.entries.get(&key) != Some(&value) {
            self.changed.insert(key.clone());
            self.entries.insert(key, value);
        }
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let removed = self.entries.remove(key);
        if removed.is_some() {
            self.changed.insert(key.clone());
        }
        removed
    }

    /// Whether anything was written since the last [`Table::settle`].
    pub fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }
}

impl<K: Ord + Clone + Encode + Decode, V: Encode + Decode + PartialEq> Stored for Table<K, V> {
    fn settle(&mut self) -> ([u8; 32], Vec<Change>) {
        if self.changed.is_empty() {
            return (self.digest, Vec::new());
        }
        let mut touched = BTreeSet::new();
        let mut changes = Vec::with_capacity(self.changed.len());
        for key in std::mem::take(&mut self.changed) {
            let key_bytes = key.encode();
            let key_hash = *blake3::hash(&key_bytes).as_bytes();
            let group = usize::from(key_hash[0]);
            touched.insert(group);
            let value_bytes = self.entries.get(&key).map(Encode::encode);
            match &value_bytes {
                Some(value) => self.leaves[group].insert(key_hash, *blake3::hash(value).as_bytes()),
                None => self.leaves[group].remove(&key_hash),
            };
            changes.push((key_bytes, value_bytes));
        }
        for group in touched {
            let mut hasher = blake3::Hasher::new();
            for (key_hash, value_hash) in &self.leaves[group] {
                hasher.update(key_hash).update(value_hash);
            }
            self.groups[group] = if self.leaves[group].is_empty() { [0; 32] } else { *hasher.finalize().as_bytes() };
        }
        self.digest = digest_of(&self.groups);
        (self.digest, changes)
    }

    fn restore(&mut self, key: &[u8], value: &[u8]) -> bool {
        match (K::decode_all(&mut &key[..]), V::decode_all(&mut &value[..])) {
            (Ok(key), Ok(value)) => {
                self.insert(key, value);
                true
            }
            _ => false,
        }
    }

    fn visit(&self, entry: &mut dyn FnMut(Vec<u8>, Vec<u8>)) {
        for (key, value) in &self.entries {
            entry(key.encode(), value.encode());
        }
    }
}

fn digest_of(groups: &[[u8; 32]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for group in groups {
        hasher.update(group);
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_digest_depends_on_the_contents_alone(writes in proptest::collection::vec((0u8..20, 0u16..4, any::<bool>()), 0..60)) {
            let mut table = Table::<u8, u16>::new();
            for (key, value, settle) in &writes {
                if *value == 0 { table.remove(key); } else { table.insert(*key, *value); }
                if *settle { table.settle(); }
            }
            let mut fresh = Table::<u8, u16>::new();
            for (key, value) in table.iter() {
                fresh.insert(*key, *value);
            }
            prop_assert_eq!(table.settle().0, fresh.settle().0);
        }

        #[test]
        fn changes_rebuild_the_table(writes in proptest::collection::vec((0u8..20, 0u16..4), 0..60)) {
            let mut table = Table::<u8, u16>::new();
            let mut stored = BTreeMap::new();
            for (key, value) in writes {
                if value == 0 { table.remove(&key); } else { table.insert(key, value); }
                for (key, value) in table.settle().1 {
                    match value { Some(value) => stored.insert(key, value), None => stored.remove(&key) };
                }
            }
            let mut restored = Table::<u8, u16>::new();
            for (key, value) in &stored {
                prop_assert!(restored.restore(key, value));
            }
            prop_assert_eq!(table.settle().0, restored.settle().0);
        }
    }
}
