//! The number formats of checkpoints.

/// How a checkpoint stores its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits; exact.
    F32,
    /// The upper half of an f32, rounded to nearest even.
    Bf16,
    /// IEEE half precision, rounded to nearest even; over 65504 it becomes infinite.
    F16,
}

impl Precision {
    /// The name in a safetensors header.
    pub(super) fn safetensors_name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::Bf16 => "BF16",
            Self::F16 => "F16",
        }
    }

    /// The name in a config.json.
    pub(super) fn config_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
            Self::F16 => "float16",
        }
    }

    pub(super) fn from_safetensors_name(name: &str) -> Option<Self> {
        [Self::F32, Self::Bf16, Self::F16].into_iter().find(|precision| precision.safetensors_name() == name)
    }

    /// Bytes of one value.
    pub fn bytes(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }

    /// Appends the values' bytes, little-endian.
    pub(super) fn encode(self, values: &[f32], to: &mut Vec<u8>) {
        match self {
            Self::F32 => to.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::Bf16 => to.extend(values.iter().flat_map(|&value| bf16_bits(value).to_le_bytes())),
            Self::F16 => to.extend(values.iter().flat_map(|&value| f16_bits(value).to_le_bytes())),
        }
    }

    /// The value of these bits of a half.
    pub(super) fn f16(bits: u16) -> f32 {
        f16_value(bits)
    }

    /// Reads `values.len()` values; `bytes` has as many.
    pub(super) fn decode(self, bytes: &[u8], values: &mut [f32]) {
        let (words, halves) = (bytes.as_chunks::<4>().0, bytes.as_chunks::<2>().0);
        match self {
            Self::F32 => values.iter_mut().zip(words).for_each(|(value, &word)| *value = f32::from_le_bytes(word)),
            Self::Bf16 => values.iter_mut().zip(halves).for_each(|(value, &half)| {
                *value = f32::from_bits(u32::from(u16::from_le_bytes(half)) << 16);
            }),
            Self::F16 => values.iter_mut().zip(halves).for_each(|(value, &half)| {
                *value = f16_value(u16::from_le_bytes(half));
            }),
        }
    }
}

fn bf16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    // Adding half of the last place, a little less if the result would be even already, rounds to nearest even.
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

fn f16_bits(value: f32) -> u16 {
    let sign = (value.to_bits() >> 16) as u16 & 0x8000;
    let magnitude = value.abs();
    if value.is_nan() {
        return sign | 0x7e00;
    }
    // Half of the way from the largest half to the next that there would be.
    if magnitude >= 65520.0 {
        return sign | 0x7c00;
    }
    if magnitude < 1.0 / 16384.0 {
        // Under the smallest normal: a multiple of 2^-24. Adding 1/2 makes the adder round there.
        return sign | ((magnitude + 0.5).to_bits() - 0.5f32.to_bits()) as u16;
    }
    let bits = magnitude.to_bits();
    let rounded = bits + 0xfff + (bits >> 13 & 1);
    sign | ((rounded - (112 << 23)) >> 13) as u16
}

fn f16_value(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (u32::from(bits >> 15), u32::from(bits >> 10 & 31), u32::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction as f32 * (1.0 / 16_777_216.0),
        31 => f32::from_bits(0x7f80_0000 | fraction << 13),
        _ => f32::from_bits((exponent + 112) << 23 | fraction << 13),
    };
    f32::from_bits(magnitude.to_bits() | sign << 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_reads_back() {
        for bits in 0..=u16::MAX {
            let value = f16_value(bits);
            if !value.is_nan() {
                assert_eq!(f16_bits(value), bits);
            }
            let value = f32::from_bits(u32::from(bits) << 16);
            if !value.is_nan() {
                assert_eq!(bf16_bits(value), bits);
            }
        }
    }

    #[test]
    fn values_between_go_to_the_nearest_and_ties_to_even() {
        for bits in 0..0x7bffu16 {
            let (low, high) = (f16_value(bits), f16_value(bits + 1));
            let middle = (low + high) / 2.0;
            assert_eq!(f16_bits(middle), bits + (bits & 1));
            assert_eq!(f16_bits(f32::from_bits(middle.to_bits() - 1)), bits);
            assert_eq!(f16_bits(f32::from_bits(middle.to_bits() + 1)), bits + 1);
        }
        assert_eq!(f16_bits(1e6), 0x7c00);
        assert_eq!(bf16_bits(f32::from_bits(0x3f80_8000)), 0x3f80);
        assert_eq!(bf16_bits(f32::from_bits(0x3f81_8000)), 0x3f82);
        assert!(f16_value(f16_bits(f32::NAN)).is_nan());
    }
}
