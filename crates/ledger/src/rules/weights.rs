//! What validators think of miners.

use crate::arithmetic::fixed::StakeWeight;
use crate::state::{Slot, State};
use templar_base::{Alpha, PublicKey, Uid};
use templar_chain::{Event, Refusal};

/// Replaces the weights of `hotkey`'s slot at once.
pub(crate) fn set_weights(
    state: &mut State,
    hotkey: &PublicKey,
    uids: &[Uid],
    values: &[u16],
    version_key: u64,
) -> Result<Event, Refusal> {
    if state.profile.commit_reveal {
        return Err(Refusal::CommitRevealEnabled);
    }
    let (uid, mut slot) = setter(state, hotkey)?;
    let row = checked_row(state, uids, values, version_key)?;
    check_rate(state, &slot)?;
    slot.last_update = state.block;
    state.set_slot(uid, slot);
    state.weights.insert(uid, row);
    Ok(Event::WeightsSet { uid })
}

/// The slot of a hotkey that may set weights.
pub(crate) fn setter(state: &State, hotkey: &PublicKey) -> Result<(Uid, Slot), Refusal> {
    let unknown = || Refusal::HotKeyNotRegisteredInSubNet { hotkey: *hotkey };
    let uid = state.uid_of(hotkey).ok_or_else(unknown)?;
    let slot = state.slots.get(&uid).cloned().ok_or_else(unknown)?;
    let (stake, threshold) =
        (Alpha::from_rao(state.stake_weight(hotkey).to_int()), state.profile.weights_stake_threshold);
    if stake < threshold {
        return Err(Refusal::NotEnoughStakeToSetWeights { stake, threshold });
    }
    // The owner judges with or without a permit, as in Yuma.
    if !slot.permit && crate::rules::registration::owner_slot(state) != Some(uid) {
        return Err(Refusal::NeuronNoValidatorPermit { uid });
    }
    Ok((uid, slot))
}

/// That enough blocks have passed since the slot's last weights.
pub(crate) fn check_rate(state: &State, slot: &Slot) -> Result<(), Refusal> {
    let next_block = slot.last_update.plus(state.profile.weights_rate_limit_blocks);
    if slot.last_update.0 != 0 && state.block < next_block {
        return Err(Refusal::SettingWeightsTooFast { next_block });
    }
    Ok(())
}

/// A row as it is kept: by uid, the largest 65535 and the others in proportion to it, zeros dropped.
pub(crate) fn checked_row(
    state: &State,
    uids: &[Uid],
    values: &[u16],
    version_key: u64,
) -> Result<Vec<(Uid, u16)>, Refusal> {
    if uids.len() != values.len() {
        return Err(Refusal::WeightVecNotEqualSize { uids: uids.len() as u32, values: values.len() as u32 });
    }
    let wanted = state.profile.weights_version;
    if version_key < wanted {
        return Err(Refusal::IncorrectWeightVersionKey { given: version_key, wanted });
    }
    let mut row: Vec<(Uid, u16)> = uids.iter().copied().zip(values.iter().copied()).collect();
    row.sort_unstable();
    if let Some(pair) = row.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(Refusal::DuplicateUids { uid: pair[0].0 });
    }
    if let Some((unknown, _)) = row.iter().find(|(target, _)| !state.slots.contains(target)) {
        return Err(Refusal::UidVecContainInvalidOne { uid: *unknown });
    }
    let largest = row.iter().map(|(_, value)| *value).max().unwrap_or(0);
    if largest == 0 {
        return Err(Refusal::WeightVecLengthIsLow);
    }
    for (_, value) in &mut row {
        *value = upscaled(*value, largest);
    }
    row.retain(|(_, value)| *value > 0);
    Ok(row)
}

/// `value · 65535 / largest` to the nearest, in the steps of the chain's `vec_max_upscale_to_u16`: over 32768 it rounds
/// the ratio first.
fn upscaled(value: u16, largest: u16) -> u16 {
    let (value, largest) = (u64::from(value), u64::from(largest));
    let whole = u64::from(u16::MAX);
    let bits = if largest > 32_768 {
        value * ((whole << 32) / largest)
    } else {
        (((u128::from(value * whole)) << 32) / u128::from(largest)) as u64
    };
    // At most 65535, since the value is at most the largest.
    ((bits + (1 << 31)) >> 32) as u16
}

impl State {
    /// What a hotkey's stake counts for: its alpha, and its TAO on the root by the chain's weight.
    pub fn stake_weight(&self, hotkey: &PublicKey) -> StakeWeight {
        StakeWeight::blend(
            self.alpha_behind(hotkey).as_rao(),
            self.root_behind(hotkey).as_rao(),
            crate::rules::s425::TAO_WEIGHT,
        )
    }
}
