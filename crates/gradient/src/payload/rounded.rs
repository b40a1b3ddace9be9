//! Mode 2: each kept value by its sign and a size of its own, in steps of the chunk.
//!
//! ```text
//! value = quotient zeros, a one, remainder, sign bit, size (bits − 1)
//! chunk = scale, then len × (sign bit, size)            where all may be sent; a size of zero sends nothing
//! ```
//! The scale is the step. A chunk that may send all of its values (dense) has no indices and no partial form.

use super::chunk::INDEX;
use super::rounding;
use super::segment::Place;
use super::signs;
use crate::bits::{BitReader, BitWriter};
use crate::payload::PayloadError;
use crate::scale::Scale;

pub(crate) fn encode(writer: &mut BitWriter, kept: &[u16], sizes: &[u32], rice_bits: u32, bits: u8) {
    let size_bits = rounding::span_bits(bits);
    let mut next = 0u64;
    for (value, size) in kept.iter().zip(sizes) {
        next = signs::encode_value::<1>(writer, *value, next, rice_bits);
        writer.push(u64::from(*size), size_bits);
    }
}

pub(crate) fn encode_dense(writer: &mut BitWriter, len: u16, kept: &[u16], sizes: &[u32], bits: u8) {
    let size_bits = rounding::span_bits(bits);
    let mut sent = kept.iter().zip(sizes).peekable();
    for index in 0..len {
        let own = sent.next_if(|(value, _)| **value & INDEX == index);
        let (value, size) = own.map_or((0, 0), |(value, size)| (*value, *size));
        writer.push(u64::from(size) << 1 | u64::from(value >> 15), size_bits + 1);
    }
}

/// Decodes into `kept` and `sizes`, which are empty.
pub(crate) fn decode(
    reader: &mut BitReader<'_>,
    place: Place<'_>,
    bits: u8,
    kept: &mut Vec<u16>,
    sizes: &mut Vec<u32>,
) -> Result<(), PayloadError> {
    let size_bits = rounding::span_bits(bits);
    let mut next = 0u64;
    for _ in 0..place.count {
        next = signs::decode_value::<1>(reader, place, next, kept)?;
        let size = reader.take(size_bits) as u32;
        if size == 0 {
            return Err(PayloadError::Rounding { chunk: place.chunk_index });
        }
        sizes.push(size);
    }
    Ok(())
}

/// Decodes the values of a chunk without indices.
pub(crate) fn decode_dense(
    reader: &mut BitReader<'_>,
    place: Place<'_>,
    bits: u8,
    kept: &mut Vec<u16>,
    sizes: &mut Vec<u32>,
) -> Result<(), PayloadError> {
    let Place { chunk, chunk_index, count, .. } = place;
    let wrong = Err(PayloadError::Rounding { chunk: chunk_index });
    // There is no partial form: all values are there, some of them zero.
    if count < chunk.kept {
        return wrong;
    }
    for index in 0..chunk.len {
        let value = reader.take(rounding::span_bits(bits) + 1);
        let (minus, size) = ((value & 1) as u16, (value >> 1) as u32);
        match size {
            0 if minus == 1 => return wrong,
            0 => {}
            _ => {
                kept.push(index | minus << 15);
                sizes.push(size);
            }
        }
    }
    if kept.is_empty() { wrong } else { Ok(()) }
}

/// Whether the step is the one that these sizes have in their only coding.
pub(crate) fn check(chunk: usize, step: Scale, sizes: &[u32], bits: u8) -> Result<(), PayloadError> {
    if rounding::is_canonical(step, sizes, bits) { Ok(()) } else { Err(PayloadError::Rounding { chunk }) }
}
