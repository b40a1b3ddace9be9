//! Merging payloads in integers: any order, any machine, the same bits.
//!
//! ```text
//! acc_j = Σ_i ω_i · s_ij · min(scale_i, limit)      i64
//! cnt_j = Σ_i ω_i                                   over the senders of j
//! limit = clip · median of the chunk's scales       over the merged payloads that send something of the chunk
//! ```
//! That is the rule; `method` holds what stands beside it.

use crate::aggregate::{Aggregate, Contributor};
use crate::layout::{CHUNK_VALUES, GradientLayout};
use crate::method::{self, Share};
use crate::payload::{Payload, PayloadChunk};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use templar_base::{MergeMethod, Uid};

/// Largest sum of weights in one merge. Contributions are under 2^46, so sums stay under 2^62; and a count fits a u16.
pub const MAX_TOTAL_WEIGHT: u32 = u16::MAX as u32;

/// How payloads are merged; values of the genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeRule {
    /// How what was sent of a coordinate becomes one value.
    pub method: MergeMethod,
    /// κ, the least divisor of a coordinate's sum, is 1 up to this number of contributors and 2 over it: with many of
    /// them a coordinate that only one has sent is mostly noise.
    pub kappa_threshold: u32,
    /// A chunk's scale is clipped to this multiple of the median over the merged payloads; 0 turns it off.
    pub scale_clip: u32,
}

impl Default for MergeRule {
    fn default() -> Self {
        Self { method: MergeMethod::default(), kappa_threshold: 30, scale_clip: 4 }
    }
}

impl MergeRule {
    /// The least divisor for this number of contributors.
    pub fn kappa(&self, contributors: usize) -> u32 {
        if contributors as u64 <= u64::from(self.kappa_threshold) { 1 } else { 2 }
    }
}

/// Payloads that cannot be merged; the caller is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// No payload with a weight.
    #[error("no payload has a weight: a window without contributors is null and has no aggregate")]
    NoContributors,
    /// A payload of another layout.
    #[error("the payload of uid {uid} has another layout than the merge")]
    WrongLayout {
        /// Its miner.
        uid: Uid,
    },
    /// Payloads of different runs, windows or start states.
    #[error(
        "the payload of uid {uid} is of another run, window or start state than the others; check metadata before merging"
    )]
    Mixed {
        /// Its miner.
        uid: Uid,
    },
    /// Two payloads of one miner.
    #[error("uid {uid} has two payloads in one merge")]
    Duplicate {
        /// The miner.
        uid: Uid,
    },
    /// Weights that sum to too much.
    #[error("the weights of a merge sum to {total}, over the limit of {MAX_TOTAL_WEIGHT}")]
    TotalWeight {
        /// Their sum.
        total: u64,
    },
    /// A payload that is not in the merge, or not with this content and weight.
    #[error("the payload of uid {uid} is not in the merge as it is given")]
    NotMerged {
        /// The miner.
        uid: Uid,
    },
    /// A method that does not add up payload by payload.
    #[error("{method:?} cannot be merged payload by payload; merge the whole set at once")]
    NotLinear {
        /// The method.
        method: MergeMethod,
    },
    /// The payloads given are not all of the aggregate's.
    #[error("{given} payloads given for an aggregate of {contributors}; all of them are needed for the scale limits")]
    Incomplete {
        /// Payloads given.
        given: usize,
        /// The aggregate's contributors.
        contributors: usize,
    },
    /// A buffer that does not fit.
    #[error("a buffer of {actual} values where the model has {expected}")]
    Length {
        /// Values given.
        actual: usize,
        /// Values expected.
        expected: usize,
    },
}

/// The largest contribution that each chunk of a merge lets through, in units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaleLimits {
    limits: Vec<i64>,
    medians: Vec<i64>,
}

impl ScaleLimits {
    /// `scale_clip` times the median (the lower one of an even number) of each chunk's scales (of rounded values: of
    /// the powers of two that they stay under) over the payloads that send something of it; no limits for a
    /// `scale_clip` of 0. The payloads are of `layout`. Payloads that send nothing do not count, so that nobody can
    /// lower a limit by sending nothing.
    pub fn of(layout: &GradientLayout, payloads: &[&Payload], scale_clip: u32) -> Self {
        let median = |chunk: usize, scales: &mut Vec<i64>| {
            scales.clear();
            let levels = payloads.iter().map(|payload| payload.chunk(chunk).level());
            scales.extend(levels.filter(|level| *level > 0));
            if scales.is_empty() {
                return 0;
            }
            let middle = (scales.len() - 1) / 2;
            *scales.select_nth_unstable(middle).1
        };
        let chunks = (0..layout.chunk_count()).into_par_iter();
        let medians: Vec<i64> = chunks.map_init(Vec::new, |scales, chunk| median(chunk, scales)).collect();
        let limit = |median: &i64| match (scale_clip, median) {
            (0, _) | (_, 0) => i64::MAX,
            _ => median.saturating_mul(i64::from(scale_clip)),
        };
        Self { limits: medians.iter().map(limit).collect(), medians }
    }

    /// A chunk's kept values in units after clipping: index in the chunk and value.
    pub(crate) fn contributions<'a>(
        &self,
        chunk: &PayloadChunk<'a>,
    ) -> impl ExactSizeIterator<Item = (usize, i64)> + use<'a> {
        let limit = self.limits[chunk.chunk];
        chunk.units_by(move |units| units.min(limit))
    }
}

/// The merged content of some consecutive chunks: entries ascending in each chunk.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct MergedChunks {
    /// Number of entries, by chunk.
    pub entries: Vec<u16>,
    pub indices: Vec<u16>,
    pub sums: Vec<i64>,
    pub counts: Vec<u16>,
}

impl MergedChunks {
    /// Appends a chunk's entries and leaves the accumulators as they are.
    fn push_chunk(&mut self, sums: &[i64], counts: &[u16]) {
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
        self.entries.push(entries as u16);
    }
}

/// Checks a set of weighted payloads and names its contributors by ascending uid; payloads of weight 0 are left out.
fn contributors_of<'a>(
    layout: &GradientLayout,
    payloads: &[(&'a Payload, u32)],
) -> Result<Vec<(&'a Payload, Contributor)>, MergeError> {
    let mut set = Vec::with_capacity(payloads.len());
    let mut total = 0u64;
    for (payload, weight) in payloads.iter().filter(|(_, weight)| *weight > 0) {
        let uid = payload.metadata().uid;
        if payload.layout() != layout {
            return Err(MergeError::WrongLayout { uid });
        }
        total += u64::from(*weight);
        set.push((*payload, Contributor { uid, weight: *weight, payload_root: payload.root() }));
    }
    if total > u64::from(MAX_TOTAL_WEIGHT) {
        return Err(MergeError::TotalWeight { total });
    }
    set.sort_by_key(|(_, contributor)| contributor.uid);
    let Some((first, _)) = set.first() else { return Err(MergeError::NoContributors) };
    let window_of = |payload: &Payload| {
        let metadata = payload.metadata();
        (metadata.run, metadata.window, metadata.start_state)
    };
    if let Some((_, other)) = set.iter().find(|(payload, _)| window_of(payload) != window_of(first)) {
        return Err(MergeError::Mixed { uid: other.uid });
    }
    if let Some(pair) = set.windows(2).find(|pair| pair[0].1.uid == pair[1].1.uid) {
        return Err(MergeError::Duplicate { uid: pair[0].1.uid });
    }
    Ok(set)
}

impl Aggregate {
    /// Merges payloads of one run, window and start state, each with its weight (ω); weight 0 leaves one out.
    /// The result depends on the set alone: not on its order, nor on the number of threads.
    pub fn merge(layout: &GradientLayout, payloads: &[(&Payload, u32)], rule: MergeRule) -> Result<Self, MergeError> {
        Self::merge_segments(layout, payloads, rule, 0..layout.segment_count())
    }

    /// As [`Aggregate::merge`], with content in these segments only.
    pub(crate) fn merge_segments(
        layout: &GradientLayout,
        payloads: &[(&Payload, u32)],
        rule: MergeRule,
        segments: Range<usize>,
    ) -> Result<Self, MergeError> {
        let set = contributors_of(layout, payloads)?;
        let merged: Vec<&Payload> = set.iter().map(|(payload, _)| *payload).collect();
        let limits = ScaleLimits::of(layout, &merged, rule.scale_clip);
        let weighted: Vec<(&Payload, u32)> = set.iter().map(|(payload, own)| (*payload, own.weight)).collect();
        let (shares, floor) = method::shares(rule.method, rule.kappa(set.len()), &weighted, &limits);
        let members: Vec<(&Payload, Share)> = merged.into_iter().zip(shares).collect();
        let parts = (0..layout.segment_count())
            .into_par_iter()
            .map_init(Accumulators::new, |accumulators, segment| match rule.method {
                _ if !segments.contains(&segment) => {
                    MergedChunks { entries: vec![0; layout.segment_chunks(segment).len()], ..MergedChunks::default() }
                }
                MergeMethod::TrimmedMean { .. } | MergeMethod::SignVote => {
                    combine_segment(layout, rule.method, &members, &limits, segment)
                }
                _ => accumulators.add_segment(layout, &members, &limits, segment),
            })
            .collect();
        let contributors = set.iter().map(|(_, contributor)| contributor.clone()).collect();
        Ok(Self::assemble(layout, set[0].0.metadata(), rule, floor, contributors, parts))
    }
}

/// Merges a segment coordinate by coordinate, by a method that is no sum.
fn combine_segment(
    layout: &GradientLayout,
    method: MergeMethod,
    members: &[(&Payload, Share)],
    limits: &ScaleLimits,
    segment: usize,
) -> MergedChunks {
    let total = members.iter().map(|(_, share)| share.weight).sum();
    let mut merged = MergedChunks::default();
    let mut sent: Vec<(usize, (i64, u32))> = Vec::new();
    for chunk in layout.segment_chunks(segment) {
        sent.clear();
        for (payload, share) in members {
            let own = limits.contributions(&payload.chunk(chunk));
            sent.extend(own.map(|(index, units)| (index, (units, share.weight))));
        }
        sent.sort_unstable();
        let mut entries = 0;
        for group in sent.chunk_by(|a, b| a.0 == b.0) {
            let mut values: Vec<(i64, u32)> = group.iter().map(|(_, value)| *value).collect();
            let (sum, count) = method::combine(method, &mut values, total, limits.medians[chunk]);
            if count > 0 {
                merged.indices.push(group[0].0 as u16);
                merged.sums.push(sum);
                merged.counts.push(count);
                entries += 1;
            }
        }
        merged.entries.push(entries);
    }
    merged
}

/// One chunk's sums and counts, reused from chunk to chunk.
struct Accumulators {
    sums: Vec<i64>,
    counts: Vec<u16>,
}

impl Accumulators {
    fn new() -> Self {
        Self { sums: vec![0; CHUNK_VALUES], counts: vec![0; CHUNK_VALUES] }
    }

    fn add_segment(
        &mut self,
        layout: &GradientLayout,
        members: &[(&Payload, Share)],
        limits: &ScaleLimits,
        segment: usize,
    ) -> MergedChunks {
        let mut merged = MergedChunks::default();
        for chunk_index in layout.segment_chunks(segment) {
            let len = layout.chunks()[chunk_index].range().len();
            let (sums, counts) = (&mut self.sums[..len], &mut self.counts[..len]);
            sums.fill(0);
            counts.fill(0);
            for (payload, share) in members.iter().filter(|(_, share)| share.fraction > 0) {
                let limit = limits.limits[chunk_index];
                let weighted = |units: i64| share.of(units.min(limit)) * i64::from(share.weight);
                for (index, units) in payload.chunk(chunk_index).units_by(weighted) {
                    sums[index] += units;
                    // The total weight was checked to fit.
                    counts[index] += share.weight as u16;
                }
            }
            merged.push_chunk(sums, counts);
        }
        merged
    }
}

/// A merge that payloads enter and leave one by one, under scale limits fixed at the start. Leaving undoes exactly what
/// entering did. Dense: ten bytes for each parameter.
#[derive(Debug, Clone)]
pub struct Aggregator {
    layout: GradientLayout,
    limits: ScaleLimits,
    members: Vec<(Contributor, crate::Metadata)>,
    total_weight: u64,
    sums: Vec<i64>,
    counts: Vec<u16>,
}

impl Aggregator {
    /// An empty merge.
    pub fn new(layout: &GradientLayout, limits: ScaleLimits) -> Self {
        Self {
            layout: layout.clone(),
            limits,
            members: Vec::new(),
            total_weight: 0,
            sums: vec![0; layout.parameters()],
            counts: vec![0; layout.parameters()],
        }
    }

    /// Adds a payload with its weight; weight 0 does nothing.
    pub fn add(&mut self, payload: &Payload, weight: u32) -> Result<(), MergeError> {
        let metadata = payload.metadata();
        let uid = metadata.uid;
        if payload.layout() != &self.layout {
            return Err(MergeError::WrongLayout { uid });
        }
        let total = self.total_weight + u64::from(weight);
        if total > u64::from(MAX_TOTAL_WEIGHT) {
            return Err(MergeError::TotalWeight { total });
        }
        if self.members.iter().any(|(member, _)| member.uid == uid) {
            return Err(MergeError::Duplicate { uid });
        }
        let mixed = |other: &crate::Metadata| {
            (other.run, other.window, other.start_state) != (metadata.run, metadata.window, metadata.start_state)
        };
        if self.members.first().is_some_and(|(_, other)| mixed(other)) {
            return Err(MergeError::Mixed { uid });
        }
        if weight > 0 {
            self.members.push((Contributor { uid, weight, payload_root: payload.root() }, metadata.clone()));
            self.total_weight = total;
            self.apply(payload, i64::from(weight));
        }
        Ok(())
    }

    /// Takes out a payload that was added; what remains is to the bit as if it had never been in.
    pub fn remove(&mut self, payload: &Payload) -> Result<(), MergeError> {
        let (uid, root) = (payload.metadata().uid, payload.root());
        let is_it = |(member, _): &(Contributor, crate::Metadata)| member.uid == uid && member.payload_root == root;
        let place = self.members.iter().position(is_it).ok_or(MergeError::NotMerged { uid })?;
        let (member, _) = self.members.swap_remove(place);
        self.total_weight -= u64::from(member.weight);
        self.apply(payload, -i64::from(member.weight));
        Ok(())
    }

    fn apply(&mut self, payload: &Payload, weight: i64) {
        for chunk in payload.chunks() {
            for (index, units) in self.limits.contributions(&chunk) {
                let index = chunk.start + index;
                self.sums[index] += units * weight;
                self.counts[index] = self.counts[index].wrapping_add(weight as u16);
            }
        }
    }

    /// The aggregate of the payloads that are in. `rule` is recorded and gives the divisor; the limits are those of the
    /// start.
    pub fn finish(&self, rule: MergeRule) -> Result<Aggregate, MergeError> {
        let floor = match rule.method {
            MergeMethod::MeanOfSenders => rule.kappa(self.members.len()),
            // The total was checked to be at most 2^16 − 1.
            MergeMethod::MeanOfAll => self.total_weight as u32,
            method => return Err(MergeError::NotLinear { method }),
        };
        let mut members = self.members.clone();
        members.sort_by_key(|(member, _)| member.uid);
        let Some((_, metadata)) = members.first() else { return Err(MergeError::NoContributors) };
        let metadata = metadata.clone();
        let collect_segment = |segment: usize| {
            let mut merged = MergedChunks::default();
            for chunk in &self.layout.chunks()[self.layout.segment_chunks(segment)] {
                merged.push_chunk(&self.sums[chunk.range()], &self.counts[chunk.range()]);
            }
            merged
        };
        let parts = (0..self.layout.segment_count()).into_par_iter().map(collect_segment).collect();
        let contributors = members.into_iter().map(|(member, _)| member).collect();
        Ok(Aggregate::assemble(&self.layout, &metadata, rule, floor, contributors, parts))
    }
}
