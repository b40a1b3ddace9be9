//! Money: whole numbers of the smallest unit, with checked arithmetic only.

use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Smallest units in one TAO, and in one alpha.
pub const RAO_PER_TAO: u64 = 1_000_000_000;

/// An amount that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AmountError {
    /// The sum does not fit in 64 bits.
    #[error("amount overflows: {0} and {1} rao do not fit together")]
    Overflow(u64, u64),
    /// More would be taken than is held.
    #[error("amount underflows: {1} rao cannot be taken from {0}")]
    Underflow(u64, u64),
    /// Text that is not an amount.
    #[error("`{0}` is not an amount: write a number with at most nine decimals, such as 1.5")]
    Malformed(String),
}

macro_rules! amount {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, Encode, Decode)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);
            /// The largest amount that the type holds.
            pub const MAX: Self = Self(u64::MAX);

            /// The amount of this many smallest units.
            pub const fn from_rao(rao: u64) -> Self {
                Self(rao)
            }

            /// The amount of this many whole units; [`Self::MAX`] where that does not fit.
            pub const fn from_whole(units: u64) -> Self {
                Self(units.saturating_mul(RAO_PER_TAO))
            }

            /// The number of smallest units: for formats, databases and products in wider types.
            pub const fn as_rao(self) -> u64 {
                self.0
            }

            /// Whole units as a float: for charts and percentages only, never for an amount that moves.
            pub fn as_whole_f64(self) -> f64 {
                self.0 as f64 / RAO_PER_TAO as f64
            }

            /// Whether this is nothing.
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }

            /// The sum, or an error where it does not fit.
            pub fn checked_add(self, other: Self) -> Result<Self, AmountError> {
                self.0.checked_add(other.0).map(Self).ok_or(AmountError::Overflow(self.0, other.0))
            }

            /// The difference, or an error where `other` is more.
            pub fn checked_sub(self, other: Self) -> Result<Self, AmountError> {
                self.0.checked_sub(other.0).map(Self).ok_or(AmountError::Underflow(self.0, other.0))
            }

            /// The sum, at most [`Self::MAX`].
            pub const fn saturating_add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }

            /// The difference, at least nothing.
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }

            /// What remains after `part`, which the caller took out of this very amount and which is therefore not more.
            ///
            /// Use it where the invariant holds and [`Self::checked_sub`] where it has to be checked: a larger `part` is
            /// a bug of the caller, on which a debug build panics and a release build leaves nothing.
            pub fn minus_within(self, part: Self) -> Self {
                debug_assert!(part.0 <= self.0, "{} rao are no part of {}", part.0, self.0);
                self.saturating_sub(part)
            }

            /// This amount `count` times, at most [`Self::MAX`].
            pub const fn saturating_mul(self, count: u64) -> Self {
                Self(self.0.saturating_mul(count))
            }

            /// `per_mille` thousandths of this amount, rounded down; over a thousand gives more than the whole.
            pub fn part_per_mille(self, per_mille: u16) -> Self {
                self.fraction(u64::from(per_mille), 1_000)
            }

            /// `numerator / denominator` of this amount, rounded down, at most [`Self::MAX`]; nothing for a denominator
            /// of 0.
            pub fn fraction(self, numerator: u64, denominator: u64) -> Self {
                let product = u128::from(self.0) * u128::from(numerator);
                Self(product.checked_div(u128::from(denominator)).map_or(0, |part| u64::try_from(part).unwrap_or(u64::MAX)))
            }

            /// The sum of `amounts`, or an error where it does not fit.
            pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, AmountError> {
                amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
            }

            /// The sum of `amounts`, at most [`Self::MAX`].
            pub fn saturating_sum(amounts: impl IntoIterator<Item = Self>) -> Self {
                amounts.into_iter().fold(Self::ZERO, Self::saturating_add)
            }
        }

        impl fmt::Display for $name {
            /// In whole units with nine decimals, so that nothing is rounded away.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}.{:09}", self.0 / RAO_PER_TAO, self.0 % RAO_PER_TAO)
            }
        }

        impl FromStr for $name {
            type Err = AmountError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse_amount(text).map(Self).ok_or_else(|| AmountError::Malformed(text.to_owned()))
            }
        }
    };
}

amount! {
    /// TAO in its smallest unit: 1e9 to the TAO.
    Rao
}
amount! {
    /// The subnet's token (SN3) in its smallest unit: 1e9 to the token.
    Alpha
}

fn parse_amount(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 9 {
        return None;
    }
    let fraction = decimals.parse::<u64>().ok()? * 10u64.pow(9 - decimals.len() as u32);
    whole.parse::<u64>().ok()?.checked_mul(RAO_PER_TAO)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back_loses_nothing() {
        for rao in [0, 1, 999_999_999, RAO_PER_TAO, 1_500_000_000, u64::MAX] {
            assert_eq!(Rao(rao).to_string().parse::<Rao>().unwrap(), Rao(rao));
        }
        for wrong in ["", ".", "1.", ".5", "-1", "1.0000000000", "1e9", "18446744074", "1.5 TAO"] {
            assert!(wrong.parse::<Rao>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn arithmetic_never_wraps() {
        assert!(Rao(u64::MAX).checked_add(Rao(1)).is_err());
        assert!(Rao(1).checked_sub(Rao(2)).is_err());
        assert_eq!(Rao(1).saturating_sub(Rao(2)), Rao::ZERO);
        assert_eq!(Rao::MAX.saturating_add(Rao(1)), Rao::MAX);
        assert_eq!(Rao::from_whole(u64::MAX), Rao::MAX);
        assert!(Alpha::checked_sum([Alpha::MAX, Alpha(1)]).is_err());
        assert_eq!(Alpha::saturating_sum([Alpha(2), Alpha(3)]), Alpha(5));
    }

    #[test]
    fn parts_round_down_and_never_overflow() {
        assert_eq!(Alpha(1_999).part_per_mille(500), Alpha(999));
        assert_eq!(Alpha::MAX.part_per_mille(1_000), Alpha::MAX);
        assert_eq!(Alpha::MAX.fraction(u64::MAX, 1), Alpha::MAX);
        assert_eq!(Alpha(7).fraction(1, 0), Alpha::ZERO);
        assert_eq!(Alpha(7).minus_within(Alpha(7)), Alpha::ZERO);
    }
}
