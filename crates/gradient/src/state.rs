//! The state root: a digest of the shared parameters that can be compared, located and repaired by segments.
//!
//! ```text
//! segment hash   BLAKE3 of at most 1,048,576 values as little-endian f32
//! state root     BLAKE3 of: number of parameters u64, number of momentum values u64,
//!                the segment hashes of the parameters, then those of the momentum
//! ```
//! Segments and root are hashed under contexts of their own, so that none can be taken for another. Segments are those of
//! the flat buffers and do not depend on a layout. No number of threads changes a bit.

use crate::bytes::copy_little_endian;
use rayon::prelude::*;
use std::ops::Range;
use templar_base::{ContentHash, StateHash};

/// Values of a segment of the state; the last one of a buffer may be shorter.
pub const STATE_SEGMENT_VALUES: usize = 1 << 20;

const SEGMENT_CONTEXT: &str = "templar shared state segment v2";
const ROOT_CONTEXT: &str = "templar shared state root v2";

/// Values that are turned into bytes at once: little enough to stay in a core's cache.
const BLOCK_VALUES: usize = 1 << 14;

/// What outer steps move, the same on every node: the shared parameters, and a momentum where the rule has one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OuterState {
    /// The parameters.
    pub params: Vec<f32>,
    /// The momentum, one value for each parameter; empty, which stands for zeros, until the first step that has one.
    pub momentum: Vec<f32>,
}

impl OuterState {
    /// Parameters that no step has moved yet.
    pub fn new(params: Vec<f32>) -> Self {
        Self { params, momentum: Vec::new() }
    }

    /// A window in which nothing is merged: the parameters stay, and the momentum restarts from zero. Where its step does
    /// not do what it promises, that is what helps (O'Donoghue and Candès 2015); kept, it would make the next windows
    /// null as well.
    pub fn rest(&mut self) {
        self.momentum.clear();
    }

    /// The state root.
    pub fn hash(&self) -> StateHash {
        self.tree().root()
    }

    /// The hashes of all segments.
    pub fn tree(&self) -> StateTree {
        StateTree::of(&self.params, &self.momentum)
    }
}

/// The state root of parameters without a momentum.
pub fn state_hash(params: &[f32]) -> StateHash {
    StateTree::of(params, &[]).root()
}

/// The hash of one segment's values.
pub fn state_segment_hash(values: &[f32]) -> ContentHash {
    let mut hasher = blake3::Hasher::new_derive_key(SEGMENT_CONTEXT);
    let mut bytes = vec![0u8; 4 * values.len().min(BLOCK_VALUES)];
    for block in values.chunks(BLOCK_VALUES) {
        let bytes = &mut bytes[..4 * block.len()];
        copy_little_endian(block, bytes);
        hasher.update(bytes);
    }
    ContentHash::new(*hasher.finalize().as_bytes())
}

/// Hashes a state that comes piece by piece, of any lengths: all parameters, then all of the momentum.
#[derive(Debug, Clone)]
pub struct StateHasher {
    parameters: usize,
    momentum: usize,
    hashes: Vec<ContentHash>,
    /// Of the segment at hand.
    segment: blake3::Hasher,
    /// Values that it still lacks.
    lacking: usize,
    /// Values that came so far.
    taken: usize,
}

impl StateHasher {
    /// A hasher of this many parameters, and of this many values of the momentum (0 where there is none).
    pub fn new(parameters: usize, momentum: usize) -> Self {
        let hashes = Vec::with_capacity(segments_of(parameters) + segments_of(momentum));
        let segment = blake3::Hasher::new_derive_key(SEGMENT_CONTEXT);
        let mut hasher = Self { parameters, momentum, hashes, segment, lacking: 0, taken: 0 };
        hasher.lacking = hasher.next_segment();
        hasher
    }

    /// Values of the segment that starts at the present place.
    fn next_segment(&self) -> usize {
        let left = match self.parameters.checked_sub(self.taken) {
            Some(left) if left > 0 => left,
            _ => (self.parameters + self.momentum).saturating_sub(self.taken),
        };
        left.min(STATE_SEGMENT_VALUES)
    }

    /// Adds the next values; those past the state's end are ignored.
    pub fn add(&mut self, mut values: &[f32]) {
        let mut bytes = [0u8; 1 << 14];
        while !values.is_empty() && self.lacking > 0 {
            let block;
            (block, values) = values.split_at(values.len().min(self.lacking).min(bytes.len() / 4));
            let bytes = &mut bytes[..4 * block.len()];
            copy_little_endian(block, bytes);
            self.segment.update(bytes);
            (self.lacking, self.taken) = (self.lacking - block.len(), self.taken + block.len());
            if self.lacking == 0 {
                self.hashes.push(ContentHash::new(*self.segment.finalize().as_bytes()));
                self.segment.reset();
                self.lacking = self.next_segment();
            }
        }
    }

    /// The hashes of all segments; None where values are missing.
    pub fn finish(self) -> Option<StateTree> {
        StateTree::from_hashes(self.parameters, self.momentum, self.hashes)
    }
}

/// A buffer of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatePart {
    /// The shared parameters.
    Parameters,
    /// The momentum of the outer step.
    Momentum,
}

/// One segment of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSegment {
    /// The buffer.
    pub part: StatePart,
    /// Its values in the buffer.
    pub range: Range<usize>,
}

/// The segment hashes of a state: what its root is made of. 32 bytes for each 4 MiB of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateTree {
    parameters: usize,
    momentum: usize,
    /// Of the parameters' segments, then of the momentum's.
    hashes: Vec<ContentHash>,
}

impl StateTree {
    /// Hashes all segments of parameters and momentum.
    pub fn of(params: &[f32], momentum: &[f32]) -> Self {
        let segments: Vec<&[f32]> =
            params.chunks(STATE_SEGMENT_VALUES).chain(momentum.chunks(STATE_SEGMENT_VALUES)).collect();
        let hashes = segments.into_par_iter().map(state_segment_hash).collect();
        Self { parameters: params.len(), momentum: momentum.len(), hashes }
    }

    /// The tree of these segment hashes, of the parameters and then of the momentum (`momentum` is its number of values,
    /// 0 where there is none); None where their number does not fit.
    pub fn from_hashes(parameters: usize, momentum: usize, hashes: Vec<ContentHash>) -> Option<Self> {
        (hashes.len() == segments_of(parameters) + segments_of(momentum)).then_some(Self {
            parameters,
            momentum,
            hashes,
        })
    }

    /// The state root.
    pub fn root(&self) -> StateHash {
        let mut hasher = blake3::Hasher::new_derive_key(ROOT_CONTEXT);
        hasher.update(&(self.parameters as u64).to_le_bytes());
        hasher.update(&(self.momentum as u64).to_le_bytes());
        self.hashes.iter().for_each(|hash| _ = hasher.update(hash.as_bytes()));
        StateHash::new(*hasher.finalize().as_bytes())
    }

    /// The segment hashes, of the parameters and then of the momentum.
    pub fn hashes(&self) -> &[ContentHash] {
        &self.hashes
    }

    /// Number of segments of parameters and momentum.
    pub fn segment_count(&self) -> usize {
        self.hashes.len()
    }

    /// The segment with this number, in the order of [`Self::hashes`].
    pub fn segment(&self, number: usize) -> Option<StateSegment> {
        let of_parameters = segments_of(self.parameters);
        let (part, place, len) = match number.checked_sub(of_parameters) {
            None => (StatePart::Parameters, number, self.parameters),
            Some(place) => (StatePart::Momentum, place, self.momentum),
        };
        let start = place.checked_mul(STATE_SEGMENT_VALUES).filter(|start| *start < len)?;
        Some(StateSegment { part, range: start..(start + STATE_SEGMENT_VALUES).min(len) })
    }

    /// Whether these are the values of the segment with this number.
    pub fn is_segment(&self, number: usize, values: &[f32]) -> bool {
        self.segment(number).is_some_and(|segment| segment.range.len() == values.len())
            && self.hashes[number] == state_segment_hash(values)
    }

    /// Hashes again the segments with these numbers, after only they have changed. A number without a segment is
    /// ignored. Where the state has gained or lost values, all are hashed.
    pub fn update(&mut self, state: &OuterState, changed: &[usize]) {
        if (state.params.len(), state.momentum.len()) != (self.parameters, self.momentum) {
            *self = state.tree();
            return;
        }
        let hash_of = |number: &usize| {
            let StateSegment { part, range } = self.segment(*number)?;
            let values = match part {
                StatePart::Parameters => &state.params[range],
                StatePart::Momentum => &state.momentum[range],
            };
            Some((*number, state_segment_hash(values)))
        };
        let hashes: Vec<(usize, ContentHash)> = changed.par_iter().filter_map(hash_of).collect();
        for (number, hash) in hashes {
            self.hashes[number] = hash;
        }
    }

    /// The numbers of the segments in which the states differ: what one of them has to take from the other to be equal.
    /// All of them where the states have different lengths.
    pub fn differences(&self, other: &Self) -> Vec<usize> {
        let is_comparable = (self.parameters, self.momentum) == (other.parameters, other.momentum);
        let differs = |number: &usize| !is_comparable || self.hashes[*number] != other.hashes[*number];
        (0..self.hashes.len()).filter(differs).collect()
    }
}

/// Segments of a buffer of this many values.
fn segments_of(values: usize) -> usize {
    values.div_ceil(STATE_SEGMENT_VALUES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(len: usize) -> Vec<f32> {
        (0..len).map(|i| i as f32 * 0.5).collect()
    }

    #[test]
    fn the_state_hash_is_blake3_over_segment_hashes() {
        for len in [0, 1, 5, BLOCK_VALUES + 1, STATE_SEGMENT_VALUES + 3] {
            let params = values(len);
            let mut root = Vec::new();
            root.extend_from_slice(&(len as u64).to_le_bytes());
            root.extend_from_slice(&0u64.to_le_bytes());
            for segment in params.chunks(STATE_SEGMENT_VALUES) {
                let bytes: Vec<u8> = segment.iter().flat_map(|value| value.to_le_bytes()).collect();
                root.extend_from_slice(&blake3::derive_key(SEGMENT_CONTEXT, &bytes));
            }
            assert_eq!(state_hash(&params).as_bytes(), &blake3::derive_key(ROOT_CONTEXT, &root), "{len} values");
        }
    }

    #[test]
    fn a_difference_is_located_and_repaired_alone() {
        let ours = OuterState { params: values(2 * STATE_SEGMENT_VALUES + 7), momentum: values(STATE_SEGMENT_VALUES) };
        let mut theirs = ours.clone();
        theirs.params[2 * STATE_SEGMENT_VALUES + 6] += 1.0;
        theirs.momentum[9] -= 1.0;
        let tree = ours.tree();
        assert_eq!(tree.segment_count(), 4);
        assert_eq!(tree.differences(&theirs.tree()), [2, 3]);
        let repaired = tree.segment(2).unwrap();
        assert_eq!(repaired, StateSegment { part: StatePart::Parameters, range: 2 << 20..(2 << 20) + 7 });
        assert!(!tree.is_segment(2, &theirs.params[repaired.range.clone()]));
        let mut of_theirs = theirs.tree();
        theirs.params[repaired.range.clone()].copy_from_slice(&ours.params[repaired.range]);
        of_theirs.update(&theirs, &[2, 99]);
        assert_eq!(of_theirs, theirs.tree());
        assert_eq!(of_theirs.differences(&tree), [3]);
        theirs.momentum[9] = ours.momentum[9];
        of_theirs.update(&theirs, &[3]);
        assert_eq!(of_theirs.root(), ours.hash());
        assert!(tree.is_segment(2, &ours.params[2 << 20..]) && !tree.is_segment(4, &[]));
    }

    #[test]
    fn a_state_in_pieces_has_the_hash_of_the_whole() {
        let state = OuterState { params: values(STATE_SEGMENT_VALUES + 70_007), momentum: values(30_001) };
        for piece in [9_999, STATE_SEGMENT_VALUES, usize::MAX] {
            let mut hasher = StateHasher::new(state.params.len(), state.momentum.len());
            for part in [&state.params, &state.momentum] {
                part.chunks(piece.min(part.len())).for_each(|values| hasher.add(values));
            }
            hasher.add(&[1.0]);
            assert_eq!(hasher.finish(), Some(state.tree()), "pieces of {piece}");
        }
        let mut hasher = StateHasher::new(3, 0);
        hasher.add(&[1.0, 2.0]);
        assert_eq!(hasher.finish(), None);
        assert_eq!(StateHasher::new(0, 0).finish(), Some(OuterState::default().tree()));
    }

    #[test]
    fn lengths_are_part_of_the_root() {
        let zeros = |params, momentum| OuterState { params: vec![0.0; params], momentum: vec![0.0; momentum] };
        let roots = [zeros(3, 0), zeros(4, 0), zeros(3, 3)].map(|state| state.hash());
        assert!(roots[0] != roots[1] && roots[0] != roots[2]);
        let (two, one) = (zeros(STATE_SEGMENT_VALUES, STATE_SEGMENT_VALUES), zeros(2 * STATE_SEGMENT_VALUES, 0));
        assert_ne!(two.hash(), one.hash());
        assert_eq!(two.tree().differences(&one.tree()), [0, 1]);
        let mut tree = one.tree();
        tree.update(&two, &[]);
        assert_eq!(tree, two.tree());
        let again = StateTree::from_hashes(tree.parameters, tree.momentum, tree.hashes().to_vec());
        assert_eq!(again, Some(tree.clone()));
        assert_eq!(StateTree::from_hashes(1, 1, tree.hashes()[1..].to_vec()), None);
    }
}
