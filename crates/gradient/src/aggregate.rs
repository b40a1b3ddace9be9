//! The aggregate: the merged payloads of a window as canonical bytes.
//!
//! ```text
//! "TGAG", version                u16
//! run, window, start state       32 bytes, u64, 32 bytes
//! method, two parameters         u8, u16, u16
//! scale rule, its multiple       u8, u32
//! κ threshold, least divisor     u32, u32
//! part of the step               u8
//! contributor count              u16
//! per contributor                uid u16, weight u16, payload root 32 bytes; ascending uid
//! parameters, chunks             u64, u64
//! segment table, root, segments  see `frame` and `aggregate/code`
//! ```
//! An [`Aggregate`] keeps its bytes, about one bit a parameter, and decodes them whenever its content is read: one chunk
//! is in memory at a time.

mod aggregator;
mod code;
mod error;
mod head;
mod level_sums;
mod neighbourhood;
mod range_coder;
mod slice;

pub use aggregator::Aggregator;
pub use error::AggregateError;
pub use slice::{AggregateSlice, SliceError};

use crate::frame::{FRAME_BYTES, FrameError, FrameKind, Reader, SEGMENT_ROW_BYTES, Sealed};
use crate::layout::GradientLayout;
use crate::merge::{Merge, MergeError};
use crate::merged::{Contributor, MergeHead, Merged, MergedChunk};
use crate::payload::Payload;
use crate::rule::MergeRule;
use rayon::prelude::*;
use std::ops::Range;
use templar_base::{ContentHash, RunId, StateHash, Window};

const KIND: FrameKind = FrameKind {
    name: "aggregate",
    magic: *b"TGAG",
    version: 5,
    root_context: "templar gradient aggregate root v5",
    leaf_context: "templar gradient aggregate segment v5",
};

/// The merged payloads of one window: for each coordinate that a payload sent the integer sum and the senders' weight.
#[derive(Debug, Clone)]
pub struct Aggregate {
    head: MergeHead,
    entries: usize,
    bytes: Vec<u8>,
    /// Where each segment is in the bytes.
    segments: Vec<Range<usize>>,
}

impl PartialEq for Aggregate {
    fn eq(&self, other: &Self) -> bool {
        // There is one byte string for a content.
        self.bytes == other.bytes && self.head.layout == other.head.layout
    }
}

impl GradientLayout {
    /// Longest aggregate of this many contributors in bytes: checked before a download and before decoding.
    pub fn max_aggregate_bytes(&self, contributors: usize) -> usize {
        let head = 4 + 2 + head::head_bytes(contributors) + FRAME_BYTES;
        let segment_bytes =
            |segment| SEGMENT_ROW_BYTES + code::max_bytes(self, contributors, self.segment_chunks(segment));
        head + (0..self.segment_count()).map(segment_bytes).sum::<usize>()
    }
}

impl Aggregate {
    /// Merges payloads of one run, window and start state, each with its weight (ω), and codes the result as it is
    /// merged. Weight 0 leaves one out.
    pub fn merge(layout: &GradientLayout, payloads: &[(&Payload, u32)], rule: MergeRule) -> Result<Self, MergeError> {
        Ok(Self::of(&Merge::new(layout, payloads, rule)?))
    }

    /// Merges and codes, segment by segment.
    pub fn of(merged: &impl Merged) -> Self {
        let head = merged.head().clone();
        let coded: Vec<CodedSegment> =
            (0..head.layout.segment_count()).into_par_iter().map(|segment| code_segment(merged, segment)).collect();
        let entries = coded.iter().map(|segment| segment.entries).sum();
        let Sealed { bytes, segments, .. } = KIND.seal(header(&head), &coded);
        Self { head, entries, bytes, segments }
    }

    /// Parses an aggregate of `layout` and keeps a copy of its bytes. Total: any bytes give an aggregate or a typed error,
    /// in time linear in the layout's length. Allocates the bytes' length, and for each thread the entries of one chunk
    /// and four bytes for each column of a tensor. What it accepts, [`Aggregate::encode`] gives back to the byte.
    pub fn decode(bytes: &[u8], layout: &GradientLayout) -> Result<Self, AggregateError> {
        let parsed = Self::parse(bytes, layout)?;
        Ok(Self { bytes: bytes.to_vec(), ..parsed })
    }

    /// As [`Aggregate::decode`], without the copy.
    pub fn from_bytes(bytes: Vec<u8>, layout: &GradientLayout) -> Result<Self, AggregateError> {
        let parsed = Self::parse(&bytes, layout)?;
        Ok(Self { bytes, ..parsed })
    }

    /// The aggregate of these bytes, still without them.
    fn parse(bytes: &[u8], layout: &GradientLayout) -> Result<Self, AggregateError> {
        let mut reader = Reader::new(bytes);
        KIND.expect(&mut reader)?;
        let head = head::read(&mut reader, layout)?;
        let contributors = head.contributors.len();
        let limit = layout.max_aggregate_bytes(contributors);
        if bytes.len() > limit {
            return Err(FrameError::TooLarge { actual: bytes.len(), limit }.into());
        }
        head::read_model(&mut reader, layout)?;
        let opened = KIND.open(reader, layout.segment_count(), |segment| {
            code::max_bytes(layout, contributors, layout.segment_chunks(segment))
        })?;
        let checked: Vec<Result<usize, AggregateError>> = opened
            .segments
            .par_iter()
            .enumerate()
            .map(|(segment, (place, leaf))| {
                let bytes = &bytes[place.clone()];
                KIND.check_leaf(segment, bytes, leaf)?;
                let mut entries = 0;
                code::decode(&head, segment, bytes, &mut |chunk| entries += chunk.indices.len())?;
                Ok(entries)
            })
            .collect();
        let mut entries = 0;
        for of_segment in checked {
            // The first error by position, so that every node names the same one.
            entries += of_segment?;
        }
        let segments = opened.segments.into_iter().map(|(place, _)| place).collect();
        Ok(Self { head, entries, bytes: Vec::new(), segments })
    }

    /// The aggregate's only coding.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A copy of the aggregate's only coding.
    pub fn encode(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// The aggregate's only coding, without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// BLAKE3 of the aggregate's bytes.
    pub fn hash(&self) -> ContentHash {
        ContentHash::of(&self.bytes)
    }

    /// The layout.
    pub fn layout(&self) -> &GradientLayout {
        &self.head.layout
    }

    /// The run of the merged payloads.
    pub fn run(&self) -> RunId {
        self.head.run
    }

    /// The window of the merged payloads.
    pub fn window(&self) -> Window {
        self.head.window
    }

    /// The digest of the parameters that the aggregate applies to.
    pub fn start_state(&self) -> StateHash {
        self.head.start_state
    }

    /// The rule that payloads were merged by.
    pub fn rule(&self) -> MergeRule {
        self.head.rule
    }

    /// The merged payloads by ascending uid.
    pub fn contributors(&self) -> &[Contributor] {
        &self.head.contributors
    }

    /// The least divisor of a sum: see [`MergeHead::floor`].
    pub fn floor(&self) -> u32 {
        self.head.floor
    }

    /// Number of coordinates that a payload sent.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// The merged value G of one parameter; 0 where no payload sent anything or there is no such parameter. Decodes the
    /// parameter's segment: to read many, use [`Merged::for_each`].
    pub fn value(&self, parameter: usize) -> f32 {
        let Some(chunk) = self.head.layout.chunk_of(parameter) else { return 0.0 };
        let mut value = 0.0;
        self.visit_segment(chunk / crate::SEGMENT_CHUNKS, &mut |entries| {
            if entries.chunk == chunk
                && let Ok(place) = entries.indices.binary_search(&((parameter - entries.start) as u16))
            {
                value = self.head.value(entries.sums[place], entries.counts[place]);
            }
        });
        value
    }
}

impl Merged for Aggregate {
    fn head(&self) -> &MergeHead {
        &self.head
    }

    fn visit_segment(&self, segment: usize, visit: &mut dyn FnMut(MergedChunk<'_>)) {
        let Some(place) = self.segments.get(segment) else { return };
        // All bytes were decoded once when the aggregate was made, so this never fails.
        let decoded = code::decode(&self.head, segment, &self.bytes[place.clone()], visit);
        debug_assert!(decoded.is_ok());
    }
}

/// A segment's bytes and how many entries they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CodedSegment {
    bytes: Vec<u8>,
    entries: usize,
}

impl AsRef<[u8]> for CodedSegment {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Merges and codes one segment.
fn code_segment(merged: &impl Merged, segment: usize) -> CodedSegment {
    let mut encoder = code::SegmentEncoder::new(&merged.head().layout);
    let mut entries = 0;
    merged.visit_segment(segment, &mut |chunk| {
        entries += chunk.indices.len();
        encoder.push(&chunk);
    });
    CodedSegment { bytes: encoder.finish(), entries }
}

fn header(head: &MergeHead) -> Vec<u8> {
    let mut header = KIND.header();
    head::write(&mut header, head);
    header
}
