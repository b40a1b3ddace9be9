//! How GGUF packs the values of a tensor: plain, or in blocks of small integers with common scales.
//!
//! Blocks of 32 values have one scale. The 16 bytes of 4-bit values hold the first 16 in their low halves, the others in
//! their high halves; a fifth bit is in a word of its own.
//!
//! | type | bytes of a block | value |
//! | --- | --- | --- |
//! | Q8_0 | scale d (f16), 32 x i8 | `d q` |
//! | Q4_0 | d (f16), 16 bytes | `d (q - 8)` |
//! | Q4_1 | d (f16), minimum m (f16), 16 bytes | `d q + m` |
//! | Q5_0 | d (f16), fifth bits (u32), 16 bytes | `d (q - 16)` |
//! | Q5_1 | d (f16), m (f16), fifth bits (u32), 16 bytes | `d q + m` |
//!
//! Blocks of 256 values ("K") have 8 or 16 parts whose own scales are small integers too.
//!
//! | type | bytes of a block | value |
//! | --- | --- | --- |
//! | Q4_K | d (f16), m (f16), 8 pairs of 6-bit scale s and minimum t in 12 bytes, 128 bytes | `d s q - m t` |
//! | Q5_K | as Q4_K, with 32 bytes of fifth bits before the 128 | `d s q - m t` |
//! | Q6_K | 128 bytes of low halves, 64 bytes of high quarters, 16 scales s (i8), d (f16) | `d s (q - 32)` |

use crate::checkpoint::Precision;

/// Values of a block with one scale.
const BLOCK: usize = 32;

/// Every type that GGUF has or had: code, name, values of a block, bytes of a block.
#[rustfmt::skip]
const TYPES: &[(u32, &str, usize, usize)] = &[
    (0, "F32", 1, 4), (1, "F16", 1, 2), (2, "Q4_0", 32, 18), (3, "Q4_1", 32, 20), (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24), (8, "Q8_0", 32, 34), (9, "Q8_1", 32, 36), (10, "Q2_K", 256, 84), (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144), (13, "Q5_K", 256, 176), (14, "Q6_K", 256, 210), (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66), (17, "IQ2_XS", 256, 74), (18, "IQ3_XXS", 256, 98), (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18), (21, "IQ3_S", 256, 110), (22, "IQ2_S", 256, 82), (23, "IQ4_XS", 256, 136),
    (24, "I8", 1, 1), (25, "I16", 1, 2), (26, "I32", 1, 4), (27, "I64", 1, 8), (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56), (30, "BF16", 1, 2), (34, "TQ1_0", 256, 54), (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
];

/// The types whose values are read, for messages.
pub(super) const READ_TYPES: &str = "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K";

/// A type of packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockType {
    Plain(Precision),
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
    /// Known by its name and size, or by its code only; its values are not read.
    Other(u32),
}

impl BlockType {
    /// The type of a code in a file.
    pub(super) fn from_code(code: u32) -> Self {
        match code {
            0 => Self::Plain(Precision::F32),
            1 => Self::Plain(Precision::F16),
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            30 => Self::Plain(Precision::Bf16),
            other => Self::Other(other),
        }
    }

    fn code(self) -> u32 {
        match self {
            Self::Plain(Precision::F32) => 0,
            Self::Plain(Precision::F16) => 1,
            Self::Plain(Precision::Bf16) => 30,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q5_0 => 6,
            Self::Q5_1 => 7,
            Self::Q8_0 => 8,
            Self::Q4K => 12,
            Self::Q5K => 13,
            Self::Q6K => 14,
            Self::Other(code) => code,
        }
    }

    fn entry(self) -> Option<(&'static str, usize, usize)> {
        let entry = TYPES.iter().find(|(code, ..)| *code == self.code());
        entry.map(|&(_, name, values, bytes)| (name, values, bytes))
    }

    /// Such as `Q4_K`.
    pub(super) fn name(self) -> String {
        self.entry().map_or_else(|| format!("number {}", self.code()), |(name, ..)| name.to_owned())
    }

    /// Whether the values can be read.
    pub(super) fn is_read(self) -> bool {
        !matches!(self, Self::Other(_))
    }

    /// Bytes of a tensor of this shape, 0 for a type whose blocks are not known; none where a row is not whole blocks
    /// or the size is beyond counting.
    pub(super) fn size_of(self, shape: &[usize]) -> Option<usize> {
        let total = shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length))?;
        let Some((_, values, bytes)) = self.entry() else { return Some(0) };
        let row = shape.last().copied().unwrap_or(1);
        if row.is_multiple_of(values) { (total / values).checked_mul(bytes) } else { None }
    }

    /// The values; `bytes` are whole blocks. None of a type that is not read.
    pub(super) fn decode(self, bytes: &[u8]) -> Option<Vec<f32>> {
        let (_, values, block_bytes) = self.entry()?;
        let mut out = vec![0.0; bytes.len() / block_bytes * values];
        if let Self::Plain(precision) = self {
            precision.decode(bytes, &mut out);
            return Some(out);
        }
        let decode = match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => small_block,
            Self::Q4K => q4_k,
            Self::Q5K => q5_k,
            Self::Q6K => q6_k,
            Self::Plain(_) | Self::Other(_) => return None,
        };
        for (block, out) in bytes.chunks_exact(block_bytes).zip(out.chunks_exact_mut(values)) {
            decode(self, block, out);
        }
        Some(out)
    }
}

fn half(block: &[u8], at: usize) -> f32 {
    Precision::f16(u16::from_le_bytes([block[at], block[at + 1]]))
}

/// A block of 32 values with one scale; `block` has the bytes of its type.
fn small_block(kind: BlockType, block: &[u8], out: &mut [f32]) {
    let scale = half(block, 0);
    let fifth = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    match kind {
        BlockType::Q8_0 => {
            out.iter_mut().zip(&block[2..]).for_each(|(value, &q)| *value = scale * f32::from(q as i8));
        }
        BlockType::Q4_0 => nibbles(&block[2..], 0, out, |q| scale * (q - 8.0)),
        BlockType::Q5_0 => nibbles(&block[6..], fifth(2), out, |q| scale * (q - 16.0)),
        BlockType::Q5_1 => nibbles(&block[8..], fifth(4), out, |q| scale * q + half(block, 2)),
        _ => nibbles(&block[4..], 0, out, |q| scale * q + half(block, 2)),
    }
}

/// The values of 16 bytes; bit i of `fifth` belongs to value i.
fn nibbles(packed: &[u8], fifth: u32, out: &mut [f32], value: impl Fn(f32) -> f32) {
    let (low, high) = out.split_at_mut(BLOCK / 2);
    let bit = |place: usize| (fifth >> place & 1) << 4;
    for (place, byte) in packed.iter().take(BLOCK / 2).enumerate() {
        low[place] = value((u32::from(byte & 15) | bit(place)) as f32);
        high[place] = value((u32::from(byte >> 4) | bit(place + BLOCK / 2)) as f32);
    }
}

/// Scale and minimum of part `part` of 8, from the 12 bytes that hold them: those of the first four have six bits each,
/// those of the last four are put together from four bits and the two bits that the first four leave free.
fn scale_and_minimum(packed: &[u8], part: usize) -> (f32, f32) {
    let (scale, minimum) = if part < 4 {
        (packed[part] & 63, packed[part + 4] & 63)
    } else {
        let both = packed[part + 4];
        (both & 15 | packed[part - 4] >> 6 << 4, both >> 4 | packed[part] >> 6 << 4)
    };
    (f32::from(scale), f32::from(minimum))
}

/// Two parts of 32 values from each 32 bytes: the low halves, then the high halves. `fifth(part, place)` is 0 or 16.
fn pairs_of_parts(head: &[u8], packed: &[u8], out: &mut [f32], fifth: impl Fn(usize, usize) -> u8) {
    let (scale, minimum) = (half(head, 0), half(head, 2));
    for (part, out) in out.chunks_exact_mut(BLOCK).enumerate() {
        let (s, t) = scale_and_minimum(&head[4..16], part);
        let (step, floor) = (scale * s, minimum * t);
        for (place, (value, byte)) in out.iter_mut().zip(&packed[part / 2 * BLOCK..]).enumerate() {
            let q = if part.is_multiple_of(2) { byte & 15 } else { byte >> 4 };
            *value = step * f32::from(q + fifth(part, place)) - floor;
        }
    }
}

fn q4_k(_: BlockType, block: &[u8], out: &mut [f32]) {
    pairs_of_parts(&block[..16], &block[16..], out, |_, _| 0);
}

fn q5_k(_: BlockType, block: &[u8], out: &mut [f32]) {
    let fifths = &block[16..48];
    pairs_of_parts(&block[..16], &block[48..], out, |part, place| (fifths[place] >> part & 1) << 4);
}

fn q6_k(_: BlockType, block: &[u8], out: &mut [f32]) {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let scale = half(block, 208);
    for (place, value) in out.iter_mut().enumerate() {
        // Halves of 128 values; in each, four rows of 32 that share their bytes.
        let (side, row, column) = (place / 128, place / BLOCK % 4, place % BLOCK);
        let byte = low[side * 64 + row % 2 * BLOCK + column];
        let four = if row < 2 { byte & 15 } else { byte >> 4 };
        let two = high[side * BLOCK + column] >> (2 * row) & 3;
        let q = i16::from(four | two << 4) - 32;
        *value = scale * f32::from(scales[place / 16] as i8) * f32::from(q);
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

        let q4_0 = BlockType::Q4_0.decode(&[&minus_two[..], &packed].concat()).unwrap();
        assert_eq!(q4_0, (0..32).map(|place| -2.0 * (q(place) - 8.0)).collect::<Vec<_>>());
        let q4_1 = BlockType::Q4_1.decode(&[&minus_two[..], &one, &packed].concat()).unwrap();
        assert_eq!(q4_1, (0..32).map(|place| -2.0 * q(place) + 1.0).collect::<Vec<_>>());
        let bytes: Vec<u8> = (-16..16i8).map(|value| value as u8).collect();
        let q8_0 = BlockType::Q8_0.decode(&[&minus_two[..], &bytes].concat()).unwrap();
        assert_eq!(q8_0, (-16..16).map(|value| -2.0 * value as f32).collect::<Vec<_>>());
    }

    /// Blocks of pseudo-random bytes; the sums of their values, plain and by place, as the Python package `gguf` has
    /// them (`gguf.quants.dequantize`).
    #[test]
    fn blocks_of_parts_are_unpacked_as_elsewhere() {
        for (kind, size, scales, sum, by_place) in [
            (BlockType::Q5_0, 22, &[0][..], 1.875, 13.625),
            (BlockType::Q5_1, 24, &[0, 2], 38.0, 578.1875),
            (BlockType::Q4K, 144, &[0, 2], 2231.5625, 234_669.0),
            (BlockType::Q5K, 176, &[0, 2], 5678.5625, 603_921.0),
            (BlockType::Q6K, 210, &[208], -1538.5625, -164_945.0),
        ] {
            let mut state = 12345u64;
            let mut block: Vec<u8> = (0..size)
                .map(|_| {
                    state = (state * 1_103_515_245 + 12345) & 0x7fff_ffff;
                    (state >> 16) as u8
                })
                .collect();
            // Scales of 1/16 and 1/8, so that all values are exact.
            for &place in scales {
                block[place..place + 2].copy_from_slice(&[0, if place == 2 { 0x30 } else { 0x2c }]);
            }
            let values = kind.decode(&block).unwrap();
            let sums = values.iter().zip(1..).fold((0.0, 0.0), |(sum, by_place), (&value, place)| {
                (sum + f64::from(value), by_place + f64::from(value) * f64::from(place))
            });
            assert_eq!(sums, (sum, by_place), "{kind:?}");
        }
    }

    #[test]
    fn sizes_are_of_whole_blocks() {
        assert_eq!(BlockType::Q4_1.size_of(&[3, 64]), Some(120));
        assert_eq!(BlockType::Q8_0.size_of(&[2, 32]), Some(68));
        assert_eq!(BlockType::Q4_0.size_of(&[32, 33]), None);
        assert_eq!((BlockType::Q6K.size_of(&[2, 256]), BlockType::Q6K.size_of(&[2, 255])), (Some(420), None));
        assert_eq!((BlockType::Other(99).size_of(&[7]), BlockType::Other(99).name()), (Some(0), "number 99".into()));
        assert_eq!((BlockType::Other(11).name(), BlockType::Other(11).decode(&[0; 110])), ("Q3_K".into(), None));
        assert_eq!(BlockType::Plain(Precision::F16).size_of(&[3, 5]), Some(30));
        assert_eq!(BlockType::Plain(Precision::F32).size_of(&[usize::MAX, 2]), None);
    }
}
