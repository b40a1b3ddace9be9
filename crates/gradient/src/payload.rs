//! A payload: one miner's compressed pseudo-gradient of one window, and its canonical bytes.
//!
//! ```text
//! "TGRD", version                u16
//! metadata                       run, window, uid, start state, data digest, counts, numerics, roots
//! parameters, tensor count       u64, u32
//! per tensor                     mode u8, kept per chunk u16, Rice parameter u8, base exponent u8
//! segment table, root, segments  as `frame` and `segment` tell
//! ```
//! One byte string encodes a payload: mode, kept count and Rice parameter are the layout's, the base exponent is the
//! smallest scale exponent of the tensor (0 for a tensor that sends nothing), a partial chunk is really partial, and
//! padding is zero. The decoder insists on all of it.

use crate::frame::{FRAME_BYTES, FrameError, FrameKind, Reader, SEGMENT_ROW_BYTES};
use crate::layout::{GradientLayout, TensorLayout};
use crate::metadata::{Metadata, MetadataError};
use crate::scale::{MAX_SCALE_EXPONENT, Scale, UNIT};
use crate::segment::{self, ChunkContents, MINUS};
use rayon::prelude::*;
use templar_base::ContentHash;

const KIND: FrameKind = FrameKind {
    name: "payload",
    magic: *b"TGRD",
    version: 1,
    root_context: "templar gradient payload root v1",
    leaf_context: "templar gradient payload segment v1",
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
    /// Mode, kept count or Rice parameter of a tensor are not the layout's.
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
    /// A tensor's base exponent is too large, or not the smallest of its chunks.
    #[error("tensor {tensor}: base exponent {base} is not the smallest exponent of its scales; the peer is at fault")]
    BaseExponent {
        /// The tensor's number.
        tensor: usize,
        /// Its base exponent.
        base: u8,
    },
    /// A scale byte without meaning.
    #[error("chunk {chunk}: scale byte {byte:#04x} over base {base} is out of range; the peer is at fault")]
    ScaleOutOfRange {
        /// The chunk's number.
        chunk: usize,
        /// The scale byte.
        byte: u8,
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
    scales: Vec<Scale>,
    /// Where each chunk's kept values start; one more for the end.
    starts: Vec<usize>,
    kept: Vec<u16>,
    root: ContentHash,
}

/// What a payload sends of one chunk.
#[derive(Debug, Clone, Copy)]
pub struct PayloadChunk<'a> {
    /// The chunk's number in the layout.
    pub chunk: usize,
    /// The chunk's first value in the flat parameters.
    pub start: usize,
    /// The chunk's scale.
    pub scale: Scale,
    kept: &'a [u16],
}

impl<'a> PayloadChunk<'a> {
    /// Number of kept values.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// The kept values, ascending: index in the chunk, and whether the sign is minus.
    pub fn values(&self) -> impl ExactSizeIterator<Item = (usize, bool)> + 'a {
        self.kept.iter().map(|value| (usize::from(value & !MINUS), value & MINUS != 0))
    }

    pub(crate) fn raw(&self) -> &'a [u16] {
        self.kept
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
    /// and the layout's, allocating at most about two bytes for each value that the layout lets a payload keep.
    /// What it accepts, [`Payload::encode`] gives back to the byte.
    pub fn decode(bytes: &[u8], layout: &GradientLayout) -> Result<Self, PayloadError> {
        let limit = layout.max_payload_bytes();
        if bytes.len() > limit {
            return Err(FrameError::TooLarge { actual: bytes.len(), limit }.into());
        }
        let mut reader = Reader::new(bytes);
        KIND.expect(&mut reader)?;
        let metadata = Metadata::read::<PayloadError>(&mut reader)?;
        let bases = read_tensor_table(&mut reader, layout)?;
        let opened = KIND.open(reader, layout.segment_count(), |segment| {
            segment::max_bytes(layout, layout.segment_chunks(segment))
        })?;
        let parts = opened
            .segments
            .par_iter()
            .enumerate()
            .map(|(index, (segment, leaf))| {
                KIND.check_leaf(index, segment, leaf)?;
                segment::decode(layout, &bases, layout.segment_chunks(index), segment)
            })
            .collect::<Vec<_>>();
        // The first error by position, so that every node names the same one.
        let parts = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut payload = Self::join(layout, metadata, parts);
        payload.root = opened.root;
        let smallest = payload.base_exponents();
        if let Some(tensor) = (0..bases.len()).find(|tensor| smallest[*tensor] != bases[*tensor]) {
            return Err(PayloadError::BaseExponent { tensor, base: bases[tensor] });
        }
        Ok(payload)
    }

    /// The payload's only coding.
    pub fn encode(&self) -> Vec<u8> {
        self.seal().1
    }

    /// A payload of checked contents by consecutive segments; metadata has passed its check.
    pub(crate) fn assemble(layout: &GradientLayout, metadata: Metadata, parts: Vec<ChunkContents>) -> Self {
        let mut payload = Self::join(layout, metadata, parts);
        payload.root = payload.seal().0;
        payload
    }

    fn join(layout: &GradientLayout, metadata: Metadata, parts: Vec<ChunkContents>) -> Self {
        let mut starts = Vec::with_capacity(layout.chunk_count() + 1);
        let mut scales = Vec::with_capacity(layout.chunk_count());
        let mut kept = Vec::with_capacity(parts.iter().map(|part| part.kept.len()).sum());
        let mut start = 0;
        starts.push(start);
        for part in parts {
            for count in &part.counts {
                start += usize::from(*count);
                starts.push(start);
            }
            scales.extend_from_slice(&part.scales);
            kept.extend_from_slice(&part.kept);
        }
        Self { layout: layout.clone(), metadata, scales, starts, kept, root: ContentHash::default() }
    }

    fn seal(&self) -> (ContentHash, Vec<u8>) {
        let bases = self.base_exponents();
        let mut header = KIND.header();
        self.metadata.write(&mut header);
        header.extend_from_slice(&(self.layout.parameters() as u64).to_le_bytes());
        header.extend_from_slice(&(self.layout.tensors().len() as u32).to_le_bytes());
        for (tensor, base) in self.layout.tensors().iter().zip(&bases) {
            header.push(tensor.mode as u8);
            header.extend_from_slice(&tensor.kept_per_chunk.to_le_bytes());
            header.push(tensor.rice_bits() as u8);
            header.push(*base);
        }
        let segments: Vec<Vec<u8>> = (0..self.layout.segment_count())
            .into_par_iter()
            .map(|index| {
                segment::encode(&self.layout, &bases, self.layout.segment_chunks(index), |chunk| {
                    (self.scales[chunk], &self.kept[self.starts[chunk]..self.starts[chunk + 1]])
                })
            })
            .collect();
        KIND.seal(header, &segments)
    }

    /// The smallest scale exponent of each tensor; 0 where it sends nothing.
    fn base_exponents(&self) -> Vec<u8> {
        let smallest = |tensor: &TensorLayout| {
            let sent = self.scales[tensor.chunks()].iter().filter(|scale| !scale.is_empty());
            sent.map(|scale| scale.exponent()).min().unwrap_or(0)
        };
        self.layout.tensors().iter().map(smallest).collect()
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

    /// The scale of each chunk.
    pub fn scales(&self) -> &[Scale] {
        &self.scales
    }

    /// What is sent of the chunk with this number; panics if the layout has no such chunk.
    pub fn chunk(&self, chunk: usize) -> PayloadChunk<'_> {
        PayloadChunk {
            chunk,
            start: self.layout.chunks()[chunk].start,
            scale: self.scales[chunk],
            kept: &self.kept[self.starts[chunk]..self.starts[chunk + 1]],
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
            let units = chunk.scale.units();
            for (index, minus) in chunk.values() {
                visit(chunk.start + index, if minus { -units } else { units });
            }
        }
    }

    /// Calls `visit` with the flat index and the value of each kept value, ascending. Values are exact.
    pub fn for_each_value(&self, mut visit: impl FnMut(usize, f32)) {
        self.for_each(|index, units| visit(index, units as f32 * UNIT));
    }

    /// The share of this payload's kept coordinates that `other` keeps too, with the same sign; 0 if this one keeps
    /// nothing or the layouts differ.
    ///
    /// The share is of this payload's own coordinates and so not symmetric: a tiny payload that was sealed early
    /// cannot make an honest later one look like its copy.
    pub fn agreement(&self, other: &Self) -> f64 {
        if self.kept.is_empty() || self.layout != other.layout {
            return 0.0;
        }
        let shared = |chunk| shared_values(self.chunk(chunk).raw(), other.chunk(chunk).raw());
        (0..self.layout.chunk_count()).map(shared).sum::<usize>() as f64 / self.kept.len() as f64
    }
}

/// Number of equal (index, sign) pairs of two ascending lists; without branches on the data, which is random.
fn shared_values(left: &[u16], right: &[u16]) -> usize {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while i < left.len() && j < right.len() {
        let (a, b) = (left[i], right[j]);
        shared += usize::from(a == b);
        i += usize::from(a & !MINUS <= b & !MINUS);
        j += usize::from(b & !MINUS <= a & !MINUS);
    }
    shared
}

fn read_tensor_table(reader: &mut Reader<'_>, layout: &GradientLayout) -> Result<Vec<u8>, PayloadError> {
    let (parameters, tensors) = (reader.u64()?, reader.u32()?);
    if parameters != layout.parameters() as u64 || tensors as usize != layout.tensors().len() {
        return Err(PayloadError::WrongModel { parameters, tensors });
    }
    let mut bases = Vec::with_capacity(layout.tensors().len());
    for (tensor, expected) in layout.tensors().iter().enumerate() {
        let (mode, kept, rice_bits, base) = (reader.u8()?, reader.u16()?, reader.u8()?, reader.u8()?);
        if mode != expected.mode as u8
            || kept != expected.kept_per_chunk
            || u32::from(rice_bits) != expected.rice_bits()
        {
            return Err(PayloadError::TensorRow { tensor, mode, kept, rice_bits });
        }
        if base > MAX_SCALE_EXPONENT {
            return Err(PayloadError::BaseExponent { tensor, base });
        }
        bases.push(base);
    }
    Ok(bases)
}
