//! Mode 0: each kept value by its sign. Its magnitude is the chunk's scale.
//!
//! ```text
//! value = quotient zeros, a one, remainder (r bits), sign bit (1 is minus)
//! ```
//! A value's gap to the index before it is `quotient · 2^r + remainder`. The other sparse modes write further bits after
//! the sign.

use super::chunk::{INDEX, LARGE};
use super::segment::Place;
use crate::bits::{BitReader, BitWriter};
use crate::payload::PayloadError;

pub(crate) fn encode(writer: &mut BitWriter, kept: &[u16], rice_bits: u32) {
    encode_values::<1>(writer, kept, rice_bits);
}

pub(crate) fn decode(reader: &mut BitReader<'_>, place: Place<'_>, kept: &mut Vec<u16>) -> Result<(), PayloadError> {
    decode_values::<1>(reader, place, kept)
}

/// Each value's marks, `MARKS` bits of them: its sign, then which of two scales it has.
#[inline]
pub(super) fn encode_values<const MARKS: u32>(writer: &mut BitWriter, kept: &[u16], rice_bits: u32) {
    let mut next = 0u64;
    for value in kept {
        next = encode_value::<MARKS>(writer, *value, next, rice_bits);
    }
}

/// One value, whose index is at least `next`; gives the least index of the value after it.
#[inline(always)]
pub(super) fn encode_value<const MARKS: u32>(writer: &mut BitWriter, value: u16, next: u64, rice_bits: u32) -> u64 {
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

#[inline]
pub(super) fn decode_values<const MARKS: u32>(
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

/// One value, whose index is at least `next`; gives the least index of the value after it.
#[inline(always)]
pub(super) fn decode_value<const MARKS: u32>(
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
