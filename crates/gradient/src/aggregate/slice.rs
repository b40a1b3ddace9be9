//! Merging by ranges: several aggregators each make a part of one aggregate, and parts are compared by their hashes.

use super::{CodedSegment, KIND, code_segment, header};
use crate::layout::GradientLayout;
use crate::merge::{Merge, MergeError};
use crate::merged::Merged;
use crate::payload::Payload;
use crate::rule::MergeRule;
use rayon::prelude::*;
use std::ops::Range;
use templar_base::ContentHash;

/// Some consecutive segments of an aggregate, coded. Any node that merges the same payloads by the same rule makes the
/// same bytes, so two aggregators that share a segment can compare it by its hash. For models that are too large for one
/// node to merge; no node splits a merge yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateSlice {
    /// What all slices of one aggregate have in common: the window, the rule, the contributors.
    header: Vec<u8>,
    first_segment: usize,
    segments: Vec<CodedSegment>,
}

/// Slices that do not make a whole; the caller is at fault, or an aggregator was given other payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SliceError {
    /// A slice of another aggregate.
    #[error("the slice of segment {segment} is of other payloads or another rule than the first one")]
    OtherAggregate {
        /// The slice's first segment.
        segment: usize,
    },
    /// A segment that no slice has, or that several have.
    #[error("segment {segment} is missing, or in more than one slice; give each once, in any order")]
    Coverage {
        /// The first such segment.
        segment: usize,
    },
}

impl AggregateSlice {
    /// Merges and codes these segments; those that the layout does not have are left out.
    pub fn merge(
        layout: &GradientLayout,
        payloads: &[(&Payload, u32)],
        rule: MergeRule,
        segments: Range<usize>,
    ) -> Result<Self, MergeError> {
        let end = segments.end.min(layout.segment_count());
        let segments = segments.start.min(end)..end;
        let merge = Merge::new(layout, payloads, rule)?;
        let first_segment = segments.start;
        let segments = segments.into_par_iter().map(|segment| code_segment(&merge, segment)).collect();
        Ok(Self { header: header(merge.head()), first_segment, segments })
    }

    /// The numbers of the segments.
    pub fn segments(&self) -> Range<usize> {
        self.first_segment..self.first_segment + self.segments.len()
    }

    /// The hash of each segment, as the table of the whole object has it.
    pub fn hashes(&self) -> Vec<ContentHash> {
        let hash = |segment: &CodedSegment| blake3::derive_key(KIND.leaf_context, &segment.bytes);
        self.segments.iter().map(|segment| ContentHash::new(hash(segment))).collect()
    }

    /// The segments of which both have some and do not agree; all common ones where the header differs.
    pub fn disputed(&self, other: &Self) -> Vec<usize> {
        let common = self.first_segment.max(other.first_segment)..self.segments().end.min(other.segments().end);
        let differs = |segment: &usize| {
            self.header != other.header
                || self.segments[segment - self.first_segment] != other.segments[segment - other.first_segment]
        };
        common.filter(differs).collect()
    }

    /// The whole object of slices that cover every segment once: the very bytes that [`crate::Aggregate::encode`] gives.
    pub fn join(layout: &GradientLayout, slices: &[Self]) -> Result<Vec<u8>, SliceError> {
        let mut order: Vec<&Self> = slices.iter().filter(|slice| !slice.segments.is_empty()).collect();
        order.sort_by_key(|slice| slice.first_segment);
        let first = order.first().ok_or(SliceError::Coverage { segment: 0 })?;
        let mut segments = Vec::with_capacity(layout.segment_count());
        for slice in &order {
            if slice.header != first.header {
                return Err(SliceError::OtherAggregate { segment: slice.first_segment });
            }
            if slice.first_segment != segments.len() {
                return Err(SliceError::Coverage { segment: segments.len().min(slice.first_segment) });
            }
            segments.extend_from_slice(&slice.segments);
        }
        if segments.len() != layout.segment_count() {
            return Err(SliceError::Coverage { segment: segments.len() });
        }
        Ok(KIND.seal(first.header.clone(), &segments).bytes)
    }
}
