//! The coding of a payload's segment: chunk after chunk, its scale, then its values as the tensor's mode has them.
//!
//! ```text
//! chunk = scale (5 bits), then kept × value         as many as the layout allows
//!       | 0                                         nothing is sent
//!       | 1, count (12 bits), scale, count × value  fewer than the layout allows
//! ```
//! A scale is `exponent − base + 2` with the tensor's base exponent. The values of mode 0 are in `signs`, of mode 1 in
//! `two_scales`, of mode 2 in `rounded`. Bits fill bytes from the least significant; a segment ends with zero bits up to
//! the byte.

use super::chunk::{ChunkContent, Magnitudes, PayloadChunk};
use super::{PayloadError, rounded, rounding, signs, two_scales};
use crate::bits::{BitReader, BitWriter};
use crate::layout::{ChunkLayout, GradientLayout, Mode};
use crate::scale::Scale;
use std::ops::Range;

const EMPTY_CHUNK: u64 = 0;
const PARTIAL_CHUNK: u64 = 1;
/// The code of a tensor's smallest scale.
const BASE_SCALE: u8 = 2;
const SCALE_BITS: u32 = 5;
const COUNT_BITS: u32 = 12;

/// Largest difference between the scale exponents of a tensor.
pub(crate) const MAX_EXPONENT_SPREAD: u8 = (1 << SCALE_BITS) - 1 - BASE_SCALE;

/// How a payload codes a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TensorCode {
    pub mode: Mode,
    /// The smallest scale exponent of the tensor's chunks.
    pub base: u8,
}

impl TensorCode {
    /// Mode and smallest scale exponent of each tensor; those of zero where it sends nothing.
    pub fn of_scales(layout: &GradientLayout, modes: impl Iterator<Item = Mode>, scales: &[Scale]) -> Vec<Self> {
        let code = |(tensor, mode): (&crate::TensorLayout, Mode)| {
            let sent = scales[tensor.chunks()].iter().filter(|scale| !scale.is_empty());
            sent.map(|scale| scale.exponent()).min().map(|base| Self { mode, base }).unwrap_or_default()
        };
        layout.tensors().iter().zip(modes).map(code).collect()
    }
}

/// How the values of one chunk are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Signs,
    TwoScales,
    Rounded {
        bits: u8,
    },
    /// Rounded values of a chunk that may send all of them.
    Dense {
        bits: u8,
    },
}

impl Coding {
    /// None where the mode is not one of the run's values: a tensor of such a mode has nothing to send.
    fn of(mode: Mode, layout: &GradientLayout, chunk: &ChunkLayout) -> Option<Self> {
        match (mode, layout.rounded_bits()) {
            (Mode::Sign, None) => Some(Self::Signs),
            (Mode::Magnitude, None) => Some(Self::TwoScales),
            (Mode::Rounded, Some(bits)) if is_dense(chunk) => Some(Self::Dense { bits }),
            (Mode::Rounded, Some(bits)) => Some(Self::Rounded { bits }),
            (Mode::Rounded, None) | (Mode::Sign | Mode::Magnitude, Some(_)) => None,
        }
    }
}

/// Whether all values of a chunk may be sent.
fn is_dense(chunk: &ChunkLayout) -> bool {
    chunk.kept == chunk.len
}

/// Longest coding of these chunks in bytes: a partial chunk's head, then for each value one bit that ends the
/// quotient, the remainder, the sign and the magnitude; the quotients of a chunk sum to at most its length over 2^r.
pub(crate) fn max_bytes(layout: &GradientLayout, chunks: Range<usize>) -> usize {
    let bits: usize = layout.chunks()[chunks]
        .iter()
        .map(|chunk| {
            let rice_bits = layout.tensors()[chunk.tensor as usize].rice_bits();
            let head = 2 * SCALE_BITS + COUNT_BITS + two_scales::OCTAVE_BITS;
            let value_bits = rice_bits + 3 + layout.rounded_bits().map_or(0, rounding::span_bits);
            head as usize + usize::from(chunk.kept) * value_bits as usize + (usize::from(chunk.len) >> rice_bits)
        })
        .sum();
    bits.div_ceil(8)
}

/// Codes the chunks of one segment, one after the other.
pub(crate) struct SegmentEncoder<'a> {
    layout: &'a GradientLayout,
    codes: &'a [TensorCode],
    writer: BitWriter,
}

impl<'a> SegmentEncoder<'a> {
    pub fn new(layout: &'a GradientLayout, codes: &'a [TensorCode], segment: usize) -> Self {
        let bytes = max_bytes(layout, layout.segment_chunks(segment)) / 2;
        Self { layout, codes, writer: BitWriter::with_capacity(bytes) }
    }

    /// Codes the next chunk, which has this number.
    pub fn push(&mut self, chunk_index: usize, content: ChunkContent<'_>) {
        let chunk = &self.layout.chunks()[chunk_index];
        let base = self.codes[chunk.tensor as usize].base;
        let ChunkContent { scale, kept, magnitudes } = content;
        let writer = &mut self.writer;
        if scale.is_empty() {
            writer.push(EMPTY_CHUNK, SCALE_BITS);
            return;
        }
        let is_dense = is_dense(chunk) && matches!(magnitudes, Magnitudes::Rounded { .. });
        if kept.len() < usize::from(chunk.kept) && !is_dense {
            writer.push(PARTIAL_CHUNK, SCALE_BITS);
            writer.push(kept.len() as u64, COUNT_BITS);
        }
        writer.push(u64::from(scale.exponent() - base + BASE_SCALE), SCALE_BITS);
        let rice_bits = self.layout.tensors()[chunk.tensor as usize].rice_bits();
        match magnitudes {
            Magnitudes::OneScale => signs::encode(writer, kept, rice_bits),
            Magnitudes::TwoScales { octaves } => two_scales::encode(writer, octaves, kept, rice_bits),
            Magnitudes::Rounded { bits, sizes } if is_dense => {
                rounded::encode_dense(writer, chunk.len, kept, sizes, bits);
            }
            Magnitudes::Rounded { bits, sizes } => rounded::encode(writer, kept, sizes, rice_bits, bits),
        }
    }

    /// The segment's bytes.
    pub fn finish(self) -> Vec<u8> {
        self.writer.finish()
    }
}

/// Decodes the chunks of one segment, one after the other. Total: any bytes give chunks or a typed error. Allocates two
/// bytes (six for rounded values) for each value of the largest chunk, whatever the segment's length.
#[derive(Debug)]
pub(crate) struct SegmentDecoder<'a> {
    layout: &'a GradientLayout,
    codes: &'a [TensorCode],
    chunks: Range<usize>,
    reader: BitReader<'a>,
    /// What the last chunk sent.
    kept: Vec<u16>,
    sizes: Vec<u32>,
}

impl<'a> SegmentDecoder<'a> {
    pub fn new(layout: &'a GradientLayout, codes: &'a [TensorCode], segment: usize, bytes: &'a [u8]) -> Self {
        let chunks = layout.segment_chunks(segment);
        Self { layout, codes, chunks, reader: BitReader::new(bytes), kept: Vec::new(), sizes: Vec::new() }
    }

    /// The next chunk; none after the last one.
    pub fn next_chunk(&mut self) -> Option<Result<PayloadChunk<'_>, PayloadError>> {
        let chunk_index = self.chunks.next()?;
        let start = self.layout.chunks()[chunk_index].start;
        Some(self.decode_chunk(chunk_index).map(|(scale, magnitudes)| {
            let magnitudes = match magnitudes {
                Magnitudes::Rounded { bits, .. } => Magnitudes::Rounded { bits, sizes: &self.sizes },
                Magnitudes::TwoScales { octaves } => Magnitudes::TwoScales { octaves },
                Magnitudes::OneScale => Magnitudes::OneScale,
            };
            PayloadChunk::new(chunk_index, start, ChunkContent { scale, kept: &self.kept, magnitudes })
        }))
    }

    /// Whether the bytes end where the last chunk does; asked after it.
    pub fn check_end(&self) -> Result<(), PayloadError> {
        if self.reader.is_at_clean_end() { Ok(()) } else { Err(PayloadError::SegmentTail) }
    }

    /// Decodes a chunk into the buffers; the magnitudes that it gives are without their sizes.
    fn decode_chunk(&mut self, chunk_index: usize) -> Result<(Scale, Magnitudes<'static>), PayloadError> {
        let chunk = &self.layout.chunks()[chunk_index];
        let TensorCode { mode, base } = self.codes[chunk.tensor as usize];
        self.kept.clear();
        self.sizes.clear();
        let (scale, count) = decode_head(&mut self.reader, chunk, chunk_index, base)?;
        let rice_bits = self.layout.tensors()[chunk.tensor as usize].rice_bits();
        let place = Place { chunk, chunk_index, count, rice_bits };
        let coding = Coding::of(mode, self.layout, chunk);
        let (reader, kept, sizes) = (&mut self.reader, &mut self.kept, &mut self.sizes);
        let magnitudes = match coding {
            _ if count == 0 => Magnitudes::OneScale,
            None => return Err(PayloadError::BaseExponent { tensor: chunk.tensor as usize, base }),
            Some(Coding::Signs) => {
                signs::decode(reader, place, kept)?;
                Magnitudes::OneScale
            }
            Some(Coding::TwoScales) => {
                Magnitudes::TwoScales { octaves: two_scales::decode(reader, place, scale, kept)? }
            }
            Some(Coding::Rounded { bits }) => {
                rounded::decode(reader, place, bits, kept, sizes)?;
                rounded::check(chunk_index, scale, sizes, bits)?;
                Magnitudes::Rounded { bits, sizes: &[] }
            }
            Some(Coding::Dense { bits }) => {
                rounded::decode_dense(reader, place, bits, kept, sizes)?;
                rounded::check(chunk_index, scale, sizes, bits)?;
                Magnitudes::Rounded { bits, sizes: &[] }
            }
        };
        if self.reader.is_overrun() {
            return Err(PayloadError::SegmentOverrun { chunk: chunk_index });
        }
        Ok((scale, magnitudes))
    }
}

fn decode_head(
    reader: &mut BitReader<'_>,
    chunk: &ChunkLayout,
    chunk_index: usize,
    base: u8,
) -> Result<(Scale, u16), PayloadError> {
    let mut code = reader.take(SCALE_BITS);
    let mut count = chunk.kept;
    if code == EMPTY_CHUNK {
        return Ok((Scale::EMPTY, 0));
    }
    if code == PARTIAL_CHUNK {
        count = reader.take(COUNT_BITS) as u16;
        if count == 0 || count >= chunk.kept {
            return Err(PayloadError::PartialCount { chunk: chunk_index, count, allowed: chunk.kept });
        }
        code = reader.take(SCALE_BITS);
    }
    let scale = (code as u8).checked_sub(BASE_SCALE).and_then(|step| Scale::new(base + step));
    let scale = scale.ok_or(PayloadError::ScaleOutOfRange { chunk: chunk_index, code: code as u8, base })?;
    Ok((scale, count))
}

/// Where values are decoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub chunk: &'a ChunkLayout,
    pub chunk_index: usize,
    pub count: u16,
    pub rice_bits: u32,
}
