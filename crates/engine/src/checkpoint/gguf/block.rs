//! How GGUF packs the values of a tensor: plain, or in blocks of 32 small integers with a common scale.
//!
//! | type | bytes of a block | value |
//! | --- | --- | --- |
//! | Q8_0 | scale d (f16), 32 x i8 | `d q` |
//! | Q4_0 | d (f16), 16 bytes | `d (q - 8)` |
//! | Q4_1 | d (f16), minimum m (f16), 16 bytes | `d q + m` |
//!
//! The 16 bytes hold the first 16 values in their low halves, the others in their high halves.

use crate::checkpoint::Precision;

/// Values of one block of integers.
const BLOCK: usize = 32;

/// A type of packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockType {
    Plain(Precision),
    Q4_0,
    Q4_1,
    Q8_0,
}

impl BlockType {
    /// The type of a code in a file.
    pub(super) fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            0 => Self::Plain(Precision::F32),
            1 => Self::Plain(Precision::F16),
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            8 => Self::Q8_0,
            30 => Self::Plain(Precision::Bf16),
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain(precision) => precision.safetensors_name(),
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q8_0 => "Q8_0",
        }
    }

    /// Values and bytes of one block.
    fn block(self) -> (usize, usize) {
        match self {
            Self::Plain(precision) => (1, precision.bytes()),
            Self::Q4_0 => (BLOCK, 2 + BLOCK / 2),
            Self::Q4_1 => (BLOCK, 4 + BLOCK / 2),
            Self::Q8_0 => (BLOCK, 2 + BLOCK),
        }
    }

    /// Bytes of a tensor of this shape; none where a row is not whole blocks or the size is beyond counting.
    pub(super) fn size_of(self, shape: &[usize]) -> Option<usize> {
        let (values, bytes) = self.block();
        let row = shape.last().copied().unwrap_or(1);
        let total = shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length))?;
        if row.is_multiple_of(values) { (total / values).checked_mul(bytes) } else { None }
    }

    /// The values; `bytes` are whole blocks.
    pub(super) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let (values, block_bytes) = self.block();
        let mut out = vec![0.0; bytes.len() / block_bytes * values];
        if let Self::Plain(precision) = self {
            precision.decode(bytes, &mut out);
            return out;
        }
        for (block, out) in bytes.chunks_exact(block_bytes).zip(out.chunks_exact_mut(BLOCK)) {
            let half = |at: usize| Precision::f16(u16::from_le_bytes([block[at], block[at + 1]]));
            let scale = half(0);
            match self {
                Self::Q8_0 => {
                    out.iter_mut().zip(&block[2..]).for_each(|(value, &q)| *value = scale * f32::from(q as i8));
                }
                Self::Q4_0 => nibbles(&block[2..], out, |q| scale * (f32::from(q) - 8.0)),
                _ => {
                    let minimum = half(2);
                    nibbles(&block[4..], out, |q| scale * f32::from(q) + minimum);
                }
            }
        }
        out
    }
}

fn nibbles(packed: &[u8], out: &mut [f32], value: impl Fn(u8) -> f32) {
    let (low, high) = out.split_at_mut(BLOCK / 2);
    for ((byte, low), high) in packed.iter().zip(low).zip(high) {
        *low = value(byte & 15);
        *high = value(byte >> 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_unpacked_by_their_formulas() {
        let (one, minus_two) = (0x3c00u16.to_le_bytes(), 0xc000u16.to_le_bytes());
        let packed: Vec<u8> = (0..16).map(|byte| byte | (15 - byte) << 4).collect();
        let q = |place: usize| if place < 16 { place as f32 } else { (31 - place) as f32 };

        let q4_0 = BlockType::Q4_0.decode(&[&minus_two[..], &packed].concat());
        assert_eq!(q4_0, (0..32).map(|place| -2.0 * (q(place) - 8.0)).collect::<Vec<_>>());
        let q4_1 = BlockType::Q4_1.decode(&[&minus_two[..], &one, &packed].concat());
        assert_eq!(q4_1, (0..32).map(|place| -2.0 * q(place) + 1.0).collect::<Vec<_>>());
        let bytes: Vec<u8> = (-16..16i8).map(|value| value as u8).collect();
        let q8_0 = BlockType::Q8_0.decode(&[&minus_two[..], &bytes].concat());
        assert_eq!(q8_0, (-16..16).map(|value| -2.0 * value as f32).collect::<Vec<_>>());
    }

    #[test]
    fn sizes_are_of_whole_blocks() {
        assert_eq!(BlockType::Q4_1.size_of(&[3, 64]), Some(120));
        assert_eq!(BlockType::Q8_0.size_of(&[2, 32]), Some(68));
        assert_eq!(BlockType::Q4_0.size_of(&[32, 33]), None);
        assert_eq!(BlockType::Plain(Precision::F16).size_of(&[3, 5]), Some(30));
        assert_eq!(BlockType::Plain(Precision::F32).size_of(&[usize::MAX, 2]), None);
    }
}
