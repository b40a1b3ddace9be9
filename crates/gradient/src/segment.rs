//! The coding of a payload's segment: chunk after chunk, its scale, then index gaps in Golomb-Rice code with signs.
//!
//! ```text
//! chunk     = scale (5 bits), then kept × value         as many as the layout allows
//!           | 0                                         nothing is sent
//!           | 1, count (12 bits), scale, count × value  fewer than the layout allows
//! value     = quotient zeros, a one, remainder (r bits), sign bit (1 is minus)
//! ```
//! In mode 1 a scale is followed by three bits, the octaves from the smaller to the larger scale, and a value's sign bit
//! by another one, which is 1 for the larger scale. Where the three bits are zero there is one scale and
//! no value is marked; else there are values of both kinds. A value's gap to the index before it is
//! `quotient · 2^r + remainder`, and a scale is `exponent − base + 2` with the tensor's base exponent.
//! Bits fill bytes from the least significant; a segment ends with zero bits up to the byte.

use crate::bits::{BitReader, BitWriter};
use crate::layout::{ChunkLayout, GradientLayout, Mode};
use crate::payload::PayloadError;
use crate::scale::Scale;
use std::ops::Range;

const EMPTY_CHUNK: u64 = 0;
const PARTIAL_CHUNK: u64 = 1;
/// The code of a tensor's smallest scale.
const BASE_SCALE: u8 = 2;
const SCALE_BITS: u32 = 5;
const COUNT_BITS: u32 = 12;
/// Bits of the octaves from the smaller to the larger scale of a chunk.
pub(crate) const STEPS_BITS: u32 = 3;

/// Most octaves between the two scales of a chunk.
pub(crate) const MAX_STEPS: u8 = (1 << STEPS_BITS) - 1;

/// Largest difference between the scale exponents of a tensor.
pub(crate) const MAX_EXPONENT_SPREAD: u8 = (1 << SCALE_BITS) - 1 - BASE_SCALE;

/// A kept value: its index in the chunk (12 bits) and, on top, 1 for minus.
pub(crate) const MINUS: u16 = 1 << 15;

/// Marks a kept value of the larger scale.
pub(crate) const LARGE: u16 = 1 << 14;

/// The index of a kept value.
pub(crate) const INDEX: u16 = LARGE - 1;

/// How a payload codes a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TensorCode {
    pub mode: Mode,
    /// The smallest scale exponent of the tensor's chunks.
    pub base: u8,
}

/// What some consecutive chunks send.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ChunkContents {
    /// The scale, or the smaller one, by chunk.
    pub scales: Vec<Scale>,
    /// Octaves from the smaller to the larger scale, by chunk.
    pub steps: Vec<u8>,
    /// Number of kept values, by chunk.
    pub counts: Vec<u16>,
    /// The kept values of all chunks, ascending in each.
    pub kept: Vec<u16>,
}

/// Longest coding of these chunks in bytes: a partial chunk's head, then for each value one bit that ends the
/// quotient, the remainder, the sign and the magnitude; the quotients of a chunk sum to at most its length over 2^r.
pub(crate) fn max_bytes(layout: &GradientLayout, chunks: Range<usize>) -> usize {
    let bits: usize = layout.chunks()[chunks]
        .iter()
        .map(|chunk| {
            let rice_bits = layout.tensors()[chunk.tensor as usize].rice_bits();
            let head = 2 * SCALE_BITS + COUNT_BITS + STEPS_BITS;
            head as usize + usize::from(chunk.kept) * (rice_bits as usize + 3) + (usize::from(chunk.len) >> rice_bits)
        })
        .sum();
    bits.div_ceil(8)
}

/// Codes chunks `chunks`; `content` gives a chunk's scale, steps to the larger one, and kept values, ascending.
pub(crate) fn encode<'a>(
    layout: &GradientLayout,
    codes: &[TensorCode],
    chunks: Range<usize>,
    content: impl Fn(usize) -> (Scale, u8, &'a [u16]),
) -> Vec<u8> {
    let mut writer = BitWriter::with_capacity(max_bytes(layout, chunks.clone()) / 2);
    for chunk_index in chunks {
        let chunk = &layout.chunks()[chunk_index];
        let TensorCode { mode, base } = codes[chunk.tensor as usize];
        let (scale, steps, kept) = content(chunk_index);
        if scale.is_empty() {
            writer.push(EMPTY_CHUNK, SCALE_BITS);
            continue;
        }
        if kept.len() < usize::from(chunk.kept) {
            writer.push(PARTIAL_CHUNK, SCALE_BITS);
            writer.push(kept.len() as u64, COUNT_BITS);
        }
        writer.push(u64::from(scale.exponent() - base + BASE_SCALE), SCALE_BITS);
        let rice_bits = layout.tensors()[chunk.tensor as usize].rice_bits();
        match mode {
            Mode::Sign => encode_values::<1>(&mut writer, kept, rice_bits),
            Mode::Magnitude => {
                writer.push(u64::from(steps), STEPS_BITS);
                encode_values::<2>(&mut writer, kept, rice_bits);
            }
        }
    }
    writer.finish()
}

/// Each value's marks, `MARKS` bits of them: its sign, then its magnitude.
#[inline]
fn encode_values<const MARKS: u32>(writer: &mut BitWriter, kept: &[u16], rice_bits: u32) {
    let mask = (1u64 << rice_bits) - 1;
    let mut next = 0u64;
    for value in kept {
        let index = u64::from(value & INDEX);
        let gap = index - next;
        next = index + 1;
        let quotient = (gap >> rice_bits) as u32;
        let marks = u64::from(value >> 15 | if MARKS == 2 { value >> 13 & 2 } else { 0 });
        let rest = (marks << rice_bits | gap & mask) << 1 | 1;
        if quotient <= 40 {
            writer.push(rest << quotient, quotient + rice_bits + 1 + MARKS);
            continue;
        }
        let mut zeros = quotient;
        while zeros > 0 {
            let step = zeros.min(40);
            writer.push(0, step);
            zeros -= step;
        }
        writer.push(rest, rice_bits + 1 + MARKS);
    }
}

/// Decodes chunks `chunks` from all of `bytes`. Total; allocates at most two bytes for each value that the layout
/// lets the chunks keep or that fits the bytes, whichever is less.
pub(crate) fn decode(
    layout: &GradientLayout,
    codes: &[TensorCode],
    chunks: Range<usize>,
    bytes: &[u8],
) -> Result<ChunkContents, PayloadError> {
    let allowed: usize = layout.chunks()[chunks.clone()].iter().map(|chunk| usize::from(chunk.kept)).sum();
    let mut contents = ChunkContents {
        scales: Vec::with_capacity(chunks.len()),
        steps: Vec::with_capacity(chunks.len()),
        counts: Vec::with_capacity(chunks.len()),
        // A value is at least two bits.
        kept: Vec::with_capacity(allowed.min(4 * bytes.len())),
    };
    let mut reader = BitReader::new(bytes);
    for chunk_index in chunks {
        let chunk = &layout.chunks()[chunk_index];
        let TensorCode { mode, base } = codes[chunk.tensor as usize];
        let (scale, count) = decode_head(&mut reader, chunk, chunk_index, base)?;
        let rice_bits = layout.tensors()[chunk.tensor as usize].rice_bits();
        let place = Place { chunk, chunk_index, count, rice_bits };
        let mut steps = 0;
        if mode == Mode::Sign || count == 0 {
            decode_values::<1>(&mut reader, place, &mut contents.kept)?;
        } else {
            steps = reader.take(STEPS_BITS) as u8;
            let first = contents.kept.len();
            decode_values::<2>(&mut reader, place, &mut contents.kept)?;
            check_magnitudes(chunk_index, scale, steps, &contents.kept[first..])?;
        }
        if reader.is_overrun() {
            return Err(PayloadError::SegmentOverrun { chunk: chunk_index });
        }
        contents.scales.push(scale);
        contents.steps.push(steps);
        contents.counts.push(count);
    }
    if !reader.is_at_clean_end() {
        return Err(PayloadError::SegmentTail);
    }
    Ok(contents)
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

/// Two scales are both used, and one scale marks nothing: a content has one coding.
fn check_magnitudes(chunk: usize, scale: Scale, steps: u8, kept: &[u16]) -> Result<(), PayloadError> {
    let large = kept.iter().filter(|value| *value & LARGE != 0).count();
    let is_used = if steps == 0 { large == 0 } else { large > 0 && large < kept.len() };
    if is_used && scale.raised(steps).is_some() { Ok(()) } else { Err(PayloadError::Magnitudes { chunk, steps }) }
}

/// Where values are decoded.
#[derive(Clone, Copy)]
struct Place<'a> {
    chunk: &'a ChunkLayout,
    chunk_index: usize,
    count: u16,
    rice_bits: u32,
}

#[inline]
fn decode_values<const MARKS: u32>(
    reader: &mut BitReader<'_>,
    place: Place<'_>,
    kept: &mut Vec<u16>,
) -> Result<(), PayloadError> {
    let Place { chunk, chunk_index, count, rice_bits } = place;
    let mask = (1u64 << rice_bits) - 1;
    let length = u64::from(chunk.len);
    let mut next = 0u64;
    for _ in 0..count {
        let word = reader.peek();
        let mut quotient = word.trailing_zeros();
        let rest = if quotient + rice_bits + 1 + MARKS <= BitReader::PEEK_BITS {
            reader.skip(quotient + rice_bits + 1 + MARKS);
            word >> (quotient + 1)
        } else {
            quotient = decode_long_quotient(reader, length >> rice_bits);
            reader.take(rice_bits + MARKS)
        };
        let index = next + (u64::from(quotient) << rice_bits | rest & mask);
        if index >= length {
            return Err(PayloadError::IndexOutOfRange { chunk: chunk_index, index: index as u32, len: chunk.len });
        }
        next = index + 1;
        let marks = (rest >> rice_bits) as u16;
        let large = if MARKS == 2 { marks << 13 & LARGE } else { 0 };
        kept.push(index as u16 | marks << 15 | large);
    }
    Ok(())
}

/// A quotient whose zeros do not fit one look ahead; stops at the first over `limit`, which no index can have.
#[cold]
fn decode_long_quotient(reader: &mut BitReader<'_>, limit: u64) -> u32 {
    let mut quotient = 0;
    while u64::from(quotient) <= limit {
        if reader.take(1) == 1 {
            return quotient;
        }
        quotient += 1;
    }
    quotient
}
