//! Rounded values: each kept value by a size of its own, an integer number of its chunk's steps.
//!
//! ```text
//! value = sign · size · step          1 ≤ size < 2^(bits−1)
//! ```
//! The step is a power of two, the smallest that leaves the largest value of the chunk within its bits; so the largest
//! size uses all of them, and a content has one coding. Steps are [`Scale`]s, so that contributions are integers in the
//! same unit as those of any other payload.

use crate::scale::{MAX_SCALE_EXPONENT, Scale, UNIT};

/// Sizes of `bits` with the sign end before this one.
fn size_limit(bits: u8) -> u32 {
    1 << (bits - 1)
}

/// The step for a chunk whose largest magnitude is `largest`; empty where all of it rounds to nothing.
pub(crate) fn step_for(largest: f32, bits: u8) -> Scale {
    let units = f64::from(largest) / f64::from(UNIT);
    let first = Scale::new(0).map_or(1.0, |scale| scale.units() as f64);
    // Where even the smallest step rounds it to nothing, nothing is sent; both divisions are exact.
    if !units.is_finite() || (units / first).round() < 1.0 {
        return Scale::EMPTY;
    }
    let fits = |exponent: &u8| {
        let step = Scale::new(*exponent).map_or(f64::INFINITY, |scale| scale.units() as f64);
        (units / step).round() < f64::from(size_limit(bits))
    };
    // A value that no step reaches is sent as the largest that there is; the rest of it waits.
    let exponent = (0..largest_exponent(bits)).find(fits).unwrap_or(largest_exponent(bits));
    Scale::new(exponent).unwrap_or(Scale::EMPTY)
}

/// The size of a magnitude; 0 where it rounds to nothing.
pub(crate) fn size_of(magnitude: f32, step: Scale, bits: u8) -> u32 {
    let size = (f64::from(magnitude) / f64::from(step.value())).round();
    // A cast of a float saturates.
    (size as u32).min(size_limit(bits) - 1)
}

/// The exponent of the largest step whose sizes stay within the largest scale.
fn largest_exponent(bits: u8) -> u8 {
    MAX_SCALE_EXPONENT - (bits - 1)
}

/// Whether these sizes of a chunk (zeros not counted) are what this step is chosen for.
pub(crate) fn is_canonical(step: Scale, sizes: &[u32], bits: u8) -> bool {
    let Some(largest) = sizes.iter().max() else { return step.is_empty() };
    let uses_all_bits = *largest >= size_limit(bits) / 2;
    step.exponent() <= largest_exponent(bits) && (uses_all_bits || step.exponent() == 0)
}

/// Two to this power is where a chunk's values end, in steps: what stands for its scale where scales are compared.
pub(crate) fn span_bits(bits: u8) -> u32 {
    u32::from(bits) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ends_are_nothing_and_the_largest_scale() {
        let smallest = Scale::new(0).unwrap().value();
        assert_eq!(step_for(0.49 * smallest, 16), Scale::EMPTY);
        assert_eq!(step_for(0.5 * smallest, 16), Scale::new(0).unwrap());
        for bits in [2, 16, 24] {
            let step = step_for(f32::MAX, bits);
            let largest = size_of(f32::MAX, step, bits);
            assert!(is_canonical(step, &[largest], bits));
            assert!(i64::from(largest) * step.units() < Scale::MAX.units());
        }
    }

    proptest! {
        #[test]
        fn a_value_is_within_half_a_step_and_the_step_is_the_smallest(
            largest in 1e-9f32..7.0, part in 0f32..1.0, bits in 2u8..=24
        ) {
            prop_assume!(f64::from(largest) < 8.0 * (1.0 - 2f64.powi(1 - i32::from(bits))));
            let step = step_for(largest, bits);
            for magnitude in [largest, part * largest] {
                let size = size_of(magnitude, step, bits);
                let off = f64::from(magnitude) - f64::from(size) * f64::from(step.value());
                prop_assert!(off.abs() <= 0.5 * f64::from(step.value()), "{magnitude} is {off} off");
            }
            prop_assert!(is_canonical(step, &[size_of(largest, step, bits)], bits));
        }
    }
}
