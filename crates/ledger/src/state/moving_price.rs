//! The slow mean of the price.

use crate::arithmetic::wide::multiply_divide;
use parity_scale_codec::{Decode, Encode};
use templar_base::{RAO_PER_TAO, Rao};

/// The moving price: TAO per alpha, in 2^-96.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Encode, Decode)]
pub struct MovingPrice(u128);

impl MovingPrice {
    /// One.
    pub const ONE: Self = Self(1 << 96);

    /// The number whose bits these are: the price times 2^96.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits: the price times 2^96.
    pub const fn to_bits(self) -> u128 {
        self.0
    }

    /// What a whole alpha costs, rounded down.
    pub fn rao_per_alpha(self) -> Rao {
        let rao = multiply_divide(self.0, u128::from(RAO_PER_TAO), Self::ONE.0).unwrap_or(u128::MAX);
        Rao::from_rao(u64::try_from(rao).unwrap_or(u64::MAX))
    }
}
