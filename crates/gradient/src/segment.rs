//! The coding of a payload's segment: chunk after chunk, its scale, then index gaps in Golomb-Rice code with signs.
//!
//! ```text
//! chunk     = scale (5 bits), then kept × value         as many as the layout allows
//!           | 0                                         nothing is sent
//!           | 1, count (12 bits), scale, count × value  fewer than the layout allows
//! value     = quotient zeros, a one, remainder (r bits), sign bit (1 is minus)
//! ```
//! In mode 1 a scale is followed by three bits, the octaves from the smaller to the larger scale, and a value's sign
//! bit by another one, which is 1 for the larger scale. Where the three bits are zero there is one scale and no value
//! is marked; else there are values of both kinds. A value's gap to the index before it is
//! `quotient · 2^r + remainder`, and a scale is `exponent − base + 2` with the tensor's base exponent.
//!
//! In mode 2 the scale is the chunk's step, a value is followed by its size, and a chunk that may send all of its
//! values has no indices:
//! ```text
//! value = quotient zeros, a one, remainder, sign bit, size (bits − 1)
//! chunk = scale, then len × (sign bit, size)            where all may be sent; a size of zero sends nothing
//! ```
//! Bits fill bytes from the least significant; a segment ends with zero bits up to the byte.

use crate::bits::{BitReader, BitWriter};
use crate::layout::{ChunkLayout, GradientLayout, Mode};
use crate::payload::PayloadError;
use crate::rounding;
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
    /// The sizes of rounded values, one for each kept; empty in the other modes.
    pub sizes: Vec<u32>,
}

/// What one chunk sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChunkContent<'a> {
    pub scale: Scale,
    /// Octaves from the smaller to the larger scale.
    pub steps: u8,
    /// Ascending.
    pub kept: &'a [u16],
    /// One for each kept value in mode 2, else none.
    pub sizes: &'a [u32],
}

/// Longest coding of these chunks in bytes: a partial chunk's head, then for each value one bit that ends the
/// quotient, the remainder, the sign and the magnitude; the quotients of a chunk sum to at most its length over 2^r.
pub(crate) fn max_bytes(layout: &GradientLayout, chunks: Range<usize>) -> usize {
    let bits: usize = layout.chunks()[chunks]
        .iter()
        .map(|chunk| {
            let rice_bits = layout.tensors()[chunk.tensor as usize].rice_bits();
            let head = 2 * SCALE_BITS + COUNT_BITS + STEPS_BITS;
            let value_bits = rice_bits + 3 + layout.rounded_bits().map_or(0, rounding::span_bits);
            head as usize + usize::from(chunk.kept) * value_bits as usize + (usize::from(chunk.len) >> rice_bits)
        })
        .sum();
    bits.div_ceil(8)
}

/// Codes chunks `chunks`; `content` gives what a chunk sends.
pub(crate) fn encode<'a>(
    layout: &GradientLayout,
    codes: &[TensorCode],
    chunks: Range<usize>,
    content: impl Fn(usize) -> ChunkContent<'a>,
) -> Vec<u8> {
    let mut writer = BitWriter::with_capacity(max_bytes(layout, chunks.clone()) / 2);
    for chunk_index in chunks {
        let chunk = &layout.chunks()[chunk_index];
        let TensorCode { mode, base } = codes[chunk.tensor as usize];
        let content = content(chunk_index);
        let (scale, kept) = (content.scale, content.kept);
        if scale.is_empty() {
            writer.push(EMPTY_CHUNK, SCALE_BITS);
            continue;
        }
        let is_dense = mode == Mode::Rounded && chunk.kept == chunk.len;
        if kept.len() < usize::from(chunk.kept) && !is_dense {
            writer.push(PARTIAL_CHUNK, SCALE_BITS);
            writer.push(kept.len() as u64, COUNT_BITS);
        }
        writer.push(u64::from(scale.exponent() - base + BASE_SCALE), SCALE_BITS);
        let rice_bits = layout.tensors()[chunk.tensor as usize].rice_bits();
        let size_bits = layout.rounded_bits().map_or(0, rounding::span_bits);
        match mode {
            Mode::Sign => encode_values::<1>(&mut writer, kept, rice_bits),
            Mode::Magnitude => {
                writer.push(u64::from(content.steps), STEPS_BITS);
                encode_values::<2>(&mut writer, kept, rice_bits);
            }
            Mode::Rounded if is_dense => encode_dense(&mut writer, chunk.len, content, size_bits),
            Mode::Rounded => encode_rounded(&mut writer, content, rice_bits, size_bits),
        }
    }
    writer.finish()
}

/// Each value's marks, `MARKS` bits of them: its sign, then its magnitude.
#[inline]
fn encode_values<const MARKS: u32>(writer: &mut BitWriter, kept: &[u16], rice_bits: u32) {
    let mut next = 0u64;
    for value in kept {
        next = encode_value::<MARKS>(writer, *value, next, rice_bits);
    }
}

/// One value, whose index is at least `next`; gives the least index of the value behind it.
#[inline(always)]
fn encode_value<const MARKS: u32>(writer: &mut BitWriter, value: u16, next: u64, rice_bits: u32) -> u64 {
    let mask = (1u64 << rice_bits) - 1;
    let index = u64::from(value & INDEX);
    let gap = index - next;
    let quotient = (gap >> rice_bits) as u32;
    let marks = u64::from(value >> 15 | if MARKS == 2 { value >> 13 & 2 } else { 0 });
    let rest = (marks << rice_bits | gap & mask) << 1 | 1;
    if quotient <= 40 {
        writer.push(rest << quotient, quotient + rice_bits + 1 + MARKS);
        return index + 1;
    }
    let mut zeros = quotient;
    while zeros > 0 {
        let step = zeros.min(40);
        writer.push(0, step);
        zeros -= step;
    }
    writer.push(rest, rice_bits + 1 + MARKS);
    index + 1
}

fn encode_rounded(writer: &mut BitWriter, content: ChunkContent<'_>, rice_bits: u32, size_bits: u32) {
    let mut next = 0u64;
    for (value, size) in content.kept.iter().zip(content.sizes) {
        next = encode_value::<1>(writer, *value, next, rice_bits);
        writer.push(u64::from(*size), size_bits);
    }
}

fn encode_dense(writer: &mut BitWriter, len: u16, content: ChunkContent<'_>, size_bits: u32) {
    let mut sent = content.kept.iter().zip(content.sizes).peekable();
    for index in 0..len {
        let own = sent.next_if(|(value, _)| **value & INDEX == index);
        let (value, size) = own.map_or((0, 0), |(value, size)| (*value, *size));
        writer.push(u64::from(size) << 1 | u64::from(value >> 15), size_bits + 1);
    }
}

/// Decodes chunks `chunks` from all of `bytes`. Total; allocates at most two bytes (six for rounded values) for each
/// value that the layout lets the chunks keep or that fits the bytes, whichever is less.
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
        // A value is at least two bits, so no more fit the bytes.
        kept: Vec::with_capacity(allowed.min(4 * bytes.len())),
        sizes: Vec::with_capacity(layout.rounded_bits().map_or(0, |_| allowed.min(4 * bytes.len()))),
    };
    let mut reader = BitReader::new(bytes);
    for chunk_index in chunks {
        let chunk = &layout.chunks()[chunk_index];
        let TensorCode { mode, base } = codes[chunk.tensor as usize];
        let is_dense = mode == Mode::Rounded && chunk.kept == chunk.len;
        let (scale, mut count) = decode_head(&mut reader, chunk, chunk_index, base)?;
        let rice_bits = layout.tensors()[chunk.tensor as usize].rice_bits();
        let size_bits = layout.rounded_bits().map_or(0, rounding::span_bits);
        let place = Place { chunk, chunk_index, count, rice_bits };
        let (first, mut steps) = (contents.kept.len(), 0);
        match mode {
            _ if count == 0 => {}
            // A run's values are all rounded or none: a tensor of another mode has nothing to say.
            Mode::Sign | Mode::Magnitude if layout.rounded_bits().is_some() => {
                return Err(PayloadError::BaseExponent { tensor: chunk.tensor as usize, base });
            }
            Mode::Sign => decode_values::<1>(&mut reader, place, &mut contents.kept)?,
            Mode::Magnitude => {
                steps = reader.take(STEPS_BITS) as u8;
                decode_values::<2>(&mut reader, place, &mut contents.kept)?;
                check_magnitudes(chunk_index, scale, steps, &contents.kept[first..])?;
            }
            Mode::Rounded if is_dense => {
                count = decode_dense(&mut reader, place, size_bits, &mut contents)?;
            }
            Mode::Rounded => decode_rounded(&mut reader, place, size_bits, &mut contents)?,
        }
        if let (Mode::Rounded, Some(bits)) = (mode, layout.rounded_bits())
            && !rounding::is_canonical(scale, &contents.sizes[first..], bits)
        {
            return Err(PayloadError::Rounding { chunk: chunk_index });
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
    let mut next = 0u64;
    for _ in 0..place.count {
        next = decode_value::<MARKS>(reader, place, next, kept)?;
    }
    Ok(())
}

/// One value, whose index is at least `next`; gives the least index of the value behind it.
#[inline(always)]
fn decode_value<const MARKS: u32>(
    reader: &mut BitReader<'_>,
    place: Place<'_>,
    next: u64,
    kept: &mut Vec<u16>,
) -> Result<u64, PayloadError> {
    let Place { chunk, chunk_index, rice_bits, .. } = place;
    let mask = (1u64 << rice_bits) - 1;
    let length = u64::from(chunk.len);
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
    let marks = (rest >> rice_bits) as u16;
    let large = if MARKS == 2 { marks << 13 & LARGE } else { 0 };
    kept.push(index as u16 | marks << 15 | large);
    Ok(index + 1)
}

fn decode_rounded(
    reader: &mut BitReader<'_>,
    place: Place<'_>,
    size_bits: u32,
    contents: &mut ChunkContents,
) -> Result<(), PayloadError> {
    let mut next = 0u64;
    for _ in 0..place.count {
        next = decode_value::<1>(reader, place, next, &mut contents.kept)?;
        let size = reader.take(size_bits) as u32;
        if size == 0 {
            return Err(PayloadError::Rounding { chunk: place.chunk_index });
        }
        contents.sizes.push(size);
    }
    Ok(())
}

/// The values of a chunk without indices; gives how many are not zero.
fn decode_dense(
    reader: &mut BitReader<'_>,
    place: Place<'_>,
    size_bits: u32,
    contents: &mut ChunkContents,
) -> Result<u16, PayloadError> {
    let Place { chunk, chunk_index, count, .. } = place;
    let wrong = Err(PayloadError::Rounding { chunk: chunk_index });
    // There is no partial form: all values are there, some of them zero.
    if count < chunk.kept {
        return wrong;
    }
    let before = contents.kept.len();
    for index in 0..chunk.len {
        let value = reader.take(size_bits + 1);
        let (minus, size) = ((value & 1) as u16, (value >> 1) as u32);
        match size {
            0 if minus == 1 => return wrong,
            0 => {}
            _ => {
                contents.kept.push(index | minus << 15);
                contents.sizes.push(size);
            }
        }
    }
    match (contents.kept.len() - before) as u16 {
        0 => wrong,
        sent => Ok(sent),
    }
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
