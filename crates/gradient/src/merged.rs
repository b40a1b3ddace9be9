//! What a merge gives, chunk by chunk and segment by segment, wherever it comes from: payloads that are merged as they
//! are read ([`crate::Merge`]), or the bytes of an aggregate ([`crate::Aggregate`]).

use crate::layout::{CHUNK_VALUES, GradientLayout};
use crate::rule::MergeRule;
use crate::scale::UNIT;
use serde::{Deserialize, Serialize};
use templar_base::{ContentHash, RunId, StateHash, Uid, Window};

/// One payload of a merge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contributor {
    /// Its miner.
    pub uid: Uid,
    /// Its weight (ω), at least 1.
    pub weight: u32,
    /// The payload's root.
    pub payload_root: ContentHash,
}

/// What all segments of a merge have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct MergeHead {
    /// The layout.
    pub layout: GradientLayout,
    /// The run of the merged payloads.
    pub run: RunId,
    /// The window of the merged payloads.
    pub window: Window,
    /// The digest of the parameters that the merge applies to.
    pub start_state: StateHash,
    /// The rule that payloads are merged by.
    pub rule: MergeRule,
    /// The least divisor of a sum; larger where more weight has sent the coordinate. κ for the mean of the senders, the
    /// weight of all for the mean of all.
    pub floor: u32,
    /// The merged payloads by ascending uid.
    pub contributors: Vec<Contributor>,
}

impl MergeHead {
    /// The merged value of a coordinate, `sum / max(floor, count)`: the sum to the nearest f32, one f32 division, and the
    /// unit, whose factor is exact.
    pub fn value(&self, sum: i64, count: u16) -> f32 {
        sum as f32 / u32::from(count).max(self.floor) as f32 * UNIT
    }

    /// The contributors' weights, summed; at most [`crate::MAX_TOTAL_WEIGHT`].
    pub(crate) fn total_weight(&self) -> u32 {
        self.contributors.iter().map(|contributor| contributor.weight).sum()
    }
}

/// The entries of one chunk, ascending: of each coordinate that a payload sent the integer sum and the senders' weight.
#[derive(Debug, Clone, Copy)]
pub struct MergedChunk<'a> {
    /// The chunk's number in the layout.
    pub chunk: usize,
    /// The chunk's first value in the flat parameters.
    pub start: usize,
    /// Indices in the chunk.
    pub indices: &'a [u16],
    /// Sums in units of 2^[`crate::UNIT_EXPONENT`].
    pub sums: &'a [i64],
    /// Summed weights of the senders, at least 1.
    pub counts: &'a [u16],
}

impl<'a> MergedChunk<'a> {
    /// The entries: index in the chunk, sum, count.
    pub fn entries(&self) -> impl Iterator<Item = (usize, i64, u16)> + use<'a> {
        let entries = self.indices.iter().zip(self.sums).zip(self.counts);
        entries.map(|((index, sum), count)| (usize::from(*index), *sum, *count))
    }
}

/// Merged payloads of one window. Segments can be read in any order and by several threads at once; each time a segment
/// is read it gives the same.
pub trait Merged: Sync {
    /// What all segments have in common.
    fn head(&self) -> &MergeHead;

    /// Calls `visit` with each chunk of a segment in order, those without entries included; never where the layout has
    /// no such segment.
    fn visit_segment(&self, segment: usize, visit: &mut dyn FnMut(MergedChunk<'_>));

    /// Calls `visit` with the flat index and the merged value of each coordinate that a payload sent, ascending.
    fn for_each(&self, mut visit: impl FnMut(usize, f32))
    where
        Self: Sized,
    {
        let head = self.head();
        for segment in 0..head.layout.segment_count() {
            self.visit_segment(segment, &mut |chunk| {
                chunk.entries().for_each(|(index, sum, count)| visit(chunk.start + index, head.value(sum, count)));
            });
        }
    }
}

/// The entries of one chunk at a time, in buffers that are reused.
#[derive(Debug, Default)]
pub(crate) struct ChunkEntries {
    pub indices: Vec<u16>,
    pub sums: Vec<i64>,
    pub counts: Vec<u16>,
}

impl ChunkEntries {
    pub fn clear(&mut self) {
        self.indices.clear();
        self.sums.clear();
        self.counts.clear();
    }

    pub fn push(&mut self, index: u16, sum: i64, count: u16) {
        self.indices.push(index);
        self.sums.push(sum);
        self.counts.push(count);
    }

    /// Takes over the sums of a whole chunk where the count is not zero.
    pub fn fill(&mut self, sums: &[i64], counts: &[u16]) {
        self.clear();
        // Which coordinates are there is random, so the places are collected without a branch on it.
        let mut places = [0u16; CHUNK_VALUES];
        let mut entries = 0;
        for (index, count) in counts.iter().enumerate() {
            places[entries] = index as u16;
            entries += usize::from(*count > 0);
        }
        let places = &places[..entries];
        self.indices.extend_from_slice(places);
        self.sums.extend(places.iter().map(|place| sums[usize::from(*place)]));
        self.counts.extend(places.iter().map(|place| counts[usize::from(*place)]));
    }

    /// The entries as those of the chunk with this number.
    pub fn of_chunk(&self, layout: &GradientLayout, chunk: usize) -> MergedChunk<'_> {
        let start = layout.chunks()[chunk].start;
        MergedChunk { chunk, start, indices: &self.indices, sums: &self.sums, counts: &self.counts }
    }
}
