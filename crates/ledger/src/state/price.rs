//! Prices of the subnet's token.

use crate::arithmetic::wide::multiply_divide;
use parity_scale_codec::{Decode, Encode};
use templar_base::{Alpha, RAO_PER_TAO, Rao};

/// A price: TAO per alpha, in 2^-64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Encode, Decode)]
pub struct Price(u128);

impl Price {
    /// One TAO per alpha.
    pub const ONE: Self = Self(1 << 64);

    /// The price at which a whole alpha costs `rao`.
    pub fn from_rao_per_alpha(rao: Rao) -> Self {
        Self((u128::from(rao.as_rao()) << 64) / u128::from(RAO_PER_TAO))
    }

    /// What a whole alpha costs, rounded down.
    pub fn rao_per_alpha(self) -> Rao {
        Rao::from_rao(self.scaled(RAO_PER_TAO.into()))
    }

    /// The price times `scale`, rounded down and held to 64 bits.
    pub fn scaled(self, scale: u128) -> u64 {
        let scaled = multiply_divide(self.0, scale, Self::ONE.0);
        scaled.and_then(|scaled| u64::try_from(scaled).ok()).unwrap_or(u64::MAX)
    }

    /// The number whose bits these are: the price times 2^64.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits: the price times 2^64.
    pub fn to_bits(self) -> u128 {
        self.0
    }

    /// What `alpha` is worth, rounded down and held to 64 bits.
    pub fn value_of(self, alpha: Alpha) -> Rao {
        Rao::from_rao(self.scaled(alpha.as_rao().into()))
    }

    /// How much alpha `tao` is worth, rounded down and held to 64 bits; none at a price of zero.
    pub fn alpha_for(self, tao: Rao) -> Option<Alpha> {
        let alpha = multiply_divide(tao.as_rao().into(), Self::ONE.0, self.0)?;
        Some(Alpha::from_rao(u64::try_from(alpha).unwrap_or(u64::MAX)))
    }
}
