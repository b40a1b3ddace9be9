//! The curves of the chain: how much is issued, how the price of a slot moves, what a subnet costs, how the moving
//! price follows.

use crate::arithmetic::wide::multiply_divide;
use crate::rules::s425;
pub use crate::state::MovingPrice;
use crate::state::Price;
use templar_base::Rao;

/// One in the fixed point of decays, 2^32.
pub(crate) const DECAY_ONE: u64 = 1 << 32;

/// Emission of a block after `issued`: `full / 2^floor(log2(1 / (1 − issued / supply)))`, nothing once the supply is
/// reached. The chain's `get_block_emission_for_issuance`, with an exact logarithm.
pub fn block_emission(full: u64, issued: u64) -> u64 {
    let left = s425::TOTAL_SUPPLY.saturating_sub(issued);
    if left == 0 {
        return 0;
    }
    // supply / left >= 2^n means supply / 2^n >= left, so whole numbers give the logarithm's floor exactly.
    full >> (s425::TOTAL_SUPPLY / left).ilog2()
}

/// The largest factor `f`, in 2^-32, with `f^half_life ≤ 1/2`; one where the half-life is 0.
pub fn decay_per_block(half_life_blocks: u32) -> u64 {
    if half_life_blocks == 0 {
        return DECAY_ONE;
    }
    let (mut low, mut high) = (0, DECAY_ONE);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if power(middle, half_life_blocks) <= DECAY_ONE / 2 {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

/// `base^exponent` in 2^-32, truncating each product; `base` is one at most.
fn power(base: u64, mut exponent: u32) -> u64 {
    let (mut result, mut square) = (DECAY_ONE, base);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = decay(result, square);
        }
        square = decay(square, square);
        exponent >>= 1;
    }
    result
}

/// `amount · factor`, the factor in 2^-32 and one at most.
pub fn decay(amount: u64, factor: u64) -> u64 {
    ((u128::from(amount) * u128::from(factor)) >> 32) as u64
}

/// `amount · numerator / denominator`, where the ratio is first rounded to a 64-bit float's 53 binary digits as the
/// chain's literal was, and the product then down. Held to 64 bits; for ratios from 1 to 16.
pub fn rise(amount: u64, numerator: u32, denominator: u32) -> u64 {
    let whole = u64::from(numerator).checked_div(denominator.into()).unwrap_or(0).max(1);
    // A float of this size keeps so many digits after the point.
    let digits = 52u32.saturating_sub(whole.ilog2());
    let scaled = u128::from(numerator) << (digits + 1);
    // To the nearest: half of the last digit is added before the cut.
    let ratio = (scaled / u128::from(denominator.max(1))).div_ceil(2);
    let risen = multiply_divide(amount.into(), ratio, 1 << digits);
    risen.and_then(|risen| u64::try_from(risen).ok()).unwrap_or(u64::MAX)
}

/// What a new subnet has to lock: twice what the last one did, falling by the last one in `interval` blocks, and never
/// under `minimum`. The chain's `get_network_lock_cost`; the local ledger has one subnet and charges it nowhere.
pub fn network_lock_cost(last_lock: Rao, last_lock_block: u64, block: u64, interval: u64, minimum: Rao) -> Rao {
    let multiple = if last_lock_block == 0 { 1 } else { 2 };
    let per_block = last_lock.as_rao().checked_div(interval).unwrap_or(0);
    let fallen = per_block.saturating_mul(block.saturating_sub(last_lock_block));
    Rao::from_rao(last_lock.as_rao().saturating_mul(multiple).saturating_sub(fallen).max(minimum.as_rao()))
}

/// How the moving price follows the price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MovingPriceRule {
    /// The pace in the end, in 10^-18 a block.
    pub alpha_e18: u64,
    /// Blocks after which the pace is half of that.
    pub halving_blocks: u64,
}

impl MovingPrice {
    /// `a · min(price, 1) + (1 − a) · self`, with `a = alpha · blocks / (blocks + halving)`. The chain's
    /// `update_moving_price`, with more digits than its 32 after the point.
    pub fn advance(self, price: Price, blocks: u64, rule: MovingPriceRule) -> Self {
        let span = u128::from(blocks) + u128::from(rule.halving_blocks);
        let scale = span.saturating_mul(1_000_000_000_000_000_000);
        let pace = u128::from(rule.alpha_e18).saturating_mul(blocks.into());
        let pace = multiply_divide(pace, Self::ONE.to_bits(), scale).unwrap_or(0).min(Self::ONE.to_bits());
        let target = price.min(Price::ONE).to_bits() << 32;
        let weigh = |factor: u128, value: u128| multiply_divide(factor, value, Self::ONE.to_bits()).unwrap_or(0);
        Self::from_bits(weigh(pace, target).saturating_add(weigh(Self::ONE.to_bits() - pace, self.to_bits())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_of_a_slot_halves_in_a_half_life_and_no_sooner() {
        let factor = decay_per_block(360);
        assert!(power(factor, 360) <= DECAY_ONE / 2);
        assert!(power(factor + 1, 360) > DECAY_ONE / 2);
        assert_eq!(decay_per_block(0), DECAY_ONE);
        assert_eq!(decay_per_block(1), DECAY_ONE / 2);
    }

    #[test]
    fn a_rise_is_the_chains_literal() {
        // 1.26 as a 64-bit float is 5674535841480745 / 2^52, a little more than 1.26.
        assert_eq!(rise(1 << 52, 126, 100), 0x0014_28F5_C28F_5C29);
        assert_eq!(rise(1_000, 1_000, 1_000), 1_000);
        assert_eq!(rise(u64::MAX, 9, 1), u64::MAX);
        assert_eq!(rise(7, 1_260, 1_000), 8);
    }

    #[test]
    fn emission_halves_when_the_rest_of_the_supply_halves() {
        let half = s425::TOTAL_SUPPLY / 2;
        let emission = |issued| block_emission(s425::BLOCK_EMISSION, issued);
        assert_eq!((emission(0), emission(half - 1), emission(half)), (1_000_000_000, 1_000_000_000, 500_000_000));
        assert_eq!((emission(half / 2 * 3), emission(s425::TOTAL_SUPPLY)), (250_000_000, 0));
    }
}
