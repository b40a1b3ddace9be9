//! A merge that payloads enter and leave one by one.

use super::Aggregate;
use crate::layout::GradientLayout;
use crate::merge::{MAX_TOTAL_WEIGHT, MergeError};
use crate::merged::{ChunkEntries, Contributor, MergeHead, Merged, MergedChunk};
use crate::metadata::Metadata;
use crate::payload::Payload;
use crate::rule::{MergeRule, ScaleLimits};
use templar_base::MergeMethod;

/// A merge that payloads enter and leave one by one, under scale limits fixed at the start. Leaving undoes exactly what
/// entering did. Dense: ten bytes for each parameter. For audits, which take a payload out of a window that was merged;
/// nodes merge whole sets ([`crate::Merge`]).
#[derive(Debug, Clone)]
pub struct Aggregator {
    layout: GradientLayout,
    limits: ScaleLimits,
    members: Vec<(Contributor, Metadata)>,
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
        let mixed = |other: &Metadata| {
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
        let is_it = |(member, _): &(Contributor, Metadata)| member.uid == uid && member.payload_root == root;
        let place = self.members.iter().position(is_it).ok_or(MergeError::NotMerged { uid })?;
        let (member, _) = self.members.swap_remove(place);
        self.total_weight -= u64::from(member.weight);
        self.apply(payload, -i64::from(member.weight));
        Ok(())
    }

    fn apply(&mut self, payload: &Payload, weight: i64) {
        payload.for_each_chunk(|chunk| {
            if self.limits.is_silent(chunk.chunk) {
                return;
            }
            for (index, units) in self.limits.contributions(&chunk) {
                let index = chunk.start + index;
                self.sums[index] += units * weight;
                self.counts[index] = self.counts[index].wrapping_add(weight as u16);
            }
        });
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
        let head = MergeHead {
            layout: self.layout.clone(),
            run: metadata.run,
            window: metadata.window,
            start_state: metadata.start_state,
            rule,
            floor,
            contributors: members.iter().map(|(member, _)| member.clone()).collect(),
        };
        Ok(Aggregate::of(&Snapshot { head, sums: &self.sums, counts: &self.counts }))
    }
}

/// The sums of an aggregator under a rule.
struct Snapshot<'a> {
    head: MergeHead,
    sums: &'a [i64],
    counts: &'a [u16],
}

impl Merged for Snapshot<'_> {
    fn head(&self) -> &MergeHead {
        &self.head
    }

    fn visit_segment(&self, segment: usize, visit: &mut dyn FnMut(MergedChunk<'_>)) {
        let mut entries = ChunkEntries::default();
        for chunk in self.head.layout.segment_chunks(segment) {
            let range = self.head.layout.chunks()[chunk].range();
            entries.fill(&self.sums[range.clone()], &self.counts[range]);
            visit(entries.of_chunk(&self.head.layout, chunk));
        }
    }
}
