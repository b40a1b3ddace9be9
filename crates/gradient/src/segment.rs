//! The coding of a payload's segment: chunk after chunk, scale byte, then index gaps in Golomb-Rice code with signs.
//!
//! ```text
//! chunk     = scale byte, then kept × value            as many as the layout allows
//!           | 0                                        nothing is sent
//!           | 1, count (12 bits), scale byte, count × value      fewer than the layout allows
//! value     = quotient zeros, a one, remainder (r bits), sign bit (1 is minus)
//! ```
//! where a value's gap to the index before it is `quotient · 2^r + remainder`, and a scale byte is
//! `(exponent − base + 1) · 8 + mantissa` with the tensor's base exponent. Bits fill bytes from the least significant;
//! a segment ends with zero bits up to the byte.

use crate::bits::{BitReader, BitWriter};
use crate::layout::{ChunkLayout, GradientLayout};
use crate::payload::PayloadError;
use crate::scale::Scale;
use std::ops::Range;

const EMPTY_CHUNK: u64 = 0;
const PARTIAL_CHUNK: u64 = 1;
const SCALE_BITS: u32 = 8;
const COUNT_BITS: u32 = 12;

/// Largest difference between the scale exponents of a tensor: the byte's exponent field is 1..=31.
pub(crate) const MAX_EXPONENT_SPREAD: u8 = 30;

/// A kept value: its index in the chunk (12 bits) and, on top, 1 for minus.
pub(crate) const MINUS: u16 = 1 << 15;

/// What some consecutive chunks send.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ChunkContents {
    /// By chunk.
    pub scales: Vec<Scale>,
    /// Number of kept values, by chunk.
    pub counts: Vec<u16>,
    /// The kept values of all chunks, ascending in each.
    pub kept: Vec<u16>,
}

/// Longest coding of these chunks in bytes: a partial chunk's head, then for each value one bit that ends the
/// quotient, the remainder and the sign; the quotients of a chunk sum to at most its length over 2^r.
pub(crate) fn max_bytes(layout: &GradientLayout, chunks: Range<usize>) -> usize {
    let bits: usize = layout.chunks()[chunks]
        .iter()
        .map(|chunk| {
            let rice_bits = layout.tensors()[chunk.tensor as usize].rice_bits();
            let head = 2 * SCALE_BITS + COUNT_BITS;
            head as usize + usize::from(chunk.kept) * (rice_bits as usize + 2) + (usize::from(chunk.len) >> rice_bits)
        })
        .sum();
    bits.div_ceil(8)
}

/// Codes chunks `chunks`, whose contents are `scales` (by chunk) and `kept` (by chunk, ascending).
pub(crate) fn encode<'a>(
    layout: &GradientLayout,
    bases: &[u8],
    chunks: Range<usize>,
    content: impl Fn(usize) -> (Scale, &'a [u16]),
) -> Vec<u8> {
    let mut writer = BitWriter::with_capacity(max_bytes(layout, chunks.clone()) / 2);
    for chunk_index in chunks {
        let chunk = &layout.chunks()[chunk_index];
        let (scale, kept) = content(chunk_index);
        if scale.is_empty() {
            writer.push(EMPTY_CHUNK, SCALE_BITS);
            continue;
        }
        if kept.len() < usize::from(chunk.kept) {
            writer.push(PARTIAL_CHUNK, SCALE_BITS);
            writer.push(kept.len() as u64, COUNT_BITS);
        }
        let field = scale.exponent() - bases[chunk.tensor as usize] + 1;
        writer.push(u64::from(field) << 3 | u64::from(scale.mantissa()), SCALE_BITS);
        encode_values(&mut writer, kept, layout.tensors()[chunk.tensor as usize].rice_bits());
    }
    writer.finish()
}

#[inline]
fn encode_values(writer: &mut BitWriter, kept: &[u16], rice_bits: u32) {
    let mask = (1u64 << rice_bits) - 1;
    let mut next = 0u64;
    for value in kept {
        let index = u64::from(value & !MINUS);
        let gap = index - next;
        next = index + 1;
        let quotient = (gap >> rice_bits) as u32;
        let rest = (u64::from(value >> 15) << rice_bits | gap & mask) << 1 | 1;
        if quotient <= 40 {
            writer.push(rest << quotient, quotient + rice_bits + 2);
            continue;
        }
        let mut zeros = quotient;
        while zeros > 0 {
            let step = zeros.min(40);
            writer.push(0, step);
            zeros -= step;
        }
        writer.push(rest, rice_bits + 2);
    }
}

/// Decodes chunks `chunks` from all of `bytes`. Total; allocates at most two bytes for each value that the layout
/// lets the chunks keep or that fits the bytes, whichever is less.
pub(crate) fn decode(
    layout: &GradientLayout,
    bases: &[u8],
    chunks: Range<usize>,
    bytes: &[u8],
) -> Result<ChunkContents, PayloadError> {
    let allowed: usize = layout.chunks()[chunks.clone()].iter().map(|chunk| usize::from(chunk.kept)).sum();
    let mut contents = ChunkContents {
        scales: Vec::with_capacity(chunks.len()),
        counts: Vec::with_capacity(chunks.len()),
        // A value is at least two bits.
        kept: Vec::with_capacity(allowed.min(4 * bytes.len())),
    };
    let mut reader = BitReader::new(bytes);
    for chunk_index in chunks {
        let chunk = &layout.chunks()[chunk_index];
        let (scale, count) = decode_head(&mut reader, chunk, chunk_index, bases[chunk.tensor as usize])?;
        let rice_bits = layout.tensors()[chunk.tensor as usize].rice_bits();
        decode_values(&mut reader, chunk, chunk_index, count, rice_bits, &mut contents.kept)?;
        if reader.is_overrun() {
            return Err(PayloadError::SegmentOverrun { chunk: chunk_index });
        }
        contents.scales.push(scale);
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
    let mut byte = reader.take(SCALE_BITS);
    let mut count = chunk.kept;
    if byte == EMPTY_CHUNK {
        return Ok((Scale::EMPTY, 0));
    }
    if byte == PARTIAL_CHUNK {
        count = reader.take(COUNT_BITS) as u16;
        if count == 0 || count >= chunk.kept {
            return Err(PayloadError::PartialCount { chunk: chunk_index, count, allowed: chunk.kept });
        }
        byte = reader.take(SCALE_BITS);
    }
    let field = (byte >> 3) as u8;
    let scale = field.checked_sub(1).and_then(|step| Scale::new(base + step, (byte & 7) as u8));
    let scale = scale.ok_or(PayloadError::ScaleOutOfRange { chunk: chunk_index, byte: byte as u8, base })?;
    Ok((scale, count))
}

#[inline]
fn decode_values(
    reader: &mut BitReader<'_>,
    chunk: &ChunkLayout,
    chunk_index: usize,
    count: u16,
    rice_bits: u32,
    kept: &mut Vec<u16>,
) -> Result<(), PayloadError> {
    let mask = (1u64 << rice_bits) - 1;
    let length = u64::from(chunk.len);
    let mut next = 0u64;
    for _ in 0..count {
        let word = reader.peek();
        let mut quotient = word.trailing_zeros();
        let rest = if quotient + rice_bits + 2 <= BitReader::PEEK_BITS {
            reader.skip(quotient + rice_bits + 2);
            word >> (quotient + 1)
        } else {
            quotient = decode_long_quotient(reader, length >> rice_bits);
            reader.take(rice_bits + 1)
        };
        let index = next + (u64::from(quotient) << rice_bits | rest & mask);
        if index >= length {
            return Err(PayloadError::IndexOutOfRange { chunk: chunk_index, index: index as u32, len: chunk.len });
        }
        next = index + 1;
        kept.push(index as u16 | ((rest >> rice_bits & 1) as u16) << 15);
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
