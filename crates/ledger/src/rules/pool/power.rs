//! Powers of fractions, to more digits than any amount has.

use crate::arithmetic::wide::{divide, multiply, multiply_divide};

/// Bits after the point of [`Fraction`].
const FRACTION_BITS: u32 = 120;

/// ln 2 in 2^-120.
const LN_2: u128 = 0xb1_7217_f7d1_cf79_abc9_e3b3_9803_f2f6;

/// A number from 0 to 1, in 2^-120. Powers are off by less than 2^-110: far less than one part in any reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fraction(u128);

impl Fraction {
    const ONE: Self = Self(1 << FRACTION_BITS);

    /// `(numerator / denominator) ^ (power / root)`, for a fraction over nought and up to one.
    ///
    /// `2^(−(power / root) · log2(denominator / numerator))`: the logarithm by repeated squaring, one bit at a time,
    /// the rest by its series.
    pub fn power(numerator: u128, denominator: u128, power: u128, root: u128) -> Self {
        if numerator >= denominator || power == 0 {
            return Self::ONE;
        }
        if numerator == 0 || root == 0 {
            return Self(0);
        }
        // A logarithm so large that its product does not fit leaves nothing in 120 bits.
        match multiply_divide(log2_of_ratio(denominator, numerator), power, root) {
            Some(exponent) => Self::two_to_minus(exponent),
            None => Self(0),
        }
    }

    fn two_to_minus(exponent: u128) -> Self {
        let (whole, part) = (exponent >> FRACTION_BITS, exponent & (Self::ONE.0 - 1));
        if whole > u128::from(FRACTION_BITS) {
            return Self(0);
        }
        // exp(−t) = 1 − t + t²/2 − …, for t = part · ln 2 under 0.7.
        let operand = product(part, LN_2);
        let (mut sum, mut term, mut divisor) = (Self::ONE.0, Self::ONE.0, 1);
        while term > 0 {
            term = product(term, operand) / divisor;
            sum = if divisor % 2 == 1 { sum - term } else { sum + term };
            divisor += 1;
        }
        Self(sum >> whole)
    }

    /// `floor(amount · (1 − self))`.
    pub fn complement_of(self, amount: u64) -> u64 {
        let (high, low) = multiply(Self::ONE.0 - self.0, amount.into());
        // At most `amount`, which has 64 bits.
        shift_down(high, low) as u64
    }

    /// `floor(amount · (1 / self − 1))`, held to 64 bits.
    pub fn excess_of(self, amount: u64) -> u64 {
        let excess = multiply_divide(Self::ONE.0 - self.0, amount.into(), self.0);
        excess.and_then(|excess| u64::try_from(excess).ok()).unwrap_or(u64::MAX)
    }
}

fn product(left: u128, right: u128) -> u128 {
    let (high, low) = multiply(left, right);
    shift_down(high, low)
}

fn shift_down(high: u128, low: u128) -> u128 {
    (high << (128 - FRACTION_BITS)) | (low >> FRACTION_BITS)
}

/// `log2(larger / smaller)` in 2^-120, for `larger ≥ smaller > 0`.
fn log2_of_ratio(larger: u128, smaller: u128) -> u128 {
    // Both with their highest bit set: the quotient is then between a half and two.
    let (larger_zeros, smaller_zeros) = (larger.leading_zeros(), smaller.leading_zeros());
    let (dividend, divisor) = (larger << larger_zeros, smaller << smaller_zeros);
    let is_under_one = dividend < divisor;
    let whole = smaller_zeros - larger_zeros - u32::from(is_under_one);
    let (high, low) = if is_under_one { (dividend, 0) } else { (dividend >> 1, dividend << 127) };
    // The quotient in 2^-127, from one to under two: it fits.
    let mut mantissa = divide(high, low, divisor).map_or(u128::MAX, |(quotient, _)| quotient);
    let mut logarithm = u128::from(whole);
    for _ in 0..FRACTION_BITS {
        let (high, low) = multiply(mantissa, mantissa);
        let is_two_or_more = high >> 127 == 1;
        mantissa = if is_two_or_more { high } else { (high << 1) | (low >> 127) };
        logarithm = (logarithm << 1) | u128::from(is_two_or_more);
    }
    logarithm
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(fraction: Fraction) -> f64 {
        fraction.0 as f64 / Fraction::ONE.0 as f64
    }

    #[test]
    fn whole_powers_are_what_multiplication_gives() {
        assert_eq!(Fraction::power(5, 5, 3, 1), Fraction::ONE);
        assert_eq!(Fraction::power(0, 5, 3, 1), Fraction(0));
        assert_eq!(Fraction::power(1, 2, 3, 1), Fraction(1 << 117));
        let cube = Fraction::power(3, 7, 3, 1).0.abs_diff(multiply_divide(27, Fraction::ONE.0, 343).unwrap());
        assert!(cube < 1 << 10, "off by {cube}");
        assert_eq!(Fraction::power(1, u128::MAX, 99, 1), Fraction(0));
    }

    proptest! {
        #[test]
        fn powers_agree_with_floats(numerator in 1u64.., extra in 1u64.., power in 1u64..1_000, root in 1u64..1_000) {
            let denominator = u128::from(numerator) + u128::from(extra);
            let found = value(Fraction::power(numerator.into(), denominator, power.into(), root.into()));
            let expected = (numerator as f64 / denominator as f64).powf(power as f64 / root as f64);
            prop_assert!((found - expected).abs() < 1e-12, "{} is not {}", found, expected);
        }

        #[test]
        fn a_power_and_its_root_come_back(numerator in 1u64.., extra in 1u64..) {
            let denominator = u128::from(numerator) + u128::from(extra);
            let root = Fraction::power(numerator.into(), denominator, 1, 3);
            let back = Fraction::power(root.0, Fraction::ONE.0, 3, 1);
            let direct = Fraction::power(numerator.into(), denominator, 1, 1);
            // The root's last bit counts more, the smaller the root.
            prop_assert!(back.0.abs_diff(direct.0) < 1 << 20);
        }
    }
}
