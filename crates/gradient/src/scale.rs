//! The scale of a chunk: an integer in one fixed unit, so that contributions add without rounding.

/// Contributions are integers in units of 2^-42. With it a scale lies between 32 · 2^-42 (7e-12, under any drift that
/// training makes) and 56 · 2^-2 (14, over any); the rest of a larger value waits in the error feedback.
pub const UNIT_EXPONENT: i32 = -42;

/// The unit as a float.
pub(crate) const UNIT: f32 = 1.0 / (1u64 << 42) as f32;

/// The four mantissas, in even steps as a float's are, so that a scale is at most an eighth from the mean that it stands
/// for. Finer ones hardly take anything off the error of what is sent, and cost the aggregate, which has to say whose
/// scale a value has; even ones give sums that fall together.
pub const SCALE_MANTISSAS: [u8; 4] = [32, 40, 48, 56];

/// Largest power of two by which a mantissa is multiplied. A contribution is then under 2^46; with weights that sum to
/// less than 2^16 ([`crate::MAX_TOTAL_WEIGHT`]) every sum stays under 2^62, within an i64.
pub const MAX_SCALE_EXPONENT: u8 = 40;

/// The midpoints between neighbouring mantissas, the last one that to 64, the next power's first.
const MIDPOINTS: [f64; 4] = [36.0, 44.0, 52.0, 60.0];

/// A chunk's scale: nothing, or one of four mantissas times a power of two from 2^0 to 2^40.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Scale(u16);

impl Scale {
    /// The scale of a chunk that sends nothing.
    pub const EMPTY: Self = Self(0);

    /// The largest scale.
    pub const MAX: Self = Self(4 * (MAX_SCALE_EXPONENT as u16) + 4);

    /// The scale `SCALE_MANTISSAS[mantissa] · 2^exponent`; None out of range.
    pub fn new(exponent: u8, mantissa: u8) -> Option<Self> {
        (exponent <= MAX_SCALE_EXPONENT && mantissa < 4)
            .then(|| Self(u16::from(exponent) * 4 + u16::from(mantissa) + 1))
    }

    /// The scale of exactly this many units, if there is one.
    pub(crate) fn of_units(units: u64) -> Option<Self> {
        let exponent = units.checked_ilog2()?.checked_sub(5)?;
        let mantissa = SCALE_MANTISSAS.iter().position(|mantissa| u64::from(*mantissa) << exponent == units)?;
        Self::new(exponent as u8, mantissa as u8)
    }

    /// The scale's number, by size; 0 for the empty scale.
    pub(crate) fn number(self) -> u16 {
        self.0
    }

    /// The scale of this number.
    pub(crate) fn of_number(number: u16) -> Option<Self> {
        (1..=Self::MAX.0).contains(&number).then_some(Self(number))
    }

    /// The scale nearest to `mean` (not negative); empty under the smallest scale, the largest over it.
    pub fn nearest(mean: f64) -> Self {
        // Scaling by a power of two is exact, and so is every comparison below: no rounding decides a scale.
        let units = mean / f64::from(UNIT);
        if units.is_nan() || units < f64::from(SCALE_MANTISSAS[0]) {
            return Self::EMPTY;
        }
        let exponent = ((units.to_bits() >> 52) & 0x7ff) as i32 - 1023 - 5;
        if exponent > i32::from(MAX_SCALE_EXPONENT) {
            return Self::MAX;
        }
        let mantissa = units / (1u64 << exponent) as f64;
        let steps = MIDPOINTS.iter().filter(|midpoint| mantissa >= **midpoint).count() as u16;
        Self((exponent as u16 * 4 + steps + 1).min(Self::MAX.0))
    }

    /// The scale `steps` quarters of an octave above this one; None out of range, or of the empty scale.
    pub fn raised(self, steps: u8) -> Option<Self> {
        let code = self.0 + u16::from(steps);
        (!self.is_empty() && code <= Self::MAX.0).then_some(Self(code))
    }

    /// How many quarters of an octave this scale lies above `lower`, at most `most`; 0 if it does not.
    pub(crate) fn steps_above(self, lower: Self, most: u8) -> u8 {
        self.0.saturating_sub(lower.0).min(u16::from(most)) as u8
    }

    /// Whether nothing is sent.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The power of two, 0..=40; 0 for the empty scale.
    pub fn exponent(self) -> u8 {
        (self.0.saturating_sub(1) / 4) as u8
    }

    /// The number of the mantissa, 0..4; 0 for the empty scale.
    pub fn mantissa(self) -> u8 {
        (self.0.saturating_sub(1) % 4) as u8
    }

    /// The scale as an integer number of units; 0 for the empty scale.
    pub fn units(self) -> i64 {
        if self.is_empty() { 0 } else { i64::from(SCALE_MANTISSAS[usize::from(self.mantissa())]) << self.exponent() }
    }

    /// The scale as a float; exact.
    pub fn value(self) -> f32 {
        self.units() as f32 * UNIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_scale_is_nearest_to_itself() {
        for exponent in 0..=MAX_SCALE_EXPONENT {
            for mantissa in 0..4 {
                let scale = Scale::new(exponent, mantissa).unwrap();
                assert_eq!(Scale::nearest(f64::from(scale.value())), scale);
                assert_eq!(Scale::of_units(scale.units() as u64), Some(scale));
                assert_eq!(Scale::of_number(scale.number()), Some(scale));
                assert_eq!((scale.exponent(), scale.mantissa()), (exponent, mantissa));
            }
        }
        assert_eq!(Scale::new(MAX_SCALE_EXPONENT, 3), Some(Scale::MAX));
        assert_eq!(Scale::new(MAX_SCALE_EXPONENT + 1, 0), None);
        assert_eq!(Scale::new(0, 4), None);
    }

    #[test]
    fn the_ends_are_empty_and_saturated() {
        assert_eq!(Scale::nearest(0.0), Scale::EMPTY);
        assert_eq!(Scale::nearest(f64::from(f32::MIN_POSITIVE)), Scale::EMPTY);
        assert_eq!(Scale::nearest(f64::from(f32::MAX)), Scale::MAX);
        assert_eq!(Scale::nearest(14.9), Scale::MAX);
        assert_eq!(Scale::nearest(15.99), Scale::MAX);
        assert_eq!(Scale::MAX.value(), 14.0);
    }

    #[test]
    fn sums_of_the_heaviest_merge_stay_within_an_i64() {
        let heaviest = i128::from(Scale::MAX.units()) * i128::from(crate::MAX_TOTAL_WEIGHT);
        assert!(heaviest < 1 << 62);
    }

    proptest! {
        #[test]
        fn a_scale_is_within_an_eighth_of_the_mean(mean in 1e-11f64..15.0) {
            let value = f64::from(Scale::nearest(mean).value());
            prop_assert!((value - mean).abs() <= 0.125 * mean, "{mean} became {value}");
        }
    }
}
