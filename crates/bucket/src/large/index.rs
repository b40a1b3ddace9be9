//! The index of a large object: its size, and for each part the value of its subtree of the object's BLAKE3.
//!
//! ```text
//! 1 byte   version, 1
//! 1 byte   binary logarithm of the size of a part, 16 to 26
//! 8 bytes  size of the object, little-endian
//! 32 bytes for each part: its chaining value
//! ```

use std::ops::Range;

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 10;
/// Parts of 64 KiB to 64 MiB.
const PART_LOGARITHMS: std::ops::RangeInclusive<u32> = 16..=26;
/// Largest index that is read: half a million parts, which is 4 TiB in the usual size.
pub(super) const MAX_INDEX_BYTES: u64 = 16 << 20;

/// The index of a large object: its size, and for each of its parts, at least two, the value of its subtree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartIndex {
    size: u64,
    part_logarithm: u32,
    values: Vec<ChainingValue>,
}

/// Whether objects can be cut into parts of this size.
pub(super) fn is_part_size(bytes: u64) -> bool {
    bytes.is_power_of_two() && PART_LOGARITHMS.contains(&bytes.ilog2())
}

impl PartIndex {
    /// An index without values for an object of `size` bytes, more than one part of `part_bytes`.
    pub(super) fn new(size: u64, part_bytes: u64) -> Self {
        Self { size, part_logarithm: part_bytes.ilog2(), values: Vec::new() }
    }

    /// Adds the value of the next part.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.values.push(self.value_of(self.values.len(), bytes));
    }

    /// Size of the object in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many parts there are.
    pub fn parts(&self) -> usize {
        self.size.div_ceil(1 << self.part_logarithm) as usize
    }

    /// Where a part begins and ends, in bytes.
    pub fn range(&self, part: usize) -> Range<u64> {
        let start = (part as u64) << self.part_logarithm;
        start..self.size.min(start + (1 << self.part_logarithm))
    }

    fn value_of(&self, part: usize, bytes: &[u8]) -> ChainingValue {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset((part as u64) << self.part_logarithm);
        hasher.update(bytes).finalize_non_root()
    }

    /// Whether these are the bytes of this part.
    pub fn holds(&self, part: usize, bytes: &[u8]) -> bool {
        let range = self.range(part);
        bytes.len() as u64 == range.end - range.start && self.values.get(part) == Some(&self.value_of(part, bytes))
    }

    /// BLAKE3 of the whole object.
    pub(super) fn root(&self) -> [u8; 32] {
        let (left, right) = halves(&self.values);
        *merge_subtrees_root(&merge(left), &merge(right), Mode::Hash).as_bytes()
    }

    /// The bytes of the index.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, self.part_logarithm as u8];
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend(self.values.iter().flatten());
        bytes
    }

    /// The index of the object with this hash; none if these bytes are not it, or the object is over `max_bytes`.
    pub fn parse(bytes: &[u8], hash: &[u8; 32], max_bytes: u64) -> Option<Self> {
        let (head, values) = bytes.split_at_checked(HEAD_BYTES)?;
        let (part_logarithm, size) = (u32::from(head[1]), u64::from_le_bytes(head[2..].try_into().ok()?));
        let is_sound = head[0] == VERSION && PART_LOGARITHMS.contains(&part_logarithm) && size <= max_bytes;
        if !is_sound || size <= 1 << part_logarithm || !values.len().is_multiple_of(size_of::<ChainingValue>()) {
            return None;
        }
        let values = values.chunks_exact(size_of::<ChainingValue>()).filter_map(|value| value.try_into().ok());
        let index = Self { size, part_logarithm, values: values.collect() };
        (index.values.len() == index.parts() && index.root() == *hash).then_some(index)
    }
}

/// The left subtree holds the largest power of two of parts that leaves something for the right one.
fn halves(values: &[ChainingValue]) -> (&[ChainingValue], &[ChainingValue]) {
    values.split_at(values.len().div_ceil(2).next_power_of_two())
}

fn merge(values: &[ChainingValue]) -> ChainingValue {
    match values {
        [value] => *value,
        values => {
            let (left, right) = halves(values);
            merge_subtrees_non_root(&merge(left), &merge(right), Mode::Hash)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PART: usize = 1 << 16;

    fn index_of(bytes: &[u8]) -> PartIndex {
        let mut index = PartIndex::new(bytes.len() as u64, PART as u64);
        bytes.chunks(PART).for_each(|part| index.push(part));
        index
    }

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|place| (place * 31 + (place >> 8)) as u8).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_values_of_the_parts_come_to_the_hash_of_the_whole(parts in 1usize..20, more in 1usize..=PART) {
            let whole = content(parts * PART + more);
            let index = index_of(&whole);
            let hash = *blake3::hash(&whole).as_bytes();
            prop_assert_eq!(index.root(), hash);
            let read = PartIndex::parse(&index.to_bytes(), &hash, whole.len() as u64);
            prop_assert_eq!(read.as_ref(), Some(&index));
            for (number, part) in whole.chunks(PART).enumerate() {
                prop_assert!(index.holds(number, part));
                prop_assert!(!index.holds(number, &part[1..]));
            }
            prop_assert!(PartIndex::parse(&index.to_bytes(), &hash, whole.len() as u64 - 1).is_none());
        }

        #[test]
        fn a_changed_index_is_refused_and_garbage_does_no_harm(
            place in 0usize..200, change in 1u8.., garbage in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let whole = content(3 * PART + 5);
            let hash = *blake3::hash(&whole).as_bytes();
            let mut bytes = index_of(&whole).to_bytes();
            let place = place % bytes.len();
            bytes[place] ^= change;
            if let Some(read) = PartIndex::parse(&bytes, &hash, u64::MAX) {
                // Only the length of the last part is not under the hash; the part itself then does not hold.
                prop_assert!((2..10).contains(&place) && read.parts() == 4);
                prop_assert!(!read.holds(3, &whole[3 * PART..]));
            }
            prop_assert!(PartIndex::parse(&garbage, &hash, u64::MAX).is_none());
        }
    }
}
