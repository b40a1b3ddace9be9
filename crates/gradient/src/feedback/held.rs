//! The values of an error feedback in memory: as they are, or rounded to two bytes each.

use super::BLOCK_VALUES;
use rayon::prelude::*;
use std::ops::Range;
use templar_base::FeedbackValues;

/// The values that wait.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Held {
    /// As they are.
    Singles(Vec<f32>),
    /// As the upper halves of f32.
    Halves(Vec<u16>),
}

impl Held {
    pub fn zeros(count: usize, values: FeedbackValues) -> Self {
        match values {
            FeedbackValues::F32 => Self::Singles(vec![0.0; count]),
            FeedbackValues::Bf16 => Self::Halves(vec![0; count]),
        }
    }

    /// These values, rounded where they are held so.
    pub fn of(values: Vec<f32>, held_as: FeedbackValues) -> Self {
        match held_as {
            FeedbackValues::F32 => Self::Singles(values),
            FeedbackValues::Bf16 => Self::Halves(values.into_iter().map(to_half).collect()),
        }
    }

    pub fn values(&self) -> FeedbackValues {
        match self {
            Self::Singles(_) => FeedbackValues::F32,
            Self::Halves(_) => FeedbackValues::Bf16,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Singles(values) => values.len(),
            Self::Halves(values) => values.len(),
        }
    }

    pub fn get(&self, index: usize) -> f32 {
        match self {
            Self::Singles(values) => values[index],
            Self::Halves(values) => from_half(values[index]),
        }
    }

    pub fn set(&mut self, index: usize, value: f32) {
        match self {
            Self::Singles(values) => values[index] = value,
            Self::Halves(values) => values[index] = to_half(value),
        }
    }

    /// Writes a range's values to `out`, which has its length.
    pub fn read(&self, range: Range<usize>, out: &mut [f32]) {
        self.combine(range, out, |value, _| value);
    }

    /// Replaces each value of `out`, which has the range's length, by what `work` makes of the value held and of it.
    pub fn combine(&self, range: Range<usize>, out: &mut [f32], work: impl Fn(f32, f32) -> f32 + Sync) {
        let blocks = out.par_chunks_mut(BLOCK_VALUES);
        match self {
            Self::Singles(values) => blocks.zip(values[range].par_chunks(BLOCK_VALUES)).for_each(|(out, values)| {
                out.iter_mut().zip(values).for_each(|(out, value)| *out = work(*value, *out));
            }),
            Self::Halves(values) => blocks.zip(values[range].par_chunks(BLOCK_VALUES)).for_each(|(out, values)| {
                out.iter_mut().zip(values).for_each(|(out, value)| *out = work(from_half(*value), *out));
            }),
        }
    }

    /// Replaces the values from `start` on.
    pub fn write(&mut self, start: usize, values: &[f32]) {
        let range = start..start + values.len();
        match self {
            Self::Singles(held) => held[range].copy_from_slice(values),
            Self::Halves(held) => held[range].iter_mut().zip(values).for_each(|(held, value)| *held = to_half(*value)),
        }
    }
}

/// Rounds values as they are held between windows; rounding them a second time changes nothing.
pub(super) fn round(values: &mut [f32], held_as: FeedbackValues) {
    match held_as {
        FeedbackValues::F32 => {}
        FeedbackValues::Bf16 => values.iter_mut().for_each(|value| *value = rounded(*value, held_as)),
    }
}

/// One rounded value.
pub(super) fn rounded(value: f32, held_as: FeedbackValues) -> f32 {
    match held_as {
        FeedbackValues::F32 => value,
        FeedbackValues::Bf16 => from_half(to_half(value)),
    }
}

/// The nearest bfloat16, ties to the even one; a finite value stays finite. NaN does not occur.
fn to_half(value: f32) -> u16 {
    const SIGN: u16 = 0x8000;
    const LARGEST: u16 = 0x7f7f;
    let bits = value.to_bits();
    let nearest = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
    if nearest & !SIGN > LARGEST { nearest & SIGN | LARGEST } else { nearest }
}

fn from_half(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ties_go_to_the_even_one_and_finite_values_stay_finite() {
        // Between two neighbours a tie is in the middle: 1 + 2^-8 lies between 1 and 1 + 2^-7.
        let cases = [
            (1.0 + 1.0 / 256.0, 1.0),
            (1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0),
            (-1.0 - 1.0 / 256.0, -1.0),
            (1.0 + 1.1 / 256.0, 1.0 + 2.0 / 256.0),
            (0.0, 0.0),
            (f32::MAX, f32::from_bits(0x7f7f_0000)),
            (f32::MIN, f32::from_bits(0xff7f_0000)),
        ];
        for (value, expected) in cases {
            assert_eq!(rounded(value, FeedbackValues::Bf16), expected, "{value}");
            assert_eq!(rounded(value, FeedbackValues::F32), value);
        }
        assert_eq!(to_half(-0.0), 0x8000);
    }

    proptest! {
        #[test]
        fn a_rounded_value_is_the_nearest_and_stays(bits in any::<u32>()) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite());
            let once = rounded(value, FeedbackValues::Bf16);
            prop_assert_eq!(to_half(once), to_half(value));
            let away = (f64::from(once) - f64::from(value)).abs();
            for other in [to_half(value).wrapping_sub(1), to_half(value).wrapping_add(1)] {
                let other = from_half(other);
                let other = (f64::from(other) - f64::from(value)).abs();
                prop_assert!(other.is_nan() || away <= other || other.is_infinite());
            }
        }

        #[test]
        fn what_is_written_is_read(values in prop::collection::vec(-1e3f32..1e3, 1..200), start in 0usize..100) {
            let start = start.min(values.len() - 1);
            for held_as in [FeedbackValues::F32, FeedbackValues::Bf16] {
                let mut held = Held::zeros(values.len(), held_as);
                held.write(start, &values[start..]);
                let mut read = vec![1.0; values.len()];
                held.read(0..values.len(), &mut read);
                prop_assert!(read[..start].iter().all(|value| *value == 0.0));
                for (index, value) in values.iter().enumerate().skip(start) {
                    prop_assert_eq!(read[index], rounded(*value, held_as));
                    prop_assert_eq!(held.get(index), read[index]);
                    held.set(index, *value);
                }
                let whole: Vec<f32> = read[..start].iter().chain(&values[start..]).copied().collect();
                prop_assert_eq!(&Held::of(whole, held_as), &held);
            }
        }
    }
}
