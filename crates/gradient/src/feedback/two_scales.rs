//! The choice of a tensor's mode: whether a further bit for each value's magnitude pays.
//!
//! What a bit is worth is measured against the best other use of it, which is to keep more values. Of a tensor's chunks
//! ```text
//! gain  = Σ (|a| − scale)² − Σ (|a| − its scale of two)²          what the second scale takes off the squared error
//! price = Σ (bits for the second scale) / (bits of a value) · t²   what as many bits of further values would take off
//! ```
//! with t the smallest kept magnitude of a chunk: a further value is no larger. The mode is used where the gain is over
//! the price.

use crate::layout::Mode;
use crate::payload::{INDEX, LARGE, MAX_OCTAVES, OCTAVE_BITS};
use crate::scale::Scale;

/// What a kept value costs in bits beside the remainder of its gap: sign, end of the quotient, and about 1.5 for the
/// quotient, the scale's share and the frame.
const BITS_BESIDE_REMAINDER: f64 = 3.5;

/// A chunk's two scales, and what they are worth.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct TwoScales {
    smaller: Scale,
    octaves: u8,
    /// Magnitudes over this one go to the larger scale.
    split: f32,
    gain: f64,
    price: f64,
}

impl TwoScales {
    /// The two scales of a chunk's kept magnitudes: means of what lies over and under the mean of all.
    pub fn of(magnitudes: impl Iterator<Item = f32> + Clone, mean_of_all: f64, rice_bits: u32) -> Self {
        let (scale, split) = (Scale::nearest(mean_of_all), mean_of_all as f32);
        let mean = |large: bool| {
            let (mut sum, mut count) = (0f64, 0u32);
            for magnitude in magnitudes.clone().filter(|magnitude| (*magnitude > split) == large) {
                sum += f64::from(magnitude);
                count += 1;
            }
            (count > 0).then(|| sum / f64::from(count))
        };
        let none = Self { smaller: scale, octaves: 0, split: f32::INFINITY, gain: 0.0, price: 0.0 };
        let (Some(small), Some(large)) = (mean(false), mean(true)) else { return none };
        let smaller = Scale::nearest(small);
        let octaves = Scale::nearest(large).octaves_above(smaller, MAX_OCTAVES);
        let Some(larger) = smaller.raised(octaves).filter(|_| octaves > 0) else { return none };
        let (mut gain, mut smallest, mut count) = (0f64, f32::INFINITY, 0u32);
        for magnitude in magnitudes {
            let own = if magnitude > split { larger } else { smaller };
            let off = |scale: Scale| f64::from(magnitude - scale.value()).powi(2);
            gain += off(scale) - off(own);
            smallest = smallest.min(magnitude);
            count += 1;
        }
        let further = f64::from(count + OCTAVE_BITS) / (f64::from(rice_bits) + BITS_BESIDE_REMAINDER);
        Self { smaller, octaves, split, gain, price: further * f64::from(smallest).powi(2) }
    }

    /// The smaller scale, or the only one.
    pub fn smaller(&self) -> Scale {
        self.smaller
    }

    /// Octaves from the smaller to the larger scale; 0 where there is one.
    pub fn octaves(&self) -> u8 {
        self.octaves
    }

    /// A kept value of the chunk with these values, marked where it has the larger scale.
    pub fn marked(&self, kept: u16, values: &[f32]) -> u16 {
        let is_large = self.octaves > 0 && values[usize::from(kept & INDEX)].abs() > self.split;
        if is_large { kept | LARGE } else { kept }
    }
}

/// The mode of a tensor of these chunks.
pub(crate) fn choose_mode<'a>(chunks: impl Iterator<Item = &'a TwoScales> + Clone) -> Mode {
    let gain: f64 = chunks.clone().map(|two| two.gain).sum();
    let price: f64 = chunks.map(|two| two.price).sum();
    if gain > price { Mode::Magnitude } else { Mode::Sign }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two(magnitudes: &[f32]) -> TwoScales {
        let mean = magnitudes.iter().map(|value| f64::from(*value)).sum::<f64>() / magnitudes.len() as f64;
        TwoScales::of(magnitudes.iter().copied(), mean, 5)
    }

    #[test]
    fn a_second_scale_pays_where_magnitudes_differ() {
        let far_apart: Vec<f32> = (0..64).map(|i| if i % 2 == 0 { 1e-3 } else { 3e-3 }).collect();
        let worth = two(&far_apart);
        assert!(worth.gain > worth.price, "{worth:?}");
        let close: Vec<f32> = (0..64).map(|i| 1e-3 * (1.0 + i as f32 / 200.0)).collect();
        let worth = two(&close);
        assert!(worth.gain <= worth.price, "{worth:?}");
    }

    #[test]
    fn equal_magnitudes_have_one_scale() {
        assert_eq!(two(&[1e-3; 7]).octaves, 0);
        assert_eq!(two(&[1e-3]).gain, 0.0);
    }
}
