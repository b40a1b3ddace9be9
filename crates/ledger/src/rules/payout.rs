//! Paying an epoch: who gets what of each amount, to the rao.

use crate::rules::pool::Charge;
use crate::rules::s425;
use crate::rules::yuma::{EpochInput, EpochTerms};
use crate::state::{ROOT, State};
use parity_scale_codec::{Decode, Encode};
use templar_base::{Alpha, BlockNumber, PublicKey, Rao, Uid};
use templar_chain::{Event, Payout};

/// An epoch as it was computed and paid: everything that explains it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PaidEpoch {
    /// The block that ended it.
    pub block: BlockNumber,
    /// What Yuma was told.
    pub input: EpochInput,
    /// The owner's part.
    pub owner_cut: Alpha,
    /// One payout for each slot, by uid.
    pub payouts: Vec<Payout>,
}

/// Pays an epoch out of what is pending; what rounding leaves stays pending.
pub(crate) fn pay(state: &mut State, input: EpochInput, terms: &[EpochTerms], events: &mut Vec<Event>) -> PaidEpoch {
    let owner_cut = pay_owner(state);
    let slots: Vec<(Uid, PublicKey)> = state.slots.iter().map(|(uid, slot)| (*uid, slot.hotkey)).collect();
    let mut payouts = Vec::with_capacity(slots.len());
    let (mut miners, mut validators) = (Alpha::ZERO, Alpha::ZERO);
    for ((uid, hotkey), terms) in slots.iter().zip(terms) {
        // Shares are rounded down and add up to one at most, so the pending amount covers them all.
        let (incentive, dividends) =
            (draw_pending(state, terms.server_emission), draw_pending(state, terms.validator_emission));
        miners = miners.saturating_add(incentive);
        validators = validators.saturating_add(dividends);
        let is_burned = pay_incentive(state, hotkey, incentive);
        let payout = pay_dividends(state, hotkey, dividends, events);
        let payout = Payout { incentive, is_burned, ..payout };
        if incentive != Alpha::ZERO || dividends != Alpha::ZERO {
            events.push(Event::Emitted { uid: *uid, hotkey: *hotkey, incentive, dividends });
        }
        payouts.push(payout);
    }
    events.push(Event::EpochEnded {
        issued: owner_cut.saturating_add(miners).saturating_add(validators),
        owner: owner_cut,
        miners,
        validators,
    });
    PaidEpoch { block: state.block, input, owner_cut, payouts }
}

/// The owner's part is staked behind its oldest slot, or behind its own key while it has none.
fn pay_owner(state: &mut State) -> Alpha {
    let mut subnet = state.subnet().clone();
    let owner_cut = std::mem::take(&mut subnet.pending_owner);
    state.set_subnet(subnet);
    let owner = state.profile.owner;
    let slot = crate::rules::registration::owner_slot(state).and_then(|uid| state.slots.get(&uid));
    let hotkey = slot.map_or(owner, |slot| slot.hotkey);
    let netuid = state.profile.netuid;
    state.add_stake(netuid, &hotkey, &owner, owner_cut.as_rao());
    owner_cut
}

fn draw_pending(state: &mut State, amount: u64) -> Alpha {
    let mut subnet = state.subnet().clone();
    let drawn = Alpha::from_rao(amount).min(subnet.pending_emission);
    subnet.pending_emission = subnet.pending_emission.minus_within(drawn);
    state.set_subnet(subnet);
    drawn
}

/// Stakes a miner's pay behind its hotkey; burns it where the subnet's owner mines. Whether it was burned.
fn pay_incentive(state: &mut State, hotkey: &PublicKey, incentive: Alpha) -> bool {
    let coldkey = state.owner_of(hotkey).unwrap_or(*hotkey);
    if coldkey == state.profile.owner && incentive != Alpha::ZERO {
        state.burn_alpha(incentive);
        return true;
    }
    let netuid = state.profile.netuid;
    state.add_stake(netuid, hotkey, &coldkey, incentive.as_rao());
    false
}

/// Shares a validator's dividends: its own take, then root stakers by what their TAO counts for (sold, and paid in TAO),
/// then everybody with alpha behind it.
fn pay_dividends(state: &mut State, hotkey: &PublicKey, dividends: Alpha, events: &mut Vec<Event>) -> Payout {
    let coldkey = state.owner_of(hotkey).unwrap_or(*hotkey);
    let take = dividends.fraction(state.take_of(hotkey).into(), 65_535);
    let rest = dividends.minus_within(take);
    let root_weight = (u128::from(state.root_behind(hotkey).as_rao()) * u128::from(s425::TAO_WEIGHT)) >> 32;
    let all_weight = root_weight + u128::from(state.alpha_behind(hotkey).as_rao());
    let mut to_root = share(rest, root_weight, all_weight);
    let mut root_tao = Rao::ZERO;
    match crate::rules::stake::sell(state, to_root, None, Charge::Free, events) {
        Ok((_, received)) if !to_root.is_zero() => {
            root_tao = received;
            state.grow_stake(ROOT, hotkey, &coldkey, received.as_rao());
        }
        // Too little to be worth a rao, or a pool that cannot take it: it stays with the alpha.
        _ => to_root = Alpha::ZERO,
    }
    let netuid = state.profile.netuid;
    let to_alpha = rest.minus_within(to_root);
    state.grow_stake(netuid, hotkey, &coldkey, to_alpha.as_rao());
    state.add_stake(netuid, hotkey, &coldkey, take.as_rao());
    Payout {
        hotkey: *hotkey,
        incentive: Alpha::ZERO,
        is_burned: false,
        dividends,
        take,
        to_alpha_stakers: to_alpha,
        to_root_stakers: to_root,
        root_tao,
    }
}

/// `floor(amount · part / whole)`, for a part of at most the whole; nothing of a whole of 0.
fn share(amount: Alpha, part: u128, whole: u128) -> Alpha {
    crate::arithmetic::wide::multiply_divide(amount.as_rao().into(), part, whole)
        .map_or(Alpha::ZERO, |share| Alpha::from_rao(share as u64))
}
