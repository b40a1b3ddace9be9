//! Emission: what each block issues, and how an epoch pays it out.
//!
//! Every block issues TAO and alpha by the same curve, each by its own issuance. The TAO, and alpha at the pool's price,
//! go into the pool; where the TAO would need more alpha than a block issues, the rest of it buys alpha, which is burned.
//! As much alpha again is set aside: 18 % for the owner, the rest for the epoch, which shares it in halves between
//! miners and validators by Yuma. Source: `pallets/subtensor/src/coinbase/` of subtensor.

use crate::rules::curve::MovingPriceRule;
use crate::rules::payout::{PaidEpoch, pay};
use crate::rules::pool::Charge;
use crate::rules::s425;
use crate::rules::yuma::{EpochInput, EpochRow, EpochTerms};
use crate::state::State;
use templar_base::{Alpha, Rao, Uid};
use templar_chain::Event;

/// How pay is computed, as the metagraph states it.
pub const EMISSION_RULE: &str = "s425: Yuma consensus, emission in alpha";

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

/// Issues a block's TAO and alpha.
pub(crate) fn issue(state: &mut State, events: &mut Vec<Event>) {
    let full = state.profile.block_emission.as_rao();
    let issued = state.totals().issued.as_rao();
    let mut subnet = state.subnet().clone();
    let rules = state.profile.rule_set;
    let tao = Rao::from_rao(rules.block_emission(full, issued).min(s425::TOTAL_SUPPLY.saturating_sub(issued)));
    let circulating = subnet.alpha_issued.saturating_sub(subnet.alpha_burned).as_rao();
    let alpha = rules.block_emission(full, circulating).min(s425::TOTAL_SUPPLY.saturating_sub(circulating));
    let alpha = Alpha::from_rao(alpha);

    let price = subnet.pool.price();
    let wanted = price.alpha_for(tao).unwrap_or(alpha);
    let (tao_in, alpha_in) = if wanted > alpha { (price.value_of(alpha).min(tao), alpha) } else { (tao, wanted) };
    let mut made_tao = Rao::ZERO;
    if subnet.pool.inject(tao_in, alpha_in) {
        made_tao = tao_in;
        subnet.alpha_issued = subnet.alpha_issued.saturating_add(alpha_in);
    }
    let owner = alpha.fraction(s425::OWNER_CUT.into(), 65_535);
    subnet.alpha_issued = subnet.alpha_issued.saturating_add(alpha);
    subnet.pending_owner = subnet.pending_owner.saturating_add(owner);
    subnet.pending_emission = subnet.pending_emission.saturating_add(alpha.minus_within(owner));
    state.set_subnet(subnet);
    // A pool without liquidity takes nothing: that TAO is then not issued at all.
    if let Ok((paid, bought)) = crate::rules::stake::buy(state, tao.minus_within(tao_in), None, Charge::Free, events) {
        made_tao = made_tao.saturating_add(paid);
        state.burn_alpha(bought);
    }
    state.set_totals(|totals| totals.issued = totals.issued.saturating_add(made_tao));
    move_price(state);
}

fn move_price(state: &mut State) {
    let mut subnet = state.subnet().clone();
    let rule = MovingPriceRule { alpha_e18: s425::MOVING_ALPHA_E18, halving_blocks: s425::MOVING_PRICE_HALVING_BLOCKS };
    subnet.moving_price = subnet.moving_price.advance(subnet.pool.price(), state.block.0, rule);
    state.set_subnet(subnet);
}

/// Ends an epoch: runs Yuma, pays, and hands out permits anew. Returns what there is to explain of it.
pub(crate) fn end_epoch(state: &mut State, events: &mut Vec<Event>) -> PaidEpoch {
    let input = epoch_input(state);
    let terms = state.profile.rule_set.epoch(&input);
    for (uid, terms) in terms.iter().enumerate() {
        store_terms(state, Uid(uid as u16), terms);
    }
    let paid = pay(state, input, &terms, events);
    let mut subnet = state.subnet().clone();
    subnet.last_epoch = state.block;
    state.set_subnet(subnet);
    paid
}

/// What Yuma is told.
fn epoch_input(state: &State) -> EpochInput {
    let (profile, subnet, block) = (&state.profile, state.subnet(), state.block.0);
    let plain = |row: &[(Uid, u16)]| row.iter().map(|(uid, value)| (uid.0, *value)).collect();
    let row = |(uid, slot): (&Uid, &crate::state::Slot)| EpochRow {
        stake: state.stake_weight(&slot.hotkey),
        permit: slot.permit,
        last_update: slot.last_update.0,
        registered_at: slot.registered_at.0,
        oldest_commit: crate::rules::commit_reveal::oldest_open(state, &slot.hotkey).map(|block| block.0),
        weights: state.weights.get(uid).map(|row| plain(row)).unwrap_or_default(),
        bonds: state.bonds.get(uid).map(|row| plain(row)).unwrap_or_default(),
    };
    let last_tempo = match subnet.last_epoch.0 {
        0 => block.saturating_sub(profile.tempo.into()),
        last => last + 1,
    };
    EpochInput {
        block,
        last_tempo: Some(last_tempo),
        rule: profile.yuma.clone(),
        stake_threshold: profile.weights_stake_threshold.as_rao(),
        owner: crate::rules::registration::owner_slot(state).map(|uid| uid.0),
        emission: subnet.pending_emission.as_rao(),
        rows: state.slots.iter().map(row).collect(),
    }
}

/// Keeps what an epoch found for a slot.
fn store_terms(state: &mut State, uid: Uid, terms: &EpochTerms) {
    let Some(mut slot) = state.slots.get(&uid).cloned() else { return };
    slot.permit = terms.permit;
    slot.active = terms.active;
    slot.consensus = terms.consensus.to_proportion();
    slot.validator_trust = terms.validator_trust.to_proportion();
    slot.incentive = terms.incentive.to_proportion();
    slot.dividends = terms.dividends.to_proportion();
    slot.emission = Alpha::from_rao(terms.emission);
    state.set_slot(uid, slot);
    match &terms.kept_bonds {
        Some(row) if row.is_empty() => drop(state.bonds.remove(&uid)),
        Some(row) => state.bonds.insert(uid, row.iter().map(|(target, bond)| (Uid(*target), *bond)).collect()),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
