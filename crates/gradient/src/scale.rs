//! The scale of a chunk: an integer in one fixed unit, so that contributions add without rounding.

/// Contributions are integers in units of 2^-42. With it a scale lies between 2^-37 (7e-12, under any drift that
/// training makes) and 2^3 (over any); the rest of a larger value waits in the error feedback. The smallest scale is 32
/// units: merges that divide have five bits to round in.
pub const UNIT_EXPONENT: i32 = -42;

/// The unit as a float.
pub(crate) const UNIT: f32 = 1.0 / (1u64 << 42) as f32;

/// The smallest scale is two to the power of this, in units.
const SMALLEST_BITS: u8 = 5;

/// Largest exponent of a scale. A contribution is then at most 2^45; with weights that sum to less than 2^16
/// ([`crate::MAX_TOTAL_WEIGHT`]) every sum stays under 2^62, within an i64.
pub const MAX_SCALE_EXPONENT: u8 = 40;

/// A chunk's scale: nothing, or 32 units times a power of two from 2^0 to 2^40.
///
/// Powers of two: finer steps take a thousandth or two off the error of what is sent, which the error feedback sends
/// later anyway, and cost the aggregate, which has to say whose scale a value has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Scale(u8);

impl Scale {
    /// The scale of a chunk that sends nothing.
    pub const EMPTY: Self = Self(0);

    /// The largest scale.
    pub const MAX: Self = Self(MAX_SCALE_EXPONENT + 1);

    /// The scale of `32 · 2^exponent` units; None out of range.
    pub fn new(exponent: u8) -> Option<Self> {
        (exponent <= MAX_SCALE_EXPONENT).then_some(Self(exponent + 1))
    }

    /// The scale of exactly this many units, if there is one.
    pub(crate) fn of_units(units: u64) -> Option<Self> {
        let exponent = units.checked_ilog2()?.checked_sub(u32::from(SMALLEST_BITS))?;
        Self::new(u8::try_from(exponent).ok()?).filter(|_| units.is_power_of_two())
    }

    /// The scale's number, by size; 0 for the empty scale.
    pub(crate) fn number(self) -> u8 {
        self.0
    }

    /// The scale of this number.
    pub(crate) fn of_number(number: u8) -> Option<Self> {
        (1..=Self::MAX.0).contains(&number).then_some(Self(number))
    }

    /// The scale nearest to `mean` (not negative); empty under the smallest scale, the largest over it.
    pub fn nearest(mean: f64) -> Self {
        // Scaling by a power of two is exact, and so is every comparison below: no rounding decides a scale.
        let units = mean / f64::from(UNIT);
        if units.is_nan() || units < f64::from(1u32 << SMALLEST_BITS) {
            return Self::EMPTY;
        }
        let exponent = ((units.to_bits() >> 52) & 0x7ff) as i32 - 1023 - i32::from(SMALLEST_BITS);
        if exponent >= i32::from(MAX_SCALE_EXPONENT) {
            return Self::MAX;
        }
        let is_nearer_to_next = units / (1u64 << (exponent + i32::from(SMALLEST_BITS))) as f64 >= 1.5;
        Self(exponent as u8 + 1 + u8::from(is_nearer_to_next))
    }

    /// The scale `octaves` above this one; None out of range, or of the empty scale.
    pub fn raised(self, octaves: u8) -> Option<Self> {
        let number = self.0.saturating_add(octaves);
        (!self.is_empty() && number <= Self::MAX.0).then_some(Self(number))
    }

    /// How many octaves this scale lies above `lower`, at most `most`; 0 if it does not.
    pub(crate) fn octaves_above(self, lower: Self, most: u8) -> u8 {
        self.0.saturating_sub(lower.0).min(most)
    }

    /// Whether nothing is sent.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The power of two, 0..=40; 0 for the empty scale.
    pub fn exponent(self) -> u8 {
        self.0.saturating_sub(1)
    }

    /// The scale as an integer number of units; 0 for the empty scale.
    pub fn units(self) -> i64 {
        if self.is_empty() { 0 } else { 1 << (self.exponent() + SMALLEST_BITS) }
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
            let scale = Scale::new(exponent).unwrap();
            assert_eq!(Scale::nearest(f64::from(scale.value())), scale);
            assert_eq!(Scale::of_units(scale.units() as u64), Some(scale));
            assert_eq!(Scale::of_number(scale.number()), Some(scale));
            assert_eq!(scale.exponent(), exponent);
        }
        assert_eq!(Scale::new(MAX_SCALE_EXPONENT), Some(Scale::MAX));
        assert_eq!(Scale::new(MAX_SCALE_EXPONENT + 1), None);
        assert_eq!((Scale::of_number(0), Scale::of_number(42)), (None, None));
        assert_eq!((Scale::of_units(33), Scale::of_units(16), Scale::of_units(1 << 46)), (None, None, None));
        assert_eq!((Scale::MAX.raised(1), Scale::EMPTY.raised(1), Scale::MAX.raised(255)), (None, None, None));
    }

    #[test]
    fn the_ends_are_empty_and_saturated() {
        assert_eq!(Scale::nearest(0.0), Scale::EMPTY);
        assert_eq!(Scale::nearest(f64::from(f32::MIN_POSITIVE)), Scale::EMPTY);
        assert_eq!(Scale::nearest(f64::from(f32::MAX)), Scale::MAX);
        assert_eq!(Scale::nearest(5.9).value(), 4.0);
        assert_eq!(Scale::nearest(6.0), Scale::MAX);
        assert_eq!(Scale::nearest(1e9), Scale::MAX);
        assert_eq!(Scale::MAX.value(), 8.0);
    }

    #[test]
    fn sums_of_the_heaviest_merge_stay_within_an_i64() {
        let heaviest = i128::from(Scale::MAX.units()) * i128::from(crate::MAX_TOTAL_WEIGHT);
        assert!(heaviest < 1 << 62);
    }

    proptest! {
        #[test]
        fn a_scale_is_within_a_third_of_the_mean(mean in 1e-11f64..8.0) {
            let value = f64::from(Scale::nearest(mean).value());
            prop_assert!((value - mean).abs() <= mean / 3.0, "{mean} became {value}");
        }
    }
}
