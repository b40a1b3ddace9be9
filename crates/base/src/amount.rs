//! Money: whole numbers of the smallest unit, with checked arithmetic only.

use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Smallest units in one TAO, and in one alpha.
pub const RAO_PER_TAO: u64 = 1_000_000_000;

/// An amount that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// The sum does not fit in 64 bits.
    #[error("amount overflows: {0} and {1} rao do not fit together")]
    Overflow(u64, u64),
    /// More would be taken than is there.
    #[error("amount underflows: {1} rao cannot be taken from {0}")]
    Underflow(u64, u64),
    /// Text that is no amount.
    #[error("`{0}` is no amount: write a number with at most nine decimals, such as 1.5")]
    Malformed(String),
}

macro_rules! amount {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, Encode, Decode)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);

            /// The sum, or an error where it does not fit.
            pub fn checked_add(self, other: Self) -> Result<Self, AmountError> {
                self.0.checked_add(other.0).map(Self).ok_or(AmountError::Overflow(self.0, other.0))
            }

            /// The difference, or an error where `other` is more.
            pub fn checked_sub(self, other: Self) -> Result<Self, AmountError> {
                self.0.checked_sub(other.0).map(Self).ok_or(AmountError::Underflow(self.0, other.0))
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
    }
}
