//! A payload: one miner's compressed pseudo-gradient of one window, as its canonical bytes.
//!
//! ```text
//! "TGRD", version                u16
//! metadata                       run, window, uid, start state, data digest, counts, numerics, roots
//! parameters, tensor count       u64, u32
//! per tensor                     mode u8, kept per chunk u16, Rice parameter u8, base exponent u8
//! segment table, root, segments  see `frame` and `payload/segment`
//! ```
//! One byte string encodes a payload: kept count and Rice parameter are the layout's, the base exponent is the smallest
//! scale exponent of the tensor (0, and mode 0, for a tensor that sends nothing), a partial chunk is really partial,
//! and padding is zero. The decoder rejects any other bytes.
//!
//! A [`Payload`] keeps its bytes, about 8.6 bits a value, and decodes them again whenever its content is read, chunk
//! after chunk and segment by segment: the values of a whole payload are nowhere in memory at once.

mod chunk;
mod error;
mod rounded;
mod rounding;
mod segment;
mod signs;
mod two_scales;

pub use chunk::PayloadChunk;
pub(crate) use chunk::{ChunkContent, INDEX, LARGE, MINUS, Magnitudes, level};
pub use error::PayloadError;
pub(crate) use rounding::{size_of, step_for};
pub(crate) use segment::{MAX_EXPONENT_SPREAD, SegmentEncoder, TensorCode};
pub(crate) use two_scales::{MAX_OCTAVES, OCTAVE_BITS};

use crate::frame::{FRAME_BYTES, FrameError, FrameKind, Reader, SEGMENT_ROW_BYTES, Sealed};
use crate::layout::{GradientLayout, Mode};
use crate::metadata::{Metadata, MetadataError};
use crate::scale::{MAX_SCALE_EXPONENT, Scale, UNIT};
use rayon::prelude::*;
use segment::SegmentDecoder;
use std::ops::Range;
use templar_base::ContentHash;

const KIND: FrameKind = FrameKind {
    name: "payload",
    magic: *b"TGRD",
    version: 5,
    root_context: "templar gradient payload root v5",
    leaf_context: "templar gradient payload segment v5",
};

/// Bytes of a row of the tensor table: mode, kept, Rice parameter, base exponent.
const TENSOR_ROW_BYTES: usize = 1 + 2 + 1 + 1;

/// One miner's compressed pseudo-gradient of one window. Its bytes have been checked: every index is in its chunk,
/// ascending, every scale in range, no chunk over its budget, and the coding is the only one.
#[derive(Debug, Clone)]
pub struct Payload {
    layout: GradientLayout,
    metadata: Metadata,
    codes: Vec<TensorCode>,
    /// By chunk: the scale, or the smaller one, or the step.
    scales: Vec<Scale>,
    kept: usize,
    root: ContentHash,
    bytes: Vec<u8>,
    /// Where each segment is in the bytes.
    segments: Vec<Range<usize>>,
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        // There is one byte string for a content.
        self.bytes == other.bytes && self.layout == other.layout
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

/// What a decoder learns of a segment that it checks.
struct SegmentFacts {
    scales: Vec<Scale>,
    kept: usize,
}

impl Payload {
    /// Parses a payload of `layout` and keeps a copy of its bytes. Total: any bytes give a payload or a typed error, in
    /// time linear in their length and the layout's. Allocates at most the bytes' length, one byte a chunk, and for each
    /// thread the values of one chunk. What it accepts, [`Payload::encode`] gives back to the byte.
    pub fn decode(bytes: &[u8], layout: &GradientLayout) -> Result<Self, PayloadError> {
        let parsed = Self::parse(bytes, layout)?;
        Ok(Self { bytes: bytes.to_vec(), ..parsed })
    }

    /// As [`Payload::decode`], without the copy.
    pub fn from_bytes(bytes: Vec<u8>, layout: &GradientLayout) -> Result<Self, PayloadError> {
        let parsed = Self::parse(&bytes, layout)?;
        Ok(Self { bytes, ..parsed })
    }

    /// The payload of these bytes, still without them.
    fn parse(bytes: &[u8], layout: &GradientLayout) -> Result<Self, PayloadError> {
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
        let checked: Vec<_> = opened
            .segments
            .par_iter()
            .enumerate()
            .map(|(index, (place, leaf))| {
                let segment = &bytes[place.clone()];
                KIND.check_leaf(index, segment, leaf)?;
                check_segment(layout, &codes, index, segment)
            })
            .collect();
        let (mut scales, mut kept) = (Vec::with_capacity(layout.chunk_count()), 0);
        for facts in checked {
            // The first error by position, so that every node names the same one.
            let facts = facts?;
            scales.extend_from_slice(&facts.scales);
            kept += facts.kept;
        }
        let canonical = TensorCode::of_scales(layout, codes.iter().map(|code| code.mode), &scales);
        if let Some(tensor) = (0..codes.len()).find(|tensor| canonical[*tensor] != codes[*tensor]) {
            return Err(PayloadError::BaseExponent { tensor, base: codes[tensor].base });
        }
        let segments = opened.segments.into_iter().map(|(place, _)| place).collect();
        let (layout, root, bytes) = (layout.clone(), opened.root, Vec::new());
        Ok(Self { layout, metadata, codes, scales, kept, root, bytes, segments })
    }

    /// The payload of coded segments; metadata has passed its check, and `scales` are those of the segments' chunks.
    pub(crate) fn of_segments(
        layout: &GradientLayout,
        metadata: Metadata,
        codes: Vec<TensorCode>,
        scales: Vec<Scale>,
        coded: &[(Vec<u8>, usize)],
    ) -> Self {
        let header = header(layout, &metadata, &codes);
        let parts: Vec<&[u8]> = coded.iter().map(|(bytes, _)| bytes.as_slice()).collect();
        let Sealed { root, bytes, segments } = KIND.seal(header, &parts);
        let kept = coded.iter().map(|(_, kept)| kept).sum();
        Self { layout: layout.clone(), metadata, codes, scales, kept, root, bytes, segments }
    }

    /// The payload's only coding.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A copy of the payload's only coding.
    pub fn encode(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// The payload's only coding, without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// What the payload says about its window.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The same content under other metadata; its root is another.
    pub fn with_metadata(self, metadata: Metadata) -> Result<Self, MetadataError> {
        metadata.check()?;
        let header = header(&self.layout, &metadata, &self.codes);
        let parts: Vec<&[u8]> = self.segments.iter().map(|place| &self.bytes[place.clone()]).collect();
        let Sealed { root, bytes, segments } = KIND.seal(header, &parts);
        Ok(Self { metadata, root, bytes, segments, ..self })
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
        self.kept
    }

    /// How each tensor is coded.
    pub fn modes(&self) -> Vec<Mode> {
        self.codes.iter().map(|code| code.mode).collect()
    }

    /// The scale, or the smaller one, or the step of rounded values, of each chunk.
    pub fn scales(&self) -> &[Scale] {
        &self.scales
    }

    /// Decodes one segment, chunk after chunk; nothing where the layout has no such segment.
    pub fn segment(&self, segment: usize) -> PayloadSegment<'_> {
        let bytes = self.segments.get(segment).map_or(&[][..], |place| &self.bytes[place.clone()]);
        PayloadSegment(SegmentDecoder::new(&self.layout, &self.codes, segment, bytes))
    }

    /// Calls `visit` with each chunk in order, those that send nothing included.
    pub fn for_each_chunk(&self, mut visit: impl FnMut(PayloadChunk<'_>)) {
        for segment in 0..self.layout.segment_count() {
            let mut chunks = self.segment(segment);
            while let Some(chunk) = chunks.next_chunk() {
                visit(chunk);
            }
        }
    }

    /// Calls `visit` with the flat index and the value in units of 2^[`crate::UNIT_EXPONENT`] of each kept value,
    /// ascending.
    pub fn for_each(&self, mut visit: impl FnMut(usize, i64)) {
        self.for_each_chunk(|chunk| chunk.units().for_each(|(index, units)| visit(chunk.start + index, units)));
    }

    /// Calls `visit` with the flat index and the value of each kept value, ascending. Values are exact.
    pub fn for_each_value(&self, mut visit: impl FnMut(usize, f32)) {
        self.for_each(|index, units| visit(index, units as f32 * UNIT));
    }

    /// What the kept values' magnitudes add up to, in units of 2^[`crate::UNIT_EXPONENT`]; of two scales the smaller
    /// one counts for all. Saturates.
    pub fn magnitude(&self) -> u64 {
        let mut sum = 0u64;
        self.for_each_chunk(|chunk| sum = sum.saturating_add(chunk.magnitude()));
        sum
    }

    /// The share of this payload's kept coordinates that `other` keeps too, with the same sign, and of rounded values
    /// with sizes within an eighth of each other; 0 if this one keeps nothing or the layouts differ.
    ///
    /// The share is of this payload's own coordinates and so not symmetric: a tiny payload that was sealed early
    /// cannot make an honest later one look like its copy.
    pub fn agreement(&self, other: &Self) -> f64 {
        if self.layout != other.layout { 0.0 } else { agreements(&[other, self]).pop().unwrap_or(0.0) }
    }
}

/// [`Payload::agreement`] of each payload with each one before it: (1, 0), (2, 0), (2, 1), (3, 0) and so on. Decodes
/// every payload once.
pub fn agreements(payloads: &[&Payload]) -> Vec<f64> {
    let pairs: Vec<(usize, usize)> =
        (0..payloads.len()).flat_map(|own| (0..own).map(move |other| (own, other))).collect();
    let Some(first) = payloads.first() else { return Vec::new() };
    if payloads.iter().any(|payload| payload.layout != first.layout) {
        let of_pair = |(own, other): &(usize, usize)| match payloads[*own].layout == payloads[*other].layout {
            true => payloads[*own].agreement(payloads[*other]),
            false => 0.0,
        };
        return pairs.iter().map(of_pair).collect();
    }
    let shared_of = |segment: usize| {
        let mut shared = vec![0usize; pairs.len()];
        let mut together = Lockstep::new(payloads.iter().copied(), segment);
        while let Some(chunks) = together.next_chunks() {
            for ((own, other), shared) in pairs.iter().zip(&mut shared) {
                *shared += chunks[*own].shared_with(&chunks[*other]);
            }
        }
        shared
    };
    let segments = (0..first.layout.segment_count()).into_par_iter();
    let by_segment: Vec<Vec<usize>> = segments.map(shared_of).collect();
    let share = |(place, (own, _)): (usize, &(usize, usize))| match payloads[*own].kept {
        0 => 0.0,
        kept => by_segment.iter().map(|shared| shared[place]).sum::<usize>() as f64 / kept as f64,
    };
    pairs.iter().enumerate().map(share).collect()
}

/// [`Payload::agreement`] of each of these payloads with one of an earlier window, in these segments alone: 0 of one that
/// keeps nothing there, or has another layout.
pub fn agreements_with(payloads: &[&Payload], earlier: &Payload, segments: &[usize]) -> Vec<f64> {
    let agreement = |payload: &&Payload| {
        if payload.layout != earlier.layout {
            return 0.0;
        }
        let in_segment = |segment: &usize| {
            let (mut shared, mut kept) = (0, 0);
            let mut together = Lockstep::new([*payload, earlier].into_iter(), *segment);
            while let Some(chunks) = together.next_chunks() {
                shared += chunks[0].shared_with(&chunks[1]);
                kept += chunks[0].kept();
            }
            (shared, kept)
        };
        let (shared, kept) = segments.iter().map(in_segment).fold((0, 0), |sum, own| (sum.0 + own.0, sum.1 + own.1));
        if kept == 0 { 0.0 } else { shared as f64 / kept as f64 }
    };
    payloads.par_iter().map(agreement).collect()
}

/// The chunks of one segment of a payload.
#[derive(Debug)]
pub struct PayloadSegment<'a>(SegmentDecoder<'a>);

impl PayloadSegment<'_> {
    /// The next chunk, none after the last one. It is gone with the next call.
    pub fn next_chunk(&mut self) -> Option<PayloadChunk<'_>> {
        // All bytes were decoded once when the payload was made, so this never fails.
        self.0.next_chunk()?.ok()
    }
}

/// The same segment of several payloads of one layout, chunk by chunk.
pub(crate) struct Lockstep<'a>(Vec<PayloadSegment<'a>>);

impl<'a> Lockstep<'a> {
    pub fn new(payloads: impl Iterator<Item = &'a Payload>, segment: usize) -> Self {
        Self(payloads.map(|payload| payload.segment(segment)).collect())
    }

    /// The next chunk of each payload, in their order; none after the last one, or of no payloads.
    pub fn next_chunks(&mut self) -> Option<Vec<PayloadChunk<'_>>> {
        if self.0.is_empty() {
            return None;
        }
        self.0.iter_mut().map(PayloadSegment::next_chunk).collect()
    }
}

/// Decodes a segment and forgets its values.
fn check_segment(
    layout: &GradientLayout,
    codes: &[TensorCode],
    segment: usize,
    bytes: &[u8],
) -> Result<SegmentFacts, PayloadError> {
    let mut decoder = SegmentDecoder::new(layout, codes, segment, bytes);
    let mut facts = SegmentFacts { scales: Vec::with_capacity(layout.segment_chunks(segment).len()), kept: 0 };
    while let Some(chunk) = decoder.next_chunk() {
        let chunk = chunk?;
        facts.scales.push(chunk.scale);
        facts.kept += chunk.kept();
    }
    decoder.check_end()?;
    Ok(facts)
}

fn header(layout: &GradientLayout, metadata: &Metadata, codes: &[TensorCode]) -> Vec<u8> {
    let mut header = KIND.header();
    metadata.write(&mut header);
    header.extend_from_slice(&(layout.parameters() as u64).to_le_bytes());
    header.extend_from_slice(&(layout.tensors().len() as u32).to_le_bytes());
    for (tensor, code) in layout.tensors().iter().zip(codes) {
        header.push(code.mode as u8);
        header.extend_from_slice(&tensor.kept_per_chunk.to_le_bytes());
        header.push(tensor.rice_bits() as u8);
        header.push(code.base);
    }
    header
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
