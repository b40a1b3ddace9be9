//! Slots: their price, who gets one, and who loses one when the subnet is full.

use crate::state::{Slot, State};
use crate::{Event, Refusal, Topic};
use templar_base::{BlockNumber, PublicKey, Rao, Uid};

/// One in the fixed point of prices, 2^32.
const ONE: u64 = 1 << 32;

/// The largest factor `f`, in 2^-32, with `f^half_life ≤ 1/2`; one where the half-life is 0.
pub(crate) fn decay_per_block(half_life_blocks: u32) -> u64 {
    if half_life_blocks == 0 {
        return ONE;
    }
    let (mut low, mut high) = (0, ONE);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if power(middle, half_life_blocks) <= ONE / 2 {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

/// `base^exponent` in 2^-32 fixed point, truncating each product; `base` is one at most.
fn power(base: u64, mut exponent: u32) -> u64 {
    let (mut result, mut square) = (ONE, base);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = multiply(result, square);
        }
        square = multiply(square, square);
        exponent >>= 1;
    }
    result
}

fn multiply(left: u64, right: u64) -> u64 {
    // One operand is 2^32 at most, so the shifted product fits.
    ((u128::from(left) * u128::from(right)) >> 32) as u64
}

/// Lets the price sink by one block.
pub(crate) fn decay_price(state: &mut State) {
    let (decay, minimum) = (state.price_decay, state.profile.registration_price.minimum);
    if decay != ONE {
        state.set_totals(|totals| {
            totals.registration_price = Rao(multiply(totals.registration_price.0, decay)).max(minimum);
        });
    }
}

/// Gives `hotkey` a slot at `coldkey`'s expense.
pub(crate) fn register(
    state: &mut State,
    coldkey: &PublicKey,
    hotkey: &PublicKey,
    max_price: Option<Rao>,
) -> Result<Event, Refusal> {
    if let Some(owner) = state.owner_of(hotkey)
        && owner != *coldkey
    {
        return Err(Refusal::NonAssociatedColdKey { hotkey: *hotkey, owner });
    }
    if let Some(uid) = state.uid_of(hotkey) {
        return Err(Refusal::HotKeyAlreadyRegisteredInSubNet { hotkey: *hotkey, uid });
    }
    let price = state.totals().registration_price;
    if let Some(limit) = max_price
        && price > limit
    {
        return Err(Refusal::RegistrationPriceLimitExceeded { price, limit });
    }
    let uid = next_uid(state).ok_or(Refusal::NoNeuronIdAvailable)?;
    state.debit(coldkey, price, |needed, available| Refusal::NotEnoughBalanceToStake { needed, available })?;

    let rule = state.profile.registration_price.clone();
    state.set_totals(|totals| {
        totals.burned = Rao(totals.burned.0.saturating_add(price.0));
        let raised = u128::from(price.0) * u128::from(rule.rise_per_mille) / 1_000;
        totals.registration_price = Rao(raised.min(u128::from(rule.maximum.0)) as u64).max(rule.minimum);
    });
    let replaced = state.slots.get(&uid).map(|slot| slot.hotkey);
    if let Some(former) = replaced {
        state.weights.remove(&uid);
        state.commitments.remove(&(Topic::Bucket, 0, former));
    }
    let registered_at = state.block;
    state.owners.insert(*hotkey, *coldkey);
    let slot = Slot {
        hotkey: *hotkey,
        permit: false,
        registered_at,
        last_update: BlockNumber(0),
        incentive: 0,
        dividends: 0,
        emission: Rao::ZERO,
    };
    state.set_slot(uid, slot);
    Ok(Event::Registered { uid, hotkey: *hotkey, coldkey: *coldkey, burned: price, replaced })
}

/// The slot that the next key gets: a free one, or that of the least earner.
///
/// The owner's slots are never taken. Slots without immunity go first, as long as more than `min_non_immune` of them
/// exist; within a group the lowest emission goes, then the oldest registration, then the lowest uid.
fn next_uid(state: &State) -> Option<Uid> {
    let profile = &state.profile;
    if state.slots.len() < usize::from(profile.max_uids) {
        // Slots are never given up, so they are numbered without gaps.
        return Some(Uid(state.slots.len() as u16));
    }
    let mut open = Vec::new();
    let mut immune = Vec::new();
    for (uid, slot) in state.slots.iter() {
        if state.owner_of(&slot.hotkey) == Some(profile.owner) {
            continue;
        }
        let rank = (slot.emission, slot.registered_at, *uid);
        let is_immune = state.block.0.saturating_sub(slot.registered_at.0) < profile.immunity_blocks;
        if is_immune { immune.push(rank) } else { open.push(rank) }
    }
    let least = |group: &[(Rao, BlockNumber, Uid)]| group.iter().min().map(|rank| rank.2);
    if open.len() > usize::from(profile.min_non_immune) {
        return least(&open);
    }
    least(&immune).or_else(|| least(&open))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_halves_in_a_half_life_and_no_sooner() {
        let factor = decay_per_block(360);
        assert!(power(factor, 360) <= ONE / 2);
        assert!(power(factor + 1, 360) > ONE / 2);
        assert_eq!(decay_per_block(0), ONE);
        assert_eq!(decay_per_block(1), ONE / 2);
    }
}
