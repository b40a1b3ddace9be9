//! The choice of a tensor's mode: whether a further bit for each value's magnitude pays.
//!
//! What a bit is worth is measured against the best other use of it, which is to keep more values. Of a tensor's chunks
//! ```text
//! gain  = Σ (|a| − scale)² − Σ (|a| − its scale of two)²          what the second scale takes off the squared error
//! price = Σ (bits for the second scale) / (bits of a value) · t²   what as many bits of further values would take off
//! ```
//! with t the smallest kept magnitude of a chunk: a further value is no larger. The mode is used where the gain is over
//! the price.

use crate::layout::{GradientLayout, Mode};
use crate::scale::Scale;
use crate::segment::{ChunkContents, INDEX, LARGE, MAX_STEPS, STEPS_BITS};

/// What a kept value costs in bits beside the remainder of its gap: sign, end of the quotient, and about 1.5 for the
/// quotient, the scale's share and the frame.
const BITS_BESIDE_REMAINDER: f64 = 3.5;

/// A chunk's two scales, and what they are worth.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct TwoScales {
    smaller: Scale,
    steps: u8,
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
        let none = Self { smaller: scale, steps: 0, split: f32::INFINITY, gain: 0.0, price: 0.0 };
        let (Some(small), Some(large)) = (mean(false), mean(true)) else { return none };
        let smaller = Scale::nearest(small);
        let steps = Scale::nearest(large).octaves_above(smaller, MAX_STEPS);
        let Some(larger) = smaller.raised(steps).filter(|_| steps > 0) else { return none };
        let (mut gain, mut smallest, mut count) = (0f64, f32::INFINITY, 0u32);
        for magnitude in magnitudes {
            let own = if magnitude > split { larger } else { smaller };
            let off = |scale: Scale| f64::from(magnitude - scale.value()).powi(2);
            gain += off(scale) - off(own);
            smallest = smallest.min(magnitude);
            count += 1;
        }
        let further = f64::from(count + STEPS_BITS) / (f64::from(rice_bits) + BITS_BESIDE_REMAINDER);
        Self { smaller, steps, split, gain, price: further * f64::from(smallest).powi(2) }
    }
}

/// The mode of each tensor; `two` holds what each chunk's second scale is worth, by segment.
pub(crate) fn choose_modes(layout: &GradientLayout, two: &[TwoScales]) -> Vec<Mode> {
    let choose = |chunks: &[TwoScales]| {
        let gain: f64 = chunks.iter().map(|two| two.gain).sum();
        let price: f64 = chunks.iter().map(|two| two.price).sum();
        if gain > price { Mode::Magnitude } else { Mode::Sign }
    };
    layout.tensors().iter().map(|tensor| choose(&two[tensor.chunks()])).collect()
}

/// Gives the chunk at this place of `part` its two scales; `values` are the chunk's accumulated ones.
pub(crate) fn apply(part: &mut ChunkContents, position: usize, first: usize, two: &TwoScales, values: &[f32]) {
    part.scales[position] = two.smaller;
    part.steps[position] = two.steps;
    if two.steps == 0 {
        return;
    }
    for value in &mut part.kept[first..first + usize::from(part.counts[position])] {
        if values[usize::from(*value & INDEX)].abs() > two.split {
            *value |= LARGE;
        }
    }
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
        assert_eq!(two(&[1e-3; 7]).steps, 0);
        assert_eq!(two(&[1e-3]).gain, 0.0);
    }
}
