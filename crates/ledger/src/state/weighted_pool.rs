//! The subnet's pool as the state keeps it: two reserves with weights. `rules/pool.rs` has its trades.

use super::price::Price;
use crate::arithmetic::wide::multiply_divide;
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Alpha, Rao};

/// One, in the scale of weights: 18 decimals.
pub const WEIGHT_ONE: u64 = 1_000_000_000_000_000_000;
/// The chain's pool: two reserves with weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct WeightedPool {
    /// Reserve of TAO.
    pub tao: Rao,
    /// Reserve of alpha.
    pub alpha: Alpha,
    /// Weight of TAO, with 18 decimals; the rest is alpha's.
    pub quote_weight: u64,
    /// TAO of fees that waits to be added to the reserve.
    pub fees_tao: Rao,
    /// Alpha of fees that waits to be added to the reserve.
    pub fees_alpha: Alpha,
    /// What a trade costs, in 1/65535 of what is paid in.
    pub fee_rate: u16,
    /// No reserve falls under this by a trade.
    pub least_reserve: u64,
}

impl WeightedPool {
    /// A pool with equal weights.
    pub fn new(tao: Rao, alpha: Alpha, fee_rate: u16, least_reserve: u64) -> Self {
        let (fees_tao, fees_alpha) = (Rao::ZERO, Alpha::ZERO);
        Self { tao, alpha, quote_weight: WEIGHT_ONE / 2, fees_tao, fees_alpha, fee_rate, least_reserve }
    }

    pub(crate) fn base_weight(&self) -> u64 {
        WEIGHT_ONE.saturating_sub(self.quote_weight)
    }

    /// The price now.
    pub fn price(&self) -> Price {
        let weights =
            multiply_divide(self.base_weight().into(), Price::ONE.to_bits(), self.quote_weight.into()).unwrap_or(0);
        let reserves =
            multiply_divide(self.tao.as_rao().into(), Price::ONE.to_bits(), self.alpha.as_rao().into()).unwrap_or(0);
        Price::from_bits(multiply_divide(weights, reserves, Price::ONE.to_bits()).unwrap_or(u128::MAX))
    }

    /// The TAO and the alpha that it holds, fees included.
    pub fn holdings(&self) -> (Rao, Alpha) {
        // The supply bounds both sums.
        (self.tao.saturating_add(self.fees_tao), self.alpha.saturating_add(self.fees_alpha))
    }
}
