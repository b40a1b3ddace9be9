//! The tree over all commitment records, and proofs that a hotkey has a record or none.
//!
//! Two sorted lists, one in the other: for each hotkey that has records a leaf with the root of its own list, where
//! records lie by topic and index. Either list is a Merkle tree whose root covers the number of leaves, so that two
//! neighbours, or an end, show that nothing lies between or beyond. A header's `records_root` is the root of the outer.

use crate::{CommitmentRecord, SignedHeader, Topic};
use parity_scale_codec::{Decode, Encode};
use templar_base::{BlockNumber, PublicKey, StateRoot};

/// Hotkeys that one answer proves at most.
pub const MAX_PROVED_KEYS: usize = 256;

const NODE: &[u8; 32] = b"templar ledger records tree node";
const ROOT: &[u8; 32] = b"templar ledger records tree root";
const RECORD: &[u8; 32] = b"templar ledger records tree leaf";
const KEY: &[u8; 32] = b"templar ledger records by hotkey";

/// A digest in the tree.
pub type RecordsDigest = [u8; 32];

fn keyed(key: &[u8; 32], bytes: &[u8]) -> RecordsDigest {
    *blake3::keyed_hash(key, bytes).as_bytes()
}

fn pair(left: &RecordsDigest, right: &RecordsDigest) -> RecordsDigest {
    keyed(NODE, &[*left, *right].concat())
}

/// The root of a list: its topmost node (zeros where it is empty) with the number of its leaves.
fn root_of(top: &RecordsDigest, leaves: u64) -> RecordsDigest {
    keyed(ROOT, &[top.as_slice(), &leaves.to_le_bytes()].concat())
}

/// Something that lies in a sorted list.
pub trait Leaf {
    /// What the list is sorted by.
    type Key: Ord;
    /// Where it lies.
    fn key(&self) -> Self::Key;
    /// Its digest.
    fn hash(&self) -> RecordsDigest;
}

/// A hotkey that has records.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyLeaf {
    /// The hotkey.
    pub hotkey: PublicKey,
    /// Root of the list of its records.
    pub records: RecordsDigest,
}

impl Leaf for KeyLeaf {
    type Key = PublicKey;

    fn key(&self) -> PublicKey {
        self.hotkey
    }

    fn hash(&self) -> RecordsDigest {
        keyed(KEY, &self.encode())
    }
}

/// A record of a hotkey.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RecordLeaf {
    /// What it is about.
    pub topic: Topic,
    /// Which one.
    pub index: u64,
    /// The block that included it.
    pub block: BlockNumber,
    /// What it says.
    pub data: Vec<u8>,
}

impl Leaf for RecordLeaf {
    type Key = (Topic, u64);

    fn key(&self) -> (Topic, u64) {
        (self.topic, self.index)
    }

    fn hash(&self) -> RecordsDigest {
        keyed(RECORD, &self.encode())
    }
}

/// A list as a tree: its leaves' digests, then level by level those of pairs; the last of an odd number moves up alone.
#[derive(Debug, Clone)]
pub struct MerkleList {
    levels: Vec<Vec<RecordsDigest>>,
}

impl MerkleList {
    /// The tree over leaves in their order.
    pub fn new(leaves: Vec<RecordsDigest>) -> Self {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let of = |nodes: &[RecordsDigest]| match nodes {
                [left, right] => pair(left, right),
                nodes => nodes[0],
            };
            let above = below.chunks(2).map(of).collect();
            levels.push(above);
        }
        Self { levels }
    }

    /// How many leaves there are.
    pub fn leaves(&self) -> usize {
        self.levels[0].len()
    }

    /// The list's root.
    pub fn root(&self) -> RecordsDigest {
        let top = self.levels.last().and_then(|level| level.first());
        root_of(top.unwrap_or(&[0; 32]), self.leaves() as u64)
    }

    /// The siblings on the way from a leaf to the top.
    fn path(&self, index: usize) -> Vec<RecordsDigest> {
        let siblings = self.levels.iter().enumerate().map(|(level, nodes)| nodes.get((index >> level) ^ 1).copied());
        siblings.flatten().collect()
    }
}

/// A leaf with its place in its list.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Placed<L> {
    leaf: L,
    index: u64,
    path: Vec<RecordsDigest>,
}

impl<L: Leaf> Placed<L> {
    /// The root of the list of `leaves` leaves that this lies in; none where the path does not fit the place.
    fn root(&self, leaves: u64) -> Option<RecordsDigest> {
        if self.index >= leaves {
            return None;
        }
        let (mut index, mut width, mut node) = (self.index, leaves, self.leaf.hash());
        let mut path = self.path.iter();
        while width > 1 {
            let is_alone = index == width - 1 && width % 2 == 1;
            if !is_alone {
                let sibling = path.next()?;
                node = if index % 2 == 0 { pair(&node, sibling) } else { pair(sibling, &node) };
            }
            (index, width) = (index / 2, width.div_ceil(2));
        }
        path.next().is_none().then(|| root_of(&node, leaves))
    }
}

/// That something lies in a sorted list, or that it does not: the leaf itself, or those between which it would lie.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ListProof<L> {
    leaves: u64,
    placed: Vec<Placed<L>>,
}

impl<L: Leaf> ListProof<L> {
    /// The leaf with this key in the list with this root, or none where the proof shows that there is none.
    fn find(&self, root: &RecordsDigest, key: &L::Key) -> Result<Option<&L>, ProofError> {
        let is_of_list = |placed: &Placed<L>| placed.root(self.leaves).as_ref() == Some(root);
        if !self.placed.iter().all(is_of_list) {
            return Err(ProofError);
        }
        let is_absent = match &self.placed[..] {
            [] => self.leaves == 0 && root_of(&[0; 32], 0) == *root,
            [one] if one.leaf.key() == *key => return Ok(Some(&one.leaf)),
            [one] if *key < one.leaf.key() => one.index == 0,
            [one] => one.index == self.leaves - 1,
            [left, right] => {
                let is_between = left.leaf.key() < *key && *key < right.leaf.key();
                is_between && left.index.checked_add(1) == Some(right.index)
            }
            _ => false,
        };
        if is_absent { Ok(None) } else { Err(ProofError) }
    }
}

/// Proves what lies, or does not lie, at a place of a list: `place` is what a binary search for the key found, `leaf`
/// gives the leaf at an index.
pub fn prove_in<L: Leaf>(
    list: &MerkleList,
    place: Result<usize, usize>,
    leaf: impl Fn(usize) -> Option<L>,
) -> ListProof<L> {
    let indices = match place {
        Ok(found) => found..found + 1,
        Err(gap) => gap.saturating_sub(1)..(gap + 1).min(list.leaves()),
    };
    let placed = |index: usize| Some(Placed { leaf: leaf(index)?, index: index as u64, path: list.path(index) });
    ListProof { leaves: list.leaves() as u64, placed: indices.filter_map(placed).collect() }
}

/// A proof that does not lead to the root that it should; who gave it is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proof of a record does not lead to the root that the signed header names")]
pub struct ProofError;

/// That a hotkey has a record of a topic and index, or none.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RecordProof {
    /// The hotkey among all that have records.
    pub key: ListProof<KeyLeaf>,
    /// The record among the hotkey's; none where the hotkey has no records at all.
    pub record: Option<ListProof<RecordLeaf>>,
}

impl RecordProof {
    /// The record, or none where the proof shows that there is none.
    pub fn find(
        &self,
        root: &StateRoot,
        hotkey: PublicKey,
        (topic, index): (Topic, u64),
    ) -> Result<Option<CommitmentRecord>, ProofError> {
        match (self.key.find(root.as_bytes(), &hotkey)?, &self.record) {
            (None, None) => Ok(None),
            (Some(key), Some(record)) => {
                let found = record.find(&key.records, &(topic, index))?;
                Ok(found.map(|found| CommitmentRecord { hotkey, block: found.block, data: found.data.clone() }))
            }
            _ => Err(ProofError),
        }
    }
}

/// What some hotkeys have under a topic and index, with the signed header whose root proves it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ProvedRecords {
    /// The header of the block after which it is so.
    pub header: SignedHeader,
    /// A proof for each hotkey that was asked for, in that order.
    pub proofs: Vec<RecordProof>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(index: u64) -> RecordLeaf {
        RecordLeaf { topic: Topic::Vote, index, block: BlockNumber(index), data: vec![index as u8; 3] }
    }

    fn list(indices: &[u64]) -> (MerkleList, Vec<RecordLeaf>) {
        let records: Vec<_> = indices.iter().map(|index| record(*index)).collect();
        (MerkleList::new(records.iter().map(Leaf::hash).collect()), records)
    }

    fn prove(indices: &[u64], wanted: u64) -> (RecordsDigest, ListProof<RecordLeaf>) {
        let (list, records) = list(indices);
        let place = indices.binary_search(&wanted);
        (list.root(), prove_in(&list, place, |index| records.get(index).cloned()))
    }

    #[test]
    fn lists_of_all_lengths_prove_what_is_there_and_what_is_not() {
        for length in 0..20 {
            let indices: Vec<u64> = (0..length).map(|place| place * 2 + 1).collect();
            for wanted in 0..2 * length + 2 {
                let (root, proof) = prove(&indices, wanted);
                let found = proof.find(&root, &(Topic::Vote, wanted)).unwrap();
                assert_eq!(found.map(|found| found.index), indices.contains(&wanted).then_some(wanted));
                // The same proof shows nothing about another root, and nothing about a record that it leaves out.
                assert!(proof.find(&[7; 32], &(Topic::Vote, wanted)).is_err());
                for other in indices.iter().filter(|other| **other != wanted) {
                    let shown = proof.find(&root, &(Topic::Vote, *other));
                    assert!(!matches!(shown, Ok(None)), "{length}: {other} is said to be absent");
                }
            }
        }
    }

    #[test]
    fn neighbours_that_are_none_prove_nothing() {
        let (root, first) = prove(&[1, 3, 5], 1);
        let (_, last) = prove(&[1, 3, 5], 5);
        let mut gap = first.clone();
        gap.placed.extend(last.placed.clone());
        assert_eq!(gap.find(&root, &(Topic::Vote, 3)), Err(ProofError), "a record between them is left out");
        let mut shorter = first;
        shorter.leaves = 1;
        assert_eq!(shorter.find(&root, &(Topic::Vote, 2)), Err(ProofError), "the number of leaves is in the root");
    }

    proptest! {
        #[test]
        fn a_changed_bit_proves_nothing_else(length in 1u64..9, wanted in 0u64..20, bit in any::<prop::sample::Index>()) {
            let indices: Vec<u64> = (0..length).map(|place| place * 2 + 1).collect();
            let (root, proof) = prove(&indices, wanted);
            let truth = proof.find(&root, &(Topic::Vote, wanted)).unwrap().cloned();
            let mut bytes = proof.encode();
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(forged) = ListProof::<RecordLeaf>::decode(&mut &bytes[..])
                && let Ok(shown) = forged.find(&root, &(Topic::Vote, wanted))
            {
                prop_assert_eq!(shown.cloned(), truth);
            }
        }
    }
}
