//! The chain's fixed-point numbers, bit for bit.
//!
//! Yuma is defined by the order and the rounding of its operations: products and quotients are rounded as the chain's
//! library does it (a product downwards, a quotient towards zero), sums saturate, and a division by zero or one that
//! does not fit gives zero. Source: `substrate-fixed`, `safe-math` and `pallets/subtensor/src/epoch/math.rs` of
//! subtensor.

use parity_scale_codec::{Decode, Encode};

/// Bits after the point of [`I32F32`].
const FRACTION_BITS: u32 = 32;

/// A signed number with 32 bits before and 32 bits after the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Encode, Decode)]
pub struct I32F32(i64);

impl I32F32 {
    /// Nought.
    pub const ZERO: Self = Self(0);
    /// One.
    pub const ONE: Self = Self(1 << FRACTION_BITS);

    /// The number whose bits these are.
    pub const fn from_bits(bits: i64) -> Self {
        Self(bits)
    }

    /// The bits: the value times 2^32.
    pub const fn to_bits(self) -> i64 {
        self.0
    }

    /// A whole number, held to the range.
    pub fn from_int(value: i64) -> Self {
        Self::saturated(i128::from(value) << FRACTION_BITS)
    }

    /// `value / 65535`, how the chain writes shares.
    pub fn from_proportion(value: u16) -> Self {
        Self::from_int(value.into()).safe_div(Self::from_int(u16::MAX.into()))
    }

    /// `floor(self · 65535)`, held to 0 … 65535.
    pub fn to_proportion(self) -> u16 {
        let scaled = self.saturating_mul(Self::from_int(u16::MAX.into())).0 >> FRACTION_BITS;
        scaled.clamp(0, u16::MAX.into()) as u16
    }

    /// The value as text with nine decimals, rounded towards zero; for people.
    pub fn to_decimal(self) -> String {
        let magnitude = (u128::from(self.0.unsigned_abs()) * 1_000_000_000) >> FRACTION_BITS;
        let sign = if self.0 < 0 { "-" } else { "" };
        format!("{sign}{}.{:09}", magnitude / 1_000_000_000, magnitude % 1_000_000_000)
    }

    fn saturated(bits: i128) -> Self {
        Self(bits.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }

    /// The sum, held to the range.
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, held to the range.
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The product, rounded downwards and held to the range.
    pub fn saturating_mul(self, other: Self) -> Self {
        Self::saturated((i128::from(self.0) * i128::from(other.0)) >> FRACTION_BITS)
    }

    /// The product, rounded downwards; none where it does not fit.
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        i64::try_from((i128::from(self.0) * i128::from(other.0)) >> FRACTION_BITS).ok().map(Self)
    }

    /// The quotient, rounded towards zero; none for a division by zero or where it does not fit.
    pub fn checked_div(self, other: Self) -> Option<Self> {
        if other.0 == 0 {
            return None;
        }
        i64::try_from((i128::from(self.0) << FRACTION_BITS) / i128::from(other.0)).ok().map(Self)
    }

    /// The quotient, and zero where there is none.
    pub fn safe_div(self, other: Self) -> Self {
        self.checked_div(other).unwrap_or(Self::ZERO)
    }

    /// e to the power of this number as the chain computes it, a Taylor series to the 31st term; zero where a term does
    /// not fit.
    pub fn safe_exp(self) -> Self {
        self.exp().unwrap_or(Self::ZERO)
    }

    fn exp(self) -> Option<Self> {
        if self == Self::ZERO {
            return Some(Self::ONE);
        }
        if self == Self::ONE {
            return Some(E_TO_23_BITS);
        }
        let operand = Self(self.0.checked_abs()?);
        let mut sum = Self(operand.0.checked_add(Self::ONE.0)?);
        let mut term = operand;
        for divisor in 2..i64::from(FRACTION_BITS) {
            // Dividing by a whole number needs no shift: the fraction bits cancel.
            term = Self(term.checked_mul(operand)?.0 / divisor);
            if term == Self::ZERO {
                break;
            }
            sum = Self(sum.0.checked_add(term.0)?);
        }
        if self < Self::ZERO { Self::ONE.checked_div(sum) } else { Some(sum) }
    }
}

/// Euler's number with 23 bits after the point, as the chain's library holds the constant: `exp(1)` gives it rather
/// than the series.
const E_TO_23_BITS: I32F32 = I32F32(22_802_600 << 9);

/// The sum, as the chain adds up: no sum of ours comes near the range's end.
impl std::iter::Sum for I32F32 {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(Self::ZERO, Self::saturating_add)
    }
}

/// A non-negative number with 63 bits before and 64 bits after the point: the chain's I64F64, where it holds stake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Encode, Decode)]
pub struct StakeWeight(u128);

impl StakeWeight {
    /// The largest.
    const MAX: u128 = i128::MAX as u128;

    /// A whole number of the smallest unit.
    pub fn from_int(value: u64) -> Self {
        Self((u128::from(value) << 64).min(Self::MAX))
    }

    /// `alpha + tao · weight`, the weight in 2^-32: what an uid's stake counts for.
    pub fn blend(alpha: u64, root_tao: u64, tao_weight: u64) -> Self {
        // Both factors are under 2^64 and the fraction has 32 bits, so the product shifted by 32 fits.
        let root = (u128::from(root_tao) * u128::from(tao_weight.min(1 << 32))) << 32;
        Self(Self::from_int(alpha).0.saturating_add(root.min(Self::MAX)).min(Self::MAX))
    }

    /// The whole part.
    pub fn to_int(self) -> u64 {
        (self.0 >> 64) as u64
    }

    /// This stake's share of `total`, rounded downwards to 64 and then to 32 bits after the point; zero of nothing.
    fn share_of(self, total: u128) -> I32F32 {
        if total == 0 {
            return I32F32::ZERO;
        }
        // Long division: the whole part is 0 or 1, since the total covers this stake, then one bit at a time.
        let (mut quotient, mut rest) = (self.0 / total, self.0 % total);
        for _ in 0..64 {
            rest <<= 1;
            quotient <<= 1;
            if rest >= total {
                rest -= total;
                quotient |= 1;
            }
        }
        I32F32::saturated((quotient >> 32) as i128)
    }
}

/// Each stake's share of their sum; zeros where the sum is zero.
pub fn normalise_stakes(stakes: &[StakeWeight]) -> Vec<I32F32> {
    let total = stakes.iter().fold(0u128, |sum, stake| sum.saturating_add(stake.0)).min(StakeWeight::MAX);
    stakes.iter().map(|stake| stake.share_of(total)).collect()
}

/// Each number's share of their sum; the numbers themselves where the sum is zero.
pub fn normalise(numbers: &mut [I32F32]) {
    let total: I32F32 = numbers.iter().copied().sum();
    normalise_by(numbers, total);
}

/// Each number's share of `total`; the numbers themselves where it is zero.
pub fn normalise_by(numbers: &mut [I32F32], total: I32F32) {
    if total != I32F32::ZERO {
        for number in numbers {
            *number = number.safe_div(total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_round_down_and_quotients_towards_zero() {
        let tiny = I32F32::from_bits(1);
        assert_eq!(I32F32::from_bits(-1).saturating_mul(tiny), I32F32::from_bits(-1));
        assert_eq!(tiny.saturating_mul(tiny), I32F32::ZERO);
        assert_eq!(I32F32::from_bits(-1).safe_div(I32F32::from_int(3)), I32F32::ZERO);
        assert_eq!(I32F32::ONE.safe_div(I32F32::ZERO), I32F32::ZERO);
        assert_eq!(I32F32::from_int(i64::MAX).saturating_mul(I32F32::from_int(2)), I32F32::from_bits(i64::MAX));
    }

    #[test]
    fn proportions_are_floors_of_65535() {
        for value in [0, 1, 32_767, 32_768, 65_534, 65_535] {
            let back = I32F32::from_proportion(value).to_proportion();
            assert!(back == value || back + 1 == value, "{value} became {back}");
        }
        assert_eq!(I32F32::from_int(-1).to_proportion(), 0);
        assert_eq!(I32F32::from_int(2).to_proportion(), u16::MAX);
    }

    #[test]
    fn the_exponential_is_close_and_zero_out_of_range() {
        for (operand, expected) in [(-5.0, 0.006_737_947), (0.0, 1.0), (1.0, std::f64::consts::E), (2.5, 12.182_494)] {
            let result = I32F32::from_bits((operand * 4_294_967_296.0) as i64).safe_exp();
            let value = result.to_bits() as f64 / 4_294_967_296.0;
            assert!((value / expected - 1.0).abs() < 1e-6, "exp({operand}) = {value}");
        }
        assert_eq!(I32F32::from_int(163).safe_exp(), I32F32::ZERO);
        assert_eq!(I32F32::from_bits(i64::MIN).safe_exp(), I32F32::ZERO);
    }

    #[test]
    fn stakes_are_shared_out_without_overflow() {
        let stakes = [StakeWeight::from_int(u64::MAX), StakeWeight::from_int(1), StakeWeight::blend(3, 7, 1 << 31)];
        let shares = normalise_stakes(&stakes);
        assert!(shares[0] <= I32F32::ONE && shares[0] > I32F32::from_bits(1 << 31));
        assert_eq!(stakes[2].to_int(), 6);
        assert_eq!(normalise_stakes(&[StakeWeight::default()]), [I32F32::ZERO]);
        assert_eq!(
            normalise_stakes(&[StakeWeight::from_int(1), StakeWeight::from_int(3)])[0].to_decimal(),
            "0.250000000"
        );
    }
}
