//! Slots: their price, who gets one, and who loses one when the subnet is full.

use crate::rules::curve::{DECAY_ONE, decay, rise};
use crate::rules::pool::Charge;
use crate::rules::s425;
use crate::state::{Slot, State};
use templar_base::{BlockNumber, PublicKey, Rao, Uid};
use templar_chain::{Event, Refusal};

/// Lets the price sink by one block.
pub(crate) fn decay_price(state: &mut State) {
    let bounds = &state.profile.registration_price;
    let factor = state.profile.rule_set.price_decay(bounds.half_life_blocks);
    let (minimum, maximum) = (bounds.minimum, bounds.maximum);
    if factor != DECAY_ONE && state.block > BlockNumber(1) {
        state.set_totals(|totals| {
            totals.registration_price =
                Rao::from_rao(decay(totals.registration_price.as_rao(), factor)).clamp(minimum, maximum);
        });
    }
}

/// Gives `hotkey` a slot at `coldkey`'s expense: the price buys alpha without a fee, and the alpha is burned.
pub(crate) fn register(
    state: &mut State,
    coldkey: &PublicKey,
    hotkey: &PublicKey,
    max_price: Option<Rao>,
    events: &mut Vec<Event>,
) -> Result<(), Refusal> {
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
    let available = state.account(coldkey).balance;
    if price > available {
        return Err(Refusal::NotEnoughBalanceToStake { needed: price, available });
    }
    let (paid, alpha) = crate::rules::stake::buy(state, price, None, Charge::Free, events)?;
    state.debit(coldkey, paid, |needed, available| Refusal::NotEnoughBalanceToStake { needed, available })?;
    state.burn_alpha(alpha);
    raise_price(state, price);

    let replaced = state.slots.get(&uid).map(|slot| slot.hotkey);
    if let Some(former) = replaced {
        state.weights.remove(&uid);
        state.bonds.remove(&uid);
        state.weight_commits.remove(&former);
        state.remove_bucket(former);
    }
    state.owners.insert(*hotkey, *coldkey);
    state.set_slot(uid, Slot::new(*hotkey, state.block));
    events.push(Event::Registered { uid, hotkey: *hotkey, coldkey: *coldkey, burned: paid, replaced });
    Ok(())
}

fn raise_price(state: &mut State, price: Rao) {
    let rule = state.profile.registration_price.clone();
    let raised = Rao::from_rao(rise(price.as_rao(), rule.rise_per_mille, 1_000)).clamp(rule.minimum, rule.maximum);
    state.set_totals(|totals| totals.registration_price = raised);
}

/// The slot that speaks for the subnet's owner: the oldest of its own.
pub(crate) fn owner_slot(state: &State) -> Option<Uid> {
    immune_owner_slots(state).first().copied()
}

/// The owner's slots that are never pruned: the oldest, as many as the chain protects.
fn immune_owner_slots(state: &State) -> Vec<Uid> {
    let owner = state.profile.owner;
    let owned = state.slots.iter().filter(|(_, slot)| state.owner_of(&slot.hotkey) == Some(owner));
    let mut owned: Vec<(BlockNumber, Uid)> = owned.map(|(uid, slot)| (slot.registered_at, *uid)).collect();
    owned.sort_unstable();
    owned.truncate(s425::IMMUNE_OWNER_SLOTS);
    owned.into_iter().map(|(_, uid)| uid).collect()
}

/// The slot that the next key gets: a free one, or that of the least earner.
///
/// Slots without immunity go first, as long as more than `min_non_immune` of them exist, and otherwise one with
/// immunity; within a group the lowest emission goes, then the oldest registration, then the lowest uid. The chain's
/// `get_neuron_to_prune`.
fn next_uid(state: &State) -> Option<Uid> {
    let profile = &state.profile;
    if state.slots.len() < usize::from(profile.max_uids) {
        // Slots are never given up, so they are numbered without gaps.
        return Some(Uid(state.slots.len() as u16));
    }
    let spared = immune_owner_slots(state);
    let mut open = Vec::new();
    let mut immune = Vec::new();
    for (uid, slot) in state.slots.iter().filter(|(uid, _)| !spared.contains(uid)) {
        let rank = (slot.emission, slot.registered_at, *uid);
        let is_immune = state.block.blocks_since(slot.registered_at) < profile.immunity_blocks;
        if is_immune { immune.push(rank) } else { open.push(rank) }
    }
    let group = if open.len() > usize::from(profile.min_non_immune) { open } else { immune };
    group.into_iter().min().map(|(_, _, uid)| uid)
}
