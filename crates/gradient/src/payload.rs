//! A payload: one miner's compressed pseudo-gradient of one window, and its canonical bytes.
//!
//! ```text
//! "TGRD", version                u16
//! metadata                       run, window, uid, start state, data digest, counts, numerics, roots
//! parameters, tensor count       u64, u32
//! per tensor                     mode u8, kept per chunk u16, Rice parameter u8, base exponent u8
//! segment table, root, segments  as `frame` and `segment` tell
//! ```
//! One byte string encodes a payload: kept count and Rice parameter are the layout's, the base exponent is the smallest
//! scale exponent of the tensor (0, and mode 0, for a tensor that sends nothing), a partial chunk is really partial,
//! and padding is zero. The decoder insists on all of it.

use crate::frame::{FRAME_BYTES, FrameError, FrameKind, Reader, SEGMENT_ROW_BYTES};
use crate::layout::{GradientLayout, Mode, TensorLayout};
use crate::metadata::{Metadata, MetadataError};
use crate::rounding;
use crate::scale::{MAX_SCALE_EXPONENT, Scale, UNIT};
use crate::segment::{self, ChunkContent, ChunkContents, INDEX, LARGE, MINUS, TensorCode};
use rayon::prelude::*;
use templar_base::ContentHash;

const KIND: FrameKind = FrameKind {
    name: "payload",
    magic: *b"TGRD",
    version: 4,
    root_context: "templar gradient payload root v4",
    leaf_context: "templar gradient payload segment v4",
};

/// Bytes of a row of the tensor table: mode, kept, Rice parameter, base exponent.
const TENSOR_ROW_BYTES: usize = 1 + 2 + 1 + 1;

/// Bytes that are not a payload of this layout; whoever made them is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Head, lengths or hashes are wrong.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The metadata is not in its form.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// Made for another model.
    #[error("payload is for {parameters} parameters in {tensors} tensors, not for this model; the peer is at fault")]
    WrongModel {
        /// The payload's number of parameters.
        parameters: u64,
        /// The payload's number of tensors.
        tensors: u32,
    },
    /// A tensor's mode is unknown, or its kept count or Rice parameter is not the layout's.
    #[error(
        "tensor {tensor}: mode {mode}, {kept} kept of a chunk, rice parameter {rice_bits} are not the run's; the peer is at fault"
    )]
    TensorRow {
        /// The tensor's number.
        tensor: usize,
        /// Its mode byte.
        mode: u8,
        /// Its kept count.
        kept: u16,
        /// Its Rice parameter.
        rice_bits: u8,
    },
    /// A tensor's base exponent is too large, or not the smallest of its chunks, or it sends nothing and has a mode.
    #[error("tensor {tensor}: mode or base exponent {base} is not what its scales make it; the peer is at fault")]
    BaseExponent {
        /// The tensor's number.
        tensor: usize,
        /// Its base exponent.
        base: u8,
    },
    /// A scale without meaning.
    #[error("chunk {chunk}: scale {code:#04x} over base {base} is out of range; the peer is at fault")]
    ScaleOutOfRange {
        /// The chunk's number.
        chunk: usize,
        /// The scale as it is coded.
        code: u8,
        /// The tensor's base exponent.
        base: u8,
    },
    /// A partial chunk that sends nothing or as much as a full one.
    #[error("chunk {chunk}: a partial count of {count} is outside 1..{allowed}; the peer is at fault")]
    PartialCount {
        /// The chunk's number.
        chunk: usize,
        /// The count.
        count: u16,
        /// What a full chunk keeps.
        allowed: u16,
    },
    /// An index past the chunk's end.
    #[error("chunk {chunk}: index {index} is outside the chunk of {len} values; the peer is at fault")]
    IndexOutOfRange {
        /// The chunk's number.
        chunk: usize,
        /// The index in the chunk.
        index: u32,
        /// The chunk's length.
        len: u16,
    },
    /// Two scales of which one is not used or out of range.
    #[error("chunk {chunk}: a second scale {steps} steps over the first is not in its form; the peer is at fault")]
    Magnitudes {
        /// The chunk's number.
        chunk: usize,
        /// Eighths of an octave between the scales.
        steps: u8,
    },
    /// Rounded values of which one is zero, or whose step is not the smallest that they fit.
    #[error("chunk {chunk}: its rounded values are not in their form; the peer is at fault")]
    Rounding {
        /// The chunk's number.
        chunk: usize,
    },
    /// A segment's bits end inside a chunk.
    #[error("chunk {chunk} runs over the end of its segment; the peer is at fault")]
    SegmentOverrun {
        /// The chunk's number.
        chunk: usize,
    },
    /// A segment goes on behind its last chunk, or its padding is not zero.
    #[error("a segment goes on behind its last chunk; the peer is at fault")]
    SegmentTail,
}

/// One miner's compressed pseudo-gradient of one window. Its parts have been checked: every index lies in its chunk,
/// ascending, every scale in range, no chunk over its budget.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload {
    layout: GradientLayout,
    metadata: Metadata,
    modes: Vec<Mode>,
    scales: Vec<Scale>,
    steps: Vec<u8>,
    /// Where each chunk's kept values start; one more for the end.
    starts: Vec<usize>,
    kept: Vec<u16>,
    /// Sizes of rounded values, one for each kept; empty where values are signs.
    sizes: Vec<u32>,
    root: ContentHash,
}

/// What a payload sends of one chunk.
#[derive(Debug, Clone, Copy)]
pub struct PayloadChunk<'a> {
    /// The chunk's number in the layout.
    pub chunk: usize,
    /// The chunk's first value in the flat parameters.
    pub start: usize,
    /// The chunk's scale, or the smaller one, or the step of its rounded values.
    pub scale: Scale,
    /// The larger scale; the same where there is one.
    pub larger_scale: Scale,
    kept: &'a [u16],
    sizes: &'a [u32],
    rounded_bits: Option<u8>,
}

impl<'a> PayloadChunk<'a> {
    /// Number of kept values.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// The kept values, ascending: index in the chunk, and whether the sign is minus.
    pub fn values(&self) -> impl ExactSizeIterator<Item = (usize, bool)> + 'a {
        self.kept.iter().map(|value| (usize::from(value & INDEX), value & MINUS != 0))
    }

    /// The kept values, ascending: index in the chunk, and the value in units of 2^[`crate::UNIT_EXPONENT`].
    pub fn units(&self) -> impl ExactSizeIterator<Item = (usize, i64)> + use<'a> {
        self.units_by(std::convert::identity as fn(i64) -> i64)
    }

    /// As [`Self::units`], each magnitude changed by `change`, which of values sent by their signs is called for the
    /// chunk's two scales only.
    pub(crate) fn units_by<F: Fn(i64) -> i64>(
        &self,
        change: F,
    ) -> impl ExactSizeIterator<Item = (usize, i64)> + use<'a, F> {
        let step = self.scale.units();
        let (small, large) = (change(step), change(self.larger_scale.units()));
        let by_marks = [small, large, -small, -large];
        let sizes = self.sizes;
        self.kept.iter().enumerate().map(move |(place, value)| {
            let units = match sizes.get(place) {
                None => by_marks[usize::from(value >> 14)],
                Some(size) => {
                    let units = change(i64::from(*size) * step);
                    if value & MINUS == 0 { units } else { -units }
                }
            };
            (usize::from(value & INDEX), units)
        })
    }

    /// What stands for the size of the chunk's values where payloads are compared, in units: the scale, or the power of
    /// two that rounded values stay under.
    pub(crate) fn level(&self) -> i64 {
        self.scale.units() << self.rounded_bits.map_or(0, rounding::span_bits)
    }

    /// What the kept values' magnitudes add up to, in units of 2^[`crate::UNIT_EXPONENT`]; of two scales the smaller
    /// one counts for all.
    pub fn magnitude(&self) -> u64 {
        let step = self.scale.units() as u64;
        match self.rounded_bits {
            None => step.saturating_mul(self.kept() as u64),
            // At most 4096 contributions, each under 2^45.
            Some(_) => self.sizes.iter().map(|size| u64::from(*size) * step).sum(),
        }
    }
}

impl GradientLayout {
    /// Longest payload of this layout in bytes: checked before a download and before decoding.
    pub fn max_payload_bytes(&self) -> usize {
        let head = 4 + 2 + Metadata::MAX_BYTES + 8 + 4 + TENSOR_ROW_BYTES * self.tensors().len() + FRAME_BYTES;
        let segments = (0..self.segment_count())
            .map(|segment| SEGMENT_ROW_BYTES + segment::max_bytes(self, self.segment_chunks(segment)));
        head + segments.sum::<usize>()
    }
}

impl Payload {
    /// Parses a payload of `layout`. Total: any bytes give a payload or a typed error, in time linear in their length
    /// and the layout's, allocating at most about two bytes (six of rounded ones) for each value that the layout lets a
    /// payload keep.
    /// What it accepts, [`Payload::encode`] gives back to the byte.
    pub fn decode(bytes: &[u8], layout: &GradientLayout) -> Result<Self, PayloadError> {
        let limit = layout.max_payload_bytes();
        if bytes.len() > limit {
            return Err(FrameError::TooLarge { actual: bytes.len(), limit }.into());
        }
        let mut reader = Reader::new(bytes);
        KIND.expect(&mut reader)?;
        let metadata = Metadata::read::<PayloadError>(&mut reader)?;
        let codes = read_tensor_table(&mut reader, layout)?;
        let opened = KIND.open(reader, layout.segment_count(), |segment| {
            segment::max_bytes(layout, layout.segment_chunks(segment))
        })?;
        let parts = opened
            .segments
            .par_iter()
            .enumerate()
            .map(|(index, (segment, leaf))| {
                KIND.check_leaf(index, segment, leaf)?;
                segment::decode(layout, &codes, layout.segment_chunks(index), segment)
            })
            .collect::<Vec<_>>();
        // The first error by position, so that every node names the same one.
        let parts = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
        let modes = codes.iter().map(|code| code.mode).collect();
        let mut payload = Self::join(layout, metadata, modes, parts);
        payload.root = opened.root;
        let canonical = payload.tensor_codes();
        if let Some(tensor) = (0..codes.len()).find(|tensor| canonical[*tensor] != codes[*tensor]) {
            return Err(PayloadError::BaseExponent { tensor, base: codes[tensor].base });
        }
        Ok(payload)
    }

    /// The payload's only coding.
    pub fn encode(&self) -> Vec<u8> {
        self.seal().1
    }

    /// The payload of what is in it, with this root of what remains; metadata has passed its check.
    pub(crate) fn sealed(mut self, error_feedback_root: ContentHash) -> Self {
        self.metadata.error_feedback_root = error_feedback_root;
        self.root = self.seal().0;
        self
    }

    /// A payload of checked contents by consecutive segments, whose root is still to come.
    pub(crate) fn join(
        layout: &GradientLayout,
        metadata: Metadata,
        modes: Vec<Mode>,
        parts: Vec<ChunkContents>,
    ) -> Self {
        let mut starts = Vec::with_capacity(layout.chunk_count() + 1);
        let mut scales = Vec::with_capacity(layout.chunk_count());
        let mut steps = Vec::with_capacity(layout.chunk_count());
        let mut kept = Vec::with_capacity(parts.iter().map(|part| part.kept.len()).sum());
        let mut sizes = Vec::with_capacity(parts.iter().map(|part| part.sizes.len()).sum());
        let mut start = 0;
        starts.push(start);
        for part in parts {
            for count in &part.counts {
                start += usize::from(*count);
                starts.push(start);
            }
            scales.extend_from_slice(&part.scales);
            steps.extend_from_slice(&part.steps);
            kept.extend_from_slice(&part.kept);
            sizes.extend_from_slice(&part.sizes);
        }
        let root = ContentHash::default();
        let mut payload = Self { layout: layout.clone(), metadata, modes, scales, steps, starts, kept, sizes, root };
        payload.modes = payload.tensor_codes().iter().map(|code| code.mode).collect();
        payload
    }

    fn seal(&self) -> (ContentHash, Vec<u8>) {
        let codes = self.tensor_codes();
        let mut header = KIND.header();
        self.metadata.write(&mut header);
        header.extend_from_slice(&(self.layout.parameters() as u64).to_le_bytes());
        header.extend_from_slice(&(self.layout.tensors().len() as u32).to_le_bytes());
        for (tensor, code) in self.layout.tensors().iter().zip(&codes) {
            header.push(code.mode as u8);
            header.extend_from_slice(&tensor.kept_per_chunk.to_le_bytes());
            header.push(tensor.rice_bits() as u8);
            header.push(code.base);
        }
        let segments: Vec<Vec<u8>> = (0..self.layout.segment_count())
            .into_par_iter()
            .map(|index| {
                segment::encode(&self.layout, &codes, self.layout.segment_chunks(index), |chunk| {
                    let PayloadChunk { scale, kept, sizes, .. } = self.chunk(chunk);
                    ChunkContent { scale, steps: self.steps[chunk], kept, sizes }
                })
            })
            .collect();
        KIND.seal(header, &segments)
    }

    /// Mode and smallest scale exponent of each tensor; those of zero where it sends nothing.
    fn tensor_codes(&self) -> Vec<TensorCode> {
        let code = |(tensor, mode): (&TensorLayout, &Mode)| {
            let sent = self.scales[tensor.chunks()].iter().filter(|scale| !scale.is_empty());
            let smallest = sent.map(|scale| scale.exponent()).min();
            smallest.map(|base| TensorCode { mode: *mode, base }).unwrap_or_default()
        };
        self.layout.tensors().iter().zip(&self.modes).map(code).collect()
    }

    /// What the payload says about its window.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The same content under other metadata; its root is another.
    pub fn with_metadata(mut self, metadata: Metadata) -> Result<Self, MetadataError> {
        metadata.check()?;
        self.metadata = metadata;
        self.root = self.seal().0;
        Ok(self)
    }

    /// The BLAKE3 root: names everything in the payload.
    pub fn root(&self) -> ContentHash {
        self.root
    }

    /// The layout.
    pub fn layout(&self) -> &GradientLayout {
        &self.layout
    }

    /// Number of kept values.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// How each tensor is coded.
    pub fn modes(&self) -> &[Mode] {
        &self.modes
    }

    /// The scale, or the smaller one, or the step of rounded values, of each chunk.
    pub fn scales(&self) -> &[Scale] {
        &self.scales
    }

    /// What is sent of the chunk with this number; panics if the layout has no such chunk.
    pub fn chunk(&self, chunk: usize) -> PayloadChunk<'_> {
        let scale = self.scales[chunk];
        let range = self.starts[chunk]..self.starts[chunk + 1];
        PayloadChunk {
            chunk,
            start: self.layout.chunks()[chunk].start,
            scale,
            // Whoever made the payload checked that the larger scale is in range.
            larger_scale: scale.raised(self.steps[chunk]).unwrap_or(scale),
            kept: &self.kept[range.clone()],
            sizes: self.sizes.get(range).unwrap_or(&[]),
            rounded_bits: self.layout.rounded_bits(),
        }
    }

    /// All chunks in order, those that send nothing included.
    pub fn chunks(&self) -> impl ExactSizeIterator<Item = PayloadChunk<'_>> {
        (0..self.layout.chunk_count()).map(|chunk| self.chunk(chunk))
    }

    /// Calls `visit` with the flat index and the value in units of 2^[`crate::UNIT_EXPONENT`] of each kept value,
    /// ascending.
    pub fn for_each(&self, mut visit: impl FnMut(usize, i64)) {
        for chunk in self.chunks() {
            for (index, units) in chunk.units() {
                visit(chunk.start + index, units);
            }
        }
    }

    /// Calls `visit` with the flat index and the value of each kept value, ascending. Values are exact.
    pub fn for_each_value(&self, mut visit: impl FnMut(usize, f32)) {
        self.for_each(|index, units| visit(index, units as f32 * UNIT));
    }

    /// The share of this payload's kept coordinates that `other` keeps too, with the same sign, and of rounded values
    /// with sizes within an eighth of each other; 0 if this one keeps nothing or the layouts differ.
    ///
    /// The share is of this payload's own coordinates and so not symmetric: a tiny payload that was sealed early
    /// cannot make an honest later one look like its copy.
    pub fn agreement(&self, other: &Self) -> f64 {
        if self.kept.is_empty() || self.layout != other.layout {
            return 0.0;
        }
        let shared = |chunk| match self.layout.rounded_bits() {
            None => shared_values(self.chunk(chunk).kept, other.chunk(chunk).kept),
            Some(_) => close_values(&self.chunk(chunk), &other.chunk(chunk)),
        };
        (0..self.layout.chunk_count()).map(shared).sum::<usize>() as f64 / self.kept.len() as f64
    }
}

/// Number of equal (index, sign) pairs of two ascending lists; without branches on the data, which is random.
fn shared_values(left: &[u16], right: &[u16]) -> usize {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while i < left.len() && j < right.len() {
        let (a, b) = (left[i] & !LARGE, right[j] & !LARGE);
        shared += usize::from(a == b);
        i += usize::from(a & INDEX <= b & INDEX);
        j += usize::from(b & INDEX <= a & INDEX);
    }
    shared
}

/// Number of rounded values that both keep, with the same sign, the smaller at least seven eighths of the larger.
fn close_values(left: &PayloadChunk<'_>, right: &PayloadChunk<'_>) -> usize {
    let mut others = right.units().peekable();
    let is_close = |(index, units): &(usize, i64)| {
        while others.next_if(|(other, _)| other < index).is_some() {}
        let Some((_, other)) = others.next_if(|(other, _)| other == index) else { return false };
        let (smaller, larger) = (units.abs().min(other.abs()), units.abs().max(other.abs()));
        units.signum() == other.signum() && larger - smaller <= larger / 8
    };
    left.units().filter(is_close).count()
}

fn read_tensor_table(reader: &mut Reader<'_>, layout: &GradientLayout) -> Result<Vec<TensorCode>, PayloadError> {
    let (parameters, tensors) = (reader.u64()?, reader.u32()?);
    if parameters != layout.parameters() as u64 || tensors as usize != layout.tensors().len() {
        return Err(PayloadError::WrongModel { parameters, tensors });
    }
    let mut codes = Vec::with_capacity(layout.tensors().len());
    for (tensor, expected) in layout.tensors().iter().enumerate() {
        let (mode, kept, rice_bits, base) = (reader.u8()?, reader.u16()?, reader.u8()?, reader.u8()?);
        // A tensor that sends nothing is of mode 0, whatever the run's values are.
        let is_allowed =
            |mode: &Mode| *mode == Mode::Sign || (*mode == Mode::Rounded) == layout.rounded_bits().is_some();
        let known = Mode::from_byte(mode)
            .filter(is_allowed)
            .filter(|_| kept == expected.kept_per_chunk && u32::from(rice_bits) == expected.rice_bits());
        let mode = known.ok_or(PayloadError::TensorRow { tensor, mode, kept, rice_bits })?;
        if base > MAX_SCALE_EXPONENT {
            return Err(PayloadError::BaseExponent { tensor, base });
        }
        codes.push(TensorCode { mode, base });
    }
    Ok(codes)
}
