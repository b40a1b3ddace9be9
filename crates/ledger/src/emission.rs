//! Plain emission (stake-weighted weights), replaced by Yuma consensus.
//!
//! Each tempo the ledger issues the block emission of all its blocks and splits it: 18 % to the owner, the rest in
//! halves to miners and validators. A miner earns in proportion to `Σ_i S_i · w_ij / Σ_k w_ik` over the validators i
//! that hold a permit; a validator in proportion to its stake S, shared among its stakers. There is no consensus
//! clipping and there are no bonds: a validator with much stake decides alone. Integers only.

use crate::Event;
use crate::profile::MAX_ISSUANCE_RAO;
use crate::state::State;
use std::collections::BTreeMap;
use templar_base::{PublicKey, Rao, Uid};

/// How pay is computed, as the metagraph states it.
pub const EMISSION_RULE: &str = "plain emission (stake-weighted weights), replaced by Yuma consensus";
/// The owner's part, out of 65535: 18 %.
const OWNER_CUT: u128 = 11_796;

/// Emission of one block after `issued`: the profile's, halved each time the rest of the supply halves.
pub(crate) fn block_emission(full: Rao, issued: Rao) -> Rao {
    let left = MAX_ISSUANCE_RAO.saturating_sub(issued.0);
    if left == 0 {
        return Rao::ZERO;
    }
    // floor(log2(supply / left)), exactly, since supply / left >= 2^n means supply / 2^n >= left.
    let halvings = (MAX_ISSUANCE_RAO / left).ilog2();
    Rao(full.0 >> halvings)
}

/// Splits `total` in proportion to `shares`. The parts add up to `total` exactly: each is the difference of two
/// rounded running sums. Without any share there are no parts.
pub(crate) fn split(total: u64, shares: &[u128]) -> Vec<u64> {
    // Keep the sum under 2^63, so that its product with the total fits in 128 bits.
    let sum = shares.iter().fold(0u128, |sum, share| sum.saturating_add(*share));
    let shift = (128 - sum.leading_zeros()).saturating_sub(63);
    let scaled: Vec<u128> = shares.iter().map(|share| share >> shift).collect();
    let sum: u128 = scaled.iter().sum();
    if sum == 0 {
        return vec![0; shares.len()];
    }
    let (mut before, mut running) = (0u64, 0u128);
    let mut parts = Vec::with_capacity(shares.len());
    for share in scaled {
        running += share;
        let until = (u128::from(total) * running / sum) as u64;
        parts.push(until - before);
        before = until;
    }
    parts
}

/// Ends an epoch: pays for the blocks since the last one and hands out permits anew.
pub(crate) fn end_epoch(state: &mut State, events: &mut Vec<Event>) {
    let profile = state.profile.clone();
    let issued = state.totals().issued;
    let per_block = block_emission(profile.block_emission, issued);
    let total = per_block.0.saturating_mul(u64::from(profile.tempo)).min(MAX_ISSUANCE_RAO.saturating_sub(issued.0));
    let owner_part = (u128::from(total) * OWNER_CUT / 65_535) as u64;

    let uids: Vec<Uid> = state.slots.iter().map(|(uid, _)| *uid).collect();
    let stakes = permitted_stakes(state);
    let validator_shares: Vec<u128> = stakes.iter().map(|stake| u128::from(*stake)).collect();
    let miner_shares = miner_shares(state, &stakes);
    let has_validators = validator_shares.iter().any(|share| *share > 0);
    let has_miners = miner_shares.iter().any(|share| *share > 0);

    // Without validators nobody can be paid but the owner; the rest is not issued.
    let rest = if has_validators { total - owner_part } else { 0 };
    let miner_part = if has_miners { rest / 2 } else { 0 };
    let incentives = split(miner_part, &miner_shares);
    let dividends = split(rest - miner_part, &validator_shares);
    let (miners, validators) = (incentives.iter().sum::<u64>(), dividends.iter().sum::<u64>());
    let paid = owner_part + miners + validators;

    state.set_totals(|totals| totals.issued = Rao(issued.0 + paid));
    state.credit(&profile.owner, Rao(owner_part));
    events.push(Event::EpochEnded {
        issued: Rao(paid),
        owner: Rao(owner_part),
        miners: Rao(miners),
        validators: Rao(validators),
    });
    for (position, uid) in uids.iter().enumerate() {
        let (incentive, dividend) = (incentives[position], dividends[position]);
        pay_slot(state, *uid, Pay { incentive, dividend, miners, validators }, events);
    }
    renew_permits(state);
}

struct Pay {
    incentive: u64,
    dividend: u64,
    miners: u64,
    validators: u64,
}

fn pay_slot(state: &mut State, uid: Uid, pay: Pay, events: &mut Vec<Event>) {
    let Some(mut slot) = state.slots.get(&uid).cloned() else { return };
    let hotkey = slot.hotkey;
    slot.incentive = fraction_of_u16(pay.incentive, pay.miners);
    slot.dividends = fraction_of_u16(pay.dividend, pay.validators);
    slot.emission = Rao(pay.incentive + pay.dividend);
    state.set_slot(uid, slot);
    if pay.incentive + pay.dividend == 0 {
        return;
    }
    let stakers = state.stakers(&hotkey);
    let shares: Vec<u128> = stakers.iter().map(|(_, amount)| u128::from(amount.0)).collect();
    for ((coldkey, amount), part) in stakers.iter().zip(split(pay.dividend, &shares)) {
        state.set_stake(&hotkey, coldkey, Rao(amount.0 + part));
    }
    if let Some(coldkey) = state.owner_of(&hotkey)
        && pay.incentive > 0
    {
        let staked = state.stake(&hotkey, &coldkey);
        state.set_stake(&hotkey, &coldkey, Rao(staked.0 + pay.incentive));
    }
    events.push(Event::Emitted { uid, hotkey, incentive: Rao(pay.incentive), dividends: Rao(pay.dividend) });
}

/// `part / whole` in 1/65535, rounded down.
fn fraction_of_u16(part: u64, whole: u64) -> u16 {
    if whole == 0 { 0 } else { (u128::from(part) * 65_535 / u128::from(whole)) as u16 }
}

/// Stake of each slot that holds a permit, zero for the others, in the order of uids.
fn permitted_stakes(state: &State) -> Vec<u64> {
    let stake_if_permitted = |hotkey: &PublicKey, permit: bool| if permit { state.stake_behind(hotkey).0 } else { 0 };
    state.slots.iter().map(|(_, slot)| stake_if_permitted(&slot.hotkey, slot.permit)).collect()
}

/// `Σ_i S_i · w_ij / Σ_k w_ik` for each slot j, in 2^-32 rao.
///
/// As on the chain a validator's weight for itself does not count (the owner's does), nor does a weight that is older
/// than the registration of the slot it is for.
fn miner_shares(state: &State, stakes: &[u64]) -> Vec<u128> {
    let mut shares: BTreeMap<Uid, u128> = state.slots.iter().map(|(uid, _)| (*uid, 0)).collect();
    for ((uid, slot), stake) in state.slots.iter().zip(stakes).filter(|(_, stake)| **stake > 0) {
        let is_owner = state.owner_of(&slot.hotkey) == Some(state.profile.owner);
        let row = state.weights.get(uid).map(Vec::as_slice).unwrap_or_default();
        let counts = |target: &Uid| {
            let registered_at = state.slots.get(target).map(|target| target.registered_at);
            (is_owner || target != uid) && registered_at.is_some_and(|block| slot.last_update > block)
        };
        let counted: Vec<&(Uid, u16)> = row.iter().filter(|(target, _)| counts(target)).collect();
        // Rows hold no zeros, so a row that counts at all has a positive sum.
        let sum: u128 = counted.iter().map(|(_, weight)| u128::from(*weight)).sum();
        for (target, weight) in counted {
            if let Some(share) = shares.get_mut(target) {
                *share += u128::from(*stake) * ((u128::from(*weight) << 32) / sum);
            }
        }
    }
    shares.into_values().collect()
}

/// The slots with the most stake hold a permit, ties by the lower uid; the owner's slots always.
fn renew_permits(state: &mut State) {
    let mut ranked: Vec<(std::cmp::Reverse<Rao>, Uid)> =
        state.slots.iter().map(|(uid, slot)| (std::cmp::Reverse(state.stake_behind(&slot.hotkey)), *uid)).collect();
    ranked.sort_unstable();
    let limit = usize::from(state.profile.max_validators);
    let permitted: std::collections::BTreeSet<Uid> =
        ranked.iter().take(limit).filter(|(stake, _)| stake.0 > Rao::ZERO).map(|(_, uid)| *uid).collect();
    for (_, uid) in ranked {
        let Some(mut slot) = state.slots.get(&uid).cloned() else { continue };
        slot.permit = permitted.contains(&uid) || state.owner_of(&slot.hotkey) == Some(state.profile.owner);
        state.set_slot(uid, slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use templar_base::RAO_PER_TAO;

    #[test]
    fn emission_halves_when_the_rest_of_the_supply_halves() {
        let one = Rao(RAO_PER_TAO);
        assert_eq!(block_emission(one, Rao(0)), one);
        assert_eq!(block_emission(one, Rao(MAX_ISSUANCE_RAO / 2 - 1)), one);
        assert_eq!(block_emission(one, Rao(MAX_ISSUANCE_RAO / 2)), Rao(RAO_PER_TAO / 2));
        assert_eq!(block_emission(one, Rao(MAX_ISSUANCE_RAO / 4 * 3)), Rao(RAO_PER_TAO / 4));
        assert_eq!(block_emission(one, Rao(MAX_ISSUANCE_RAO)), Rao(0));
    }

    proptest! {
        #[test]
        fn a_split_loses_nothing(total in any::<u64>(), shares in proptest::collection::vec(0u128..u128::MAX / 64, 1..20)) {
            let parts = split(total, &shares);
            let expected = if shares.iter().all(|share| *share == 0) { 0 } else { u128::from(total) };
            // Shares so small beside the others that they vanish in scaling get nothing, but somebody gets everything.
            prop_assert_eq!(parts.iter().map(|part| u128::from(*part)).sum::<u128>(), expected);
        }
    }
}
