//! The aggregate: the merged payloads of a window, and its canonical bytes.
//!
//! ```text
//! "TGAG", version                u16
//! run, window, start state       32 bytes, u64, 32 bytes
//! method, two parameters         u8, u16, u16
//! κ threshold, scale clip        u32, u32
//! least divisor                  u32
//! contributor count              u16
//! per contributor                uid u16, weight u16, payload root 32 bytes; ascending uid
//! parameters, chunks             u64, u64
//! segment table, root, segments  as `frame` and `aggregate_code` tell
//! ```

use crate::aggregate_code;
use crate::frame::{FRAME_BYTES, FrameError, FrameKind, Reader, SEGMENT_ROW_BYTES};
use crate::layout::GradientLayout;
use crate::merge::{MAX_TOTAL_WEIGHT, MergeRule, MergedChunks};
use crate::metadata::Metadata;
use crate::scale::UNIT;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use templar_base::{ContentHash, MergeMethod, RunId, StateHash, Uid, Window};

const KIND: FrameKind = FrameKind {
    name: "aggregate",
    magic: *b"TGAG",
    version: 4,
    root_context: "templar gradient aggregate root v4",
    leaf_context: "templar gradient aggregate segment v4",
};

const RULE_BYTES: usize = 1 + 2 + 2 + 4 + 4 + 4;
const CONTRIBUTOR_BYTES: usize = 2 + 2 + 32;

/// Bytes that are not an aggregate of this layout; whoever made them is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AggregateError {
    /// Head, lengths or hashes are wrong.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Made for another model.
    #[error("aggregate is for {parameters} parameters in {chunks} chunks, not for this model; its author is at fault")]
    WrongModel {
        /// The aggregate's number of parameters.
        parameters: u64,
        /// The aggregate's number of chunks.
        chunks: u64,
    },
    /// A method or a divisor that no merge has.
    #[error("the aggregate's method {method} or its least divisor {floor} is unknown; its author is at fault")]
    Rule {
        /// The method's number.
        method: u8,
        /// The least divisor.
        floor: u32,
    },
    /// No contributors, one of weight 0, uids that do not ascend, or weights that sum to too much.
    #[error("the aggregate's list of {count} contributors is not in its form; its author is at fault")]
    Contributors {
        /// Their number.
        count: u16,
    },
    /// An entry that no payloads can have summed to.
    #[error("chunk {chunk}: an entry is out of range; the aggregate's author is at fault")]
    Entry {
        /// The chunk's number.
        chunk: usize,
    },
    /// More entries, or more senders, than the contributors may have sent.
    #[error(
        "chunk {chunk}: {entries} entries are more than the contributors may send; the aggregate's author is at fault"
    )]
    TooManyEntries {
        /// The chunk's number.
        chunk: usize,
        /// Its number of entries.
        entries: usize,
    },
    /// Content that is coded otherwise.
    #[error("the segment of chunk {first_chunk} is not in canonical form; the aggregate's author is at fault")]
    NotCanonical {
        /// First chunk of the segment.
        first_chunk: usize,
    },
}

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

/// The merged payloads of one window: for each coordinate that somebody sent the integer sum and the senders' weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    layout: GradientLayout,
    run: RunId,
    window: Window,
    start_state: StateHash,
    rule: MergeRule,
    /// The least divisor of a sum.
    floor: u32,
    contributors: Vec<Contributor>,
    /// Where each chunk's entries start; one more for the end.
    starts: Vec<usize>,
    indices: Vec<u16>,
    sums: Vec<i64>,
    counts: Vec<u16>,
}

/// The entries of one chunk, ascending.
#[derive(Debug, Clone, Copy)]
pub struct AggregateChunk<'a> {
    /// The chunk's first value in the flat parameters.
    pub start: usize,
    /// Indices in the chunk.
    pub indices: &'a [u16],
    /// Sums in units of 2^[`crate::UNIT_EXPONENT`].
    pub sums: &'a [i64],
    /// Summed weights of the senders, at least 1.
    pub counts: &'a [u16],
}

impl GradientLayout {
    /// Longest aggregate of this many contributors in bytes: checked before a download and before decoding.
    pub fn max_aggregate_bytes(&self, contributors: usize) -> usize {
        let head = 4 + 2 + 32 + 8 + 32 + RULE_BYTES + 2 + contributors * CONTRIBUTOR_BYTES + 8 + 8 + FRAME_BYTES;
        let segment_bytes =
            |segment| SEGMENT_ROW_BYTES + aggregate_code::max_bytes(self, contributors, self.segment_chunks(segment));
        head + (0..self.segment_count()).map(segment_bytes).sum::<usize>()
    }
}

impl Aggregate {
    pub(crate) fn assemble(
        layout: &GradientLayout,
        metadata: &Metadata,
        rule: MergeRule,
        floor: u32,
        contributors: Vec<Contributor>,
        parts: Vec<MergedChunks>,
    ) -> Self {
        let entries = parts.iter().map(|part| part.indices.len()).sum();
        let mut aggregate = Self {
            layout: layout.clone(),
            run: metadata.run,
            window: metadata.window,
            start_state: metadata.start_state,
            rule,
            floor,
            contributors,
            starts: Vec::with_capacity(layout.chunk_count() + 1),
            indices: Vec::with_capacity(entries),
            sums: Vec::with_capacity(entries),
            counts: Vec::with_capacity(entries),
        };
        let mut start = 0;
        aggregate.starts.push(start);
        for part in parts {
            for entries in &part.entries {
                start += usize::from(*entries);
                aggregate.starts.push(start);
            }
            aggregate.indices.extend_from_slice(&part.indices);
            aggregate.sums.extend_from_slice(&part.sums);
            aggregate.counts.extend_from_slice(&part.counts);
        }
        aggregate
    }

    /// Parses an aggregate of `layout`. Total: any bytes give an aggregate or a typed error, in time linear in the
    /// layout's length, allocating at most about 24 bytes for each parameter. What it accepts,
    /// [`Aggregate::encode`] gives back to the byte.
    pub fn decode(bytes: &[u8], layout: &GradientLayout) -> Result<Self, AggregateError> {
        let mut reader = Reader::new(bytes);
        KIND.expect(&mut reader)?;
        let mut metadata = Metadata { run: RunId::new(reader.array()?), ..Metadata::default() };
        metadata.window = Window(reader.u64()?);
        metadata.start_state = StateHash::new(reader.array()?);
        let (rule, floor) = read_rule(&mut reader)?;
        let contributors = read_contributors(&mut reader)?;
        let limit = layout.max_aggregate_bytes(contributors.len());
        if bytes.len() > limit {
            return Err(FrameError::TooLarge { actual: bytes.len(), limit }.into());
        }
        let (parameters, chunks) = (reader.u64()?, reader.u64()?);
        if parameters != layout.parameters() as u64 || chunks != layout.chunk_count() as u64 {
            return Err(AggregateError::WrongModel { parameters, chunks });
        }
        let opened = KIND.open(reader, layout.segment_count(), |segment| {
            aggregate_code::max_bytes(layout, contributors.len(), layout.segment_chunks(segment))
        })?;
        let total_weight = contributors.iter().map(|contributor| contributor.weight).sum();
        let parts = opened
            .segments
            .par_iter()
            .enumerate()
            .map(|(index, (segment, leaf))| {
                KIND.check_leaf(index, segment, leaf)?;
                let chunks = layout.segment_chunks(index);
                aggregate_code::decode(layout, contributors.len(), total_weight, chunks, segment)
            })
            .collect::<Vec<_>>();
        let parts = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(Self::assemble(layout, &metadata, rule, floor, contributors, parts))
    }

    /// The aggregate's only coding.
    pub fn encode(&self) -> Vec<u8> {
        let segments = self.encode_segments(0..self.layout.segment_count());
        Self::seal(self.header(), &segments)
    }

    /// The object of a header and all segments.
    pub(crate) fn seal(header: Vec<u8>, segments: &[Vec<u8>]) -> Vec<u8> {
        KIND.seal(header, segments).1
    }

    /// The hash of a segment's bytes, as it stands in the object's table.
    pub(crate) fn leaf(segment: &[u8]) -> ContentHash {
        ContentHash::new(blake3::derive_key(KIND.leaf_context, segment))
    }

    pub(crate) fn header(&self) -> Vec<u8> {
        let mut header = KIND.header();
        header.extend_from_slice(self.run.as_bytes());
        header.extend_from_slice(&self.window.0.to_le_bytes());
        header.extend_from_slice(self.start_state.as_bytes());
        write_rule(&mut header, self.rule, self.floor);
        header.extend_from_slice(&(self.contributors.len() as u16).to_le_bytes());
        for contributor in &self.contributors {
            header.extend_from_slice(&contributor.uid.0.to_le_bytes());
            // The merge bounds the sum of weights by MAX_TOTAL_WEIGHT, so each fits.
            header.extend_from_slice(&(contributor.weight as u16).to_le_bytes());
            header.extend_from_slice(contributor.payload_root.as_bytes());
        }
        header.extend_from_slice(&(self.layout.parameters() as u64).to_le_bytes());
        header.extend_from_slice(&(self.layout.chunk_count() as u64).to_le_bytes());
        header
    }

    pub(crate) fn encode_segments(&self, segments: Range<usize>) -> Vec<Vec<u8>> {
        segments
            .into_par_iter()
            .map(|segment| {
                let chunks = self.layout.segment_chunks(segment);
                let range = self.starts[chunks.start]..self.starts[chunks.end];
                let part = MergedChunks {
                    entries: chunks.clone().map(|chunk| (self.starts[chunk + 1] - self.starts[chunk]) as u16).collect(),
                    indices: self.indices[range.clone()].to_vec(),
                    sums: self.sums[range.clone()].to_vec(),
                    counts: self.counts[range].to_vec(),
                };
                aggregate_code::encode(&self.layout, chunks, &part)
            })
            .collect()
    }

    /// BLAKE3 of the aggregate's bytes. Codes the whole aggregate: call it once.
    pub fn hash(&self) -> ContentHash {
        ContentHash::of(&self.encode())
    }

    /// The layout.
    pub fn layout(&self) -> &GradientLayout {
        &self.layout
    }

    /// The run of the merged payloads.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// The window of the merged payloads.
    pub fn window(&self) -> Window {
        self.window
    }

    /// The digest of the parameters that the aggregate applies to.
    pub fn start_state(&self) -> StateHash {
        self.start_state
    }

    /// The rule that payloads were merged by.
    pub fn rule(&self) -> MergeRule {
        self.rule
    }

    /// The merged payloads by ascending uid.
    pub fn contributors(&self) -> &[Contributor] {
        &self.contributors
    }

    /// The least divisor of a sum; larger where more weight has sent the coordinate. κ for the mean of the senders,
    /// the weight of all for the mean of all.
    pub fn floor(&self) -> u32 {
        self.floor
    }

    /// Number of coordinates that somebody sent.
    pub fn entries(&self) -> usize {
        self.indices.len()
    }

    /// The entries of the chunk with this number; panics if the layout has no such chunk.
    pub fn chunk(&self, chunk: usize) -> AggregateChunk<'_> {
        let range = self.starts[chunk]..self.starts[chunk + 1];
        AggregateChunk {
            start: self.layout.chunks()[chunk].start,
            indices: &self.indices[range.clone()],
            sums: &self.sums[range.clone()],
            counts: &self.counts[range],
        }
    }

    /// The merged value G of one parameter; 0 where nobody sent anything or there is no such parameter.
    pub fn value(&self, parameter: usize) -> f32 {
        let Some(chunk) = self.layout.chunk_of(parameter) else { return 0.0 };
        let entries = self.chunk(chunk);
        match entries.indices.binary_search(&((parameter - entries.start) as u16)) {
            Ok(place) => merged_value(entries.sums[place], entries.counts[place], self.floor),
            Err(_) => 0.0,
        }
    }

    /// Calls `visit` with the flat index and the merged value of each coordinate that somebody sent, ascending.
    pub fn for_each(&self, mut visit: impl FnMut(usize, f32)) {
        for chunk in 0..self.layout.chunk_count() {
            let entries = self.chunk(chunk);
            for ((index, sum), count) in entries.indices.iter().zip(entries.sums).zip(entries.counts) {
                visit(entries.start + usize::from(*index), merged_value(*sum, *count, self.floor));
            }
        }
    }
}

/// `acc / max(floor, cnt)`: the sum to the nearest f32, one f32 division, and the unit, whose factor is exact.
fn merged_value(sum: i64, count: u16, floor: u32) -> f32 {
    sum as f32 / u32::from(count).max(floor) as f32 * UNIT
}

fn write_rule(out: &mut Vec<u8>, rule: MergeRule, floor: u32) {
    let (method, first, second) = match rule.method {
        MergeMethod::MeanOfSenders => (0, 0, 0),
        MergeMethod::MeanOfAll => (1, 0, 0),
        MergeMethod::CentredClipping { radius_percent, iterations } => (2, radius_percent, iterations),
        MergeMethod::TrimmedMean { trimmed } => (3, trimmed, 0),
        MergeMethod::Krum { faulty, chosen } => (4, faulty, chosen),
        MergeMethod::SignVote => (5, 0, 0),
    };
    out.push(method);
    for parameter in [first, second] {
        out.extend_from_slice(&parameter.to_le_bytes());
    }
    for value in [rule.kappa_threshold, rule.scale_clip, floor] {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

fn read_rule(reader: &mut Reader<'_>) -> Result<(MergeRule, u32), AggregateError> {
    let (number, first, second) = (reader.u8()?, reader.u16()?, reader.u16()?);
    let (kappa_threshold, scale_clip, floor) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let method = match (number, first, second) {
        (0, 0, 0) => Some(MergeMethod::MeanOfSenders),
        (1, 0, 0) => Some(MergeMethod::MeanOfAll),
        (2, radius_percent, iterations) => Some(MergeMethod::CentredClipping { radius_percent, iterations }),
        (3, trimmed, 0) => Some(MergeMethod::TrimmedMean { trimmed }),
        (4, faulty, chosen) => Some(MergeMethod::Krum { faulty, chosen }),
        (5, 0, 0) => Some(MergeMethod::SignVote),
        _ => None,
    };
    let is_divisor = (1..=MAX_TOTAL_WEIGHT).contains(&floor);
    let method = method.filter(|_| is_divisor).ok_or(AggregateError::Rule { method: number, floor })?;
    Ok((MergeRule { method, kappa_threshold, scale_clip }, floor))
}

fn read_contributors(reader: &mut Reader<'_>) -> Result<Vec<Contributor>, AggregateError> {
    let count = reader.u16()?;
    let mut rows = Reader::new(reader.take(usize::from(count) * CONTRIBUTOR_BYTES)?);
    let mut contributors: Vec<Contributor> = Vec::with_capacity(usize::from(count));
    let mut total_weight = 0;
    for _ in 0..count {
        let uid = Uid(rows.u16()?);
        let weight = u32::from(rows.u16()?);
        let payload_root = ContentHash::new(rows.array()?);
        total_weight += weight;
        if weight == 0 || contributors.last().is_some_and(|before| before.uid >= uid) {
            return Err(AggregateError::Contributors { count });
        }
        contributors.push(Contributor { uid, weight, payload_root });
    }
    if count == 0 || total_weight > MAX_TOTAL_WEIGHT {
        return Err(AggregateError::Contributors { count });
    }
    Ok(contributors)
}
