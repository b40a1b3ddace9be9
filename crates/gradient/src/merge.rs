//! Merging payloads in integers: any order, any machine, the same bits.
//!
//! ```text
//! acc_j = Σ_i ω_i · s_ij · counted(scale_i)         i64
//! cnt_j = Σ_i ω_i                                   over the senders of j
//! counted(scale) = min(scale, times · median)       clipped: the median is over those that send something of the chunk
//!                  median                           equal: over all merged payloads, silence counting as zero
//! ```
//! That is the default method; `rule/method` holds the alternatives. A merge goes segment by segment over all payloads at once:
//! it holds one chunk of each.

mod error;

pub use error::MergeError;

use crate::layout::{CHUNK_VALUES, GradientLayout};
use crate::merged::{ChunkEntries, Contributor, MergeHead, Merged, MergedChunk};
use crate::payload::{Lockstep, Payload, PayloadChunk};
use crate::rule::{self, MergeRule, ScaleLimits, Share};
use templar_base::MergeMethod;

/// Largest sum of weights in one merge. Contributions are under 2^46, so sums stay under 2^62; and a count fits a u16.
pub const MAX_TOTAL_WEIGHT: u32 = u16::MAX as u32;

/// A checked set of weighted payloads and the rule that merges them. Nothing is merged before a segment is read.
#[derive(Debug, Clone)]
pub struct Merge<'a> {
    head: MergeHead,
    /// By ascending uid, as the head's contributors.
    members: Vec<(&'a Payload, Share)>,
    limits: ScaleLimits,
}

impl<'a> Merge<'a> {
    /// A merge of payloads of one run, window and start state, each with its weight (ω); weight 0 leaves one out.
    /// The result depends on the set alone: not on its order, nor on the number of threads.
    pub fn new(layout: &GradientLayout, payloads: &[(&'a Payload, u32)], rule: MergeRule) -> Result<Self, MergeError> {
        let set = contributors_of(layout, payloads)?;
        let merged: Vec<&Payload> = set.iter().map(|(payload, _)| *payload).collect();
        let limits = ScaleLimits::of(layout, &merged, rule.scales);
        let weighted: Vec<(&Payload, u32)> = set.iter().map(|(payload, own)| (*payload, own.weight)).collect();
        let (shares, floor) = rule::shares(rule.method, rule.kappa(set.len()), &weighted, &limits);
        let members = merged.into_iter().zip(shares).collect();
        let metadata = set[0].0.metadata();
        let head = MergeHead {
            layout: layout.clone(),
            run: metadata.run,
            window: metadata.window,
            start_state: metadata.start_state,
            rule,
            floor,
            contributors: set.into_iter().map(|(_, contributor)| contributor).collect(),
        };
        Ok(Self { head, members, limits })
    }
}

impl Merged for Merge<'_> {
    fn head(&self) -> &MergeHead {
        &self.head
    }

    fn visit_segment(&self, segment: usize, visit: &mut dyn FnMut(MergedChunk<'_>)) {
        let layout = &self.head.layout;
        let mut together = Lockstep::new(self.members.iter().map(|(payload, _)| *payload), segment);
        let mut merger = ChunkMerger::new(self);
        for chunk in layout.segment_chunks(segment) {
            let Some(chunks) = together.next_chunks() else { return };
            merger.merge(&chunks);
            visit(merger.entries.of_chunk(layout, chunk));
        }
    }
}

/// Merges one chunk at a time, in buffers that are reused.
struct ChunkMerger<'m, 'a> {
    merge: &'m Merge<'a>,
    sums: Vec<i64>,
    counts: Vec<u16>,
    /// What was sent of a chunk, by a method that is not a sum: index, units, weight.
    sent: Vec<(usize, (i64, u32))>,
    total_weight: u32,
    entries: ChunkEntries,
}

impl<'m, 'a> ChunkMerger<'m, 'a> {
    fn new(merge: &'m Merge<'a>) -> Self {
        Self {
            merge,
            sums: vec![0; CHUNK_VALUES],
            counts: vec![0; CHUNK_VALUES],
            sent: Vec::new(),
            total_weight: merge.head.total_weight(),
            entries: ChunkEntries::default(),
        }
    }

    /// Merges the same chunk of all payloads into the entries.
    fn merge(&mut self, chunks: &[PayloadChunk<'_>]) {
        match self.merge.head.rule.method {
            MergeMethod::TrimmedMean { .. } | MergeMethod::SignVote => self.combine(chunks),
            MergeMethod::MeanOfSenders
            | MergeMethod::MeanOfAll
            | MergeMethod::CentredClipping { .. }
            | MergeMethod::Krum { .. } => self.add(chunks),
        }
    }

    /// By a method that is a sum.
    fn add(&mut self, chunks: &[PayloadChunk<'_>]) {
        let Some(first) = chunks.first() else { return };
        let len = usize::from(self.merge.head.layout.chunks()[first.chunk].len);
        let (sums, counts) = (&mut self.sums[..len], &mut self.counts[..len]);
        sums.fill(0);
        counts.fill(0);
        if self.merge.limits.is_silent(first.chunk) {
            return self.entries.clear();
        }
        let counted = self.merge.limits.counted(first.chunk);
        for ((_, share), chunk) in self.merge.members.iter().zip(chunks).filter(|((_, share), _)| share.fraction > 0) {
            let weighted = |units: i64| share.of(counted(units)) * i64::from(share.weight);
            for (index, units) in chunk.units_by(weighted) {
                sums[index] += units;
                // The total weight was checked to fit.
                counts[index] += share.weight as u16;
            }
        }
        self.entries.fill(sums, counts);
    }

    /// Coordinate by coordinate, by a method that is not a sum.
    fn combine(&mut self, chunks: &[PayloadChunk<'_>]) {
        self.entries.clear();
        self.sent.clear();
        if chunks.first().is_some_and(|first| self.merge.limits.is_silent(first.chunk)) {
            return;
        }
        for ((_, share), chunk) in self.merge.members.iter().zip(chunks) {
            let own = self.merge.limits.contributions(chunk);
            self.sent.extend(own.map(|(index, units)| (index, (units, share.weight))));
        }
        self.sent.sort_unstable();
        let Some(median) = chunks.first().map(|first| self.merge.limits.median(first.chunk)) else { return };
        let mut values: Vec<(i64, u32)> = Vec::new();
        for group in self.sent.chunk_by(|a, b| a.0 == b.0) {
            values.clear();
            values.extend(group.iter().map(|(_, value)| *value));
            let (sum, count) = rule::combine(self.merge.head.rule.method, &mut values, self.total_weight, median);
            if count > 0 {
                self.entries.push(group[0].0 as u16, sum, count);
            }
        }
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
