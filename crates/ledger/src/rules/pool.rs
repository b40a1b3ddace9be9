//! The subnet's pool: TAO on one side, the subnet's token on the other, and the price between them.
//!
//! [`WeightedPool`] is the chain's: with TAO reserve y, alpha reserve x and weights w_q of TAO and w_b = 1 − w_q of
//! alpha,
//!
//! ```text
//! price              p  = (w_b / w_q) · (y / x)
//! buying for dy      dx = x · (1 − (y / (y + dy))^(w_q / w_b))
//! selling dx         dy = y · (1 − (x / (x + dx))^(w_b / w_q))
//! up to the price p' dy = y · ((p' / p)^w_b − 1),    dx = x · ((p / p')^w_q − 1)
//! adding dy and dx   w_q' = w_q · x · (y + dy) / (w_b · y · (x + dx) + w_q · x · (y + dy)):  the price stays
//! ```
//!
//! A fee is taken from what is paid in, before the swap, and lies beside the reserves until the next block adds it to
//! them. Every result is rounded against the trader. Source: `pallets/swap/src/pallet/balancer.rs` of subtensor.

mod power;

use crate::arithmetic::wide::multiply_divide;
pub use crate::state::{Price, WEIGHT_ONE, WeightedPool};
use power::Fraction;
use templar_base::{Alpha, Rao};
use templar_chain::{PoolError, PriceLimit};

/// Neither weight goes under a hundredth.
const LEAST_WEIGHT: u64 = WEIGHT_ONE / 100;
/// What fees are parts of.
const FEE_WHOLE: u64 = 65_535;

/// What a swap did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swap<In, Out> {
    /// What was paid in, the fee included.
    pub paid: In,
    /// The part of it that was the fee.
    pub fee: In,
    /// What came out.
    pub received: Out,
}

/// Who pays for a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// A trader: the pool's fee is taken.
    Fee,
    /// The chain's own rules: no fee.
    Free,
}

impl WeightedPool {
    /// The fee for paying in `amount`.
    pub fn fee_of(&self, amount: u64, charge: Charge) -> u64 {
        match charge {
            Charge::Free => 0,
            Charge::Fee => (u128::from(amount) * u128::from(self.fee_rate) / u128::from(FEE_WHOLE)) as u64,
        }
    }

    /// The most that can be paid in so that no more than `net` reaches the reserves.
    fn gross_of(&self, net: u64, charge: Charge) -> u64 {
        let rate = u64::from(self.fee_rate).min(FEE_WHOLE - 1);
        match charge {
            Charge::Free => net,
            Charge::Fee => {
                let gross = u128::from(net) * u128::from(FEE_WHOLE) / u128::from(FEE_WHOLE - rate);
                u64::try_from(gross).unwrap_or(u64::MAX)
            }
        }
    }

    /// What comes out for `tao` that reaches the reserves.
    pub fn alpha_out(&self, tao: Rao) -> Alpha {
        let (quote, base) = (self.quote_weight, self.base_weight());
        Alpha::from_rao(paid_out(self.tao.as_rao(), tao.as_rao(), self.alpha.as_rao(), quote, base))
    }

    /// What comes out for `alpha` that reaches the reserves.
    pub fn tao_out(&self, alpha: Alpha) -> Rao {
        let (quote, base) = (self.quote_weight, self.base_weight());
        Rao::from_rao(paid_out(self.alpha.as_rao(), alpha.as_rao(), self.tao.as_rao(), base, quote))
    }

    /// The TAO that raises the price to `limit`; nothing where it is there already.
    fn tao_up_to(&self, limit: Price) -> u64 {
        let price = self.price();
        if limit <= price {
            return 0;
        }
        let ratio = Fraction::power(price.to_bits(), limit.to_bits(), self.base_weight().into(), WEIGHT_ONE.into());
        ratio.excess_of(self.tao.as_rao())
    }

    /// The alpha that lowers the price to `limit`; nothing where it is there already.
    fn alpha_down_to(&self, limit: Price) -> u64 {
        let price = self.price();
        if limit >= price {
            return 0;
        }
        let ratio = Fraction::power(limit.to_bits(), price.to_bits(), self.quote_weight.into(), WEIGHT_ONE.into());
        ratio.excess_of(self.alpha.as_rao())
    }

    /// How much of `amount` may be paid in, of which `most_net` may reach the reserves.
    fn allowed(&self, amount: u64, most_net: u64, partial: bool, charge: Charge) -> Result<u64, PoolError> {
        let most = self.gross_of(most_net, charge);
        if amount <= most {
            return Ok(amount);
        }
        if partial && most > 0 { Ok(most) } else { Err(PoolError::SlippageTooHigh) }
    }

    fn check_reserves(&self) -> Result<(), PoolError> {
        let is_enough = self.tao.as_rao() >= self.least_reserve && self.alpha.as_rao() >= self.least_reserve;
        if is_enough { Ok(()) } else { Err(PoolError::InsufficientLiquidity) }
    }

    /// The weight of TAO that keeps the price when the reserves grow; none where a weight would be too small.
    fn weight_after(&self, tao: Rao, alpha: Alpha) -> Option<u64> {
        let one = u128::from(WEIGHT_ONE);
        let (old_tao, old_alpha) = (u128::from(self.tao.as_rao()), u128::from(self.alpha.as_rao()));
        let (new_tao, new_alpha) = (old_tao + u128::from(tao.as_rao()), old_alpha + u128::from(alpha.as_rao()));
        let base = multiply_divide(old_tao.checked_mul(new_alpha)?, self.base_weight().into(), one)?;
        let quote = multiply_divide(old_alpha.checked_mul(new_tao)?, self.quote_weight.into(), one)?;
        let weight = multiply_divide(quote, one, base.checked_add(quote)?)? as u64;
        (LEAST_WEIGHT..=WEIGHT_ONE - LEAST_WEIGHT).contains(&weight).then_some(weight)
    }
}

/// `out · (1 − (reserve / (reserve + paid))^(power / root))`, rounded down.
fn paid_out(reserve: u64, paid: u64, out: u64, power: u64, root: u64) -> u64 {
    let after = u128::from(reserve) + u128::from(paid);
    if paid == 0 || root == 0 {
        return 0;
    }
    if power == root {
        // Equal weights need no power, and come out exact; at most `out`.
        return (u128::from(out) * u128::from(paid) / after) as u64;
    }
    Fraction::power(reserve.into(), after, power.into(), root.into()).complement_of(out)
}

impl WeightedPool {
    /// Buys alpha for `tao`.
    pub fn buy(&mut self, tao: Rao, limit: Option<PriceLimit>, charge: Charge) -> Result<Swap<Rao, Alpha>, PoolError> {
        self.check_reserves()?;
        let paid = match limit {
            None => tao.as_rao(),
            Some(limit) => {
                let most = self.tao_up_to(Price::from_rao_per_alpha(limit.rao_per_alpha));
                self.allowed(tao.as_rao(), most, limit.allow_partial, charge)?
            }
        };
        let fee = self.fee_of(paid, charge);
        let net = Rao::from_rao(paid - fee);
        let received = self.alpha_out(net);
        let after = Self {
            tao: self.tao.checked_add(net).map_err(|_| PoolError::InsufficientLiquidity)?,
            alpha: self.alpha.saturating_sub(received),
            fees_tao: self.fees_tao.checked_add(Rao::from_rao(fee)).map_err(|_| PoolError::InsufficientLiquidity)?,
            ..self.clone()
        };
        after.check_reserves()?;
        *self = after;
        Ok(Swap { paid: Rao::from_rao(paid), fee: Rao::from_rao(fee), received })
    }

    /// Sells `alpha` for TAO.
    pub fn sell(
        &mut self,
        alpha: Alpha,
        limit: Option<PriceLimit>,
        charge: Charge,
    ) -> Result<Swap<Alpha, Rao>, PoolError> {
        self.check_reserves()?;
        let paid = match limit {
            None => alpha.as_rao(),
            Some(limit) => {
                let most = self.alpha_down_to(Price::from_rao_per_alpha(limit.rao_per_alpha));
                self.allowed(alpha.as_rao(), most, limit.allow_partial, charge)?
            }
        };
        let fee = self.fee_of(paid, charge);
        let net = Alpha::from_rao(paid - fee);
        let received = self.tao_out(net);
        let after = Self {
            alpha: self.alpha.checked_add(net).map_err(|_| PoolError::InsufficientLiquidity)?,
            tao: self.tao.saturating_sub(received),
            fees_alpha: self
                .fees_alpha
                .checked_add(Alpha::from_rao(fee))
                .map_err(|_| PoolError::InsufficientLiquidity)?,
            ..self.clone()
        };
        after.check_reserves()?;
        *self = after;
        Ok(Swap { paid: Alpha::from_rao(paid), fee: Alpha::from_rao(fee), received })
    }

    /// Adds to both sides without moving the price; false, and nothing added, where the pool cannot take it.
    pub fn inject(&mut self, tao: Rao, alpha: Alpha) -> bool {
        let (Ok(tao), Ok(alpha)) = (tao.checked_add(self.fees_tao), alpha.checked_add(self.fees_alpha)) else {
            return false;
        };
        let (Ok(new_tao), Ok(new_alpha)) = (self.tao.checked_add(tao), self.alpha.checked_add(alpha)) else {
            return false;
        };
        let Some(weight) = self.weight_after(tao, alpha) else { return false };
        (self.tao, self.alpha, self.quote_weight) = (new_tao, new_alpha, weight);
        (self.fees_tao, self.fees_alpha) = (Rao::ZERO, Alpha::ZERO);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pool(tao: u64, alpha: u64, quote_weight: u64) -> WeightedPool {
        WeightedPool { quote_weight, ..WeightedPool::new(Rao::from_rao(tao), Alpha::from_rao(alpha), 33, 1_000_000) }
    }

    #[test]
    fn a_swap_that_would_drain_a_side_is_refused_and_changes_nothing() {
        let mut small = pool(2_000_000, 2_000_000, WEIGHT_ONE / 2);
        let before = small.clone();
        assert_eq!(small.buy(Rao::from_rao(u64::MAX / 2), None, Charge::Fee), Err(PoolError::InsufficientLiquidity));
        assert_eq!(small.sell(Alpha::from_rao(1 << 50), None, Charge::Fee), Err(PoolError::InsufficientLiquidity));
        assert_eq!(small, before);
        assert!(pool(999_999, 2_000_000, WEIGHT_ONE / 2).buy(Rao::from_rao(1), None, Charge::Free).is_err());
    }

    #[test]
    fn a_limit_price_is_reached_and_not_passed() {
        let mut market = pool(10_000_000_000_000, 1_000_000_000_000_000, WEIGHT_ONE / 10 * 4);
        let limit = PriceLimit { rao_per_alpha: Rao::from_rao(20_000_000), allow_partial: true };
        let all_or_nothing = PriceLimit { allow_partial: false, ..limit };
        let much = Rao::from_rao(u64::MAX / 4);
        assert_eq!(market.clone().buy(much, Some(all_or_nothing), Charge::Fee), Err(PoolError::SlippageTooHigh));
        let swap = market.buy(much, Some(limit), Charge::Fee).unwrap();
        assert!(swap.paid < much && swap.received > Alpha::ZERO);
        let price = market.price().rao_per_alpha();
        assert!((19_999_990..=20_000_000).contains(&price.as_rao()), "{price}");
        let down = PriceLimit { rao_per_alpha: Rao::from_rao(10_000_000), allow_partial: true };
        market.sell(Alpha::from_rao(u64::MAX / 4), Some(down), Charge::Fee).unwrap();
        let price = market.price().rao_per_alpha();
        assert!((10_000_000..=10_000_010).contains(&price.as_rao()), "{price}");
    }

    proptest! {
        #[test]
        fn nobody_gains_by_going_in_and_out(
            tao in 1_000_000_000u64..1 << 54, alpha in 1_000_000_000u64..1 << 54,
            weight in WEIGHT_ONE / 10..WEIGHT_ONE / 10 * 9, paid in 1u64..1 << 50,
        ) {
            let mut market = pool(tao, alpha, weight);
            let (tao_before, alpha_before) = market.holdings();
            if let Ok(bought) = market.buy(Rao::from_rao(paid), None, Charge::Free)
                && let Ok(sold) = market.sell(bought.received, None, Charge::Free)
            {
                prop_assert!(sold.received.as_rao() <= paid + 1, "{} for {}", sold.received, paid);
                let (tao_after, alpha_after) = market.holdings();
                prop_assert_eq!(tao_after.as_rao(), tao_before.as_rao() + paid - sold.received.as_rao());
                prop_assert_eq!(alpha_after, alpha_before);
            }
        }

        #[test]
        fn adding_to_the_reserves_keeps_the_price(
            tao in 1_000_000_000u64..1 << 52, alpha in 1_000_000_000u64..1 << 52,
            more_tao in 0u64..1_000_000_000, more_alpha in 0u64..1_000_000_000,
        ) {
            let mut market = pool(tao, alpha, WEIGHT_ONE / 2);
            let before = market.price().to_bits() as f64;
            if market.inject(Rao::from_rao(more_tao), Alpha::from_rao(more_alpha)) {
                let after = market.price().to_bits() as f64;
                prop_assert!((after / before - 1.0).abs() < 1e-9, "{} became {}", before, after);
            }
        }
    }
}
