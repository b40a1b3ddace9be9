//! Mode 1: each kept value by its sign and by which of the chunk's two scales it has.
//!
//! ```text
//! chunk = scale, octaves (3 bits), then kept × value
//! value = quotient zeros, a one, remainder (r bits), sign bit, a bit that is 1 for the larger scale
//! ```
//! The three bits are the octaves from the smaller to the larger scale. Where they are zero there is one scale and no
//! value is marked; else there are values of both kinds. So a content has one coding.

use super::chunk::LARGE;
use super::segment::Place;
use super::signs;
use crate::bits::{BitReader, BitWriter};
use crate::payload::PayloadError;
use crate::scale::Scale;

/// Bits of the octaves from the smaller to the larger scale of a chunk.
pub(crate) const OCTAVE_BITS: u32 = 3;

/// Most octaves between the two scales of a chunk.
pub(crate) const MAX_OCTAVES: u8 = (1 << OCTAVE_BITS) - 1;

pub(crate) fn encode(writer: &mut BitWriter, octaves: u8, kept: &[u16], rice_bits: u32) {
    writer.push(u64::from(octaves), OCTAVE_BITS);
    signs::encode_values::<2>(writer, kept, rice_bits);
}

/// Gives the octaves from the smaller scale, which is `scale`, to the larger one.
pub(crate) fn decode(
    reader: &mut BitReader<'_>,
    place: Place<'_>,
    scale: Scale,
    kept: &mut Vec<u16>,
) -> Result<u8, PayloadError> {
    let octaves = reader.take(OCTAVE_BITS) as u8;
    signs::decode_values::<2>(reader, place, kept)?;
    let large = kept.iter().filter(|value| *value & LARGE != 0).count();
    let is_used = if octaves == 0 { large == 0 } else { large > 0 && large < kept.len() };
    if is_used && scale.raised(octaves).is_some() {
        Ok(octaves)
    } else {
        Err(PayloadError::SecondScale { chunk: place.chunk_index, octaves })
    }
}
