//! What validators think of miners.

use crate::state::State;
use crate::{Event, Refusal};
use templar_base::{PublicKey, Uid};

/// Replaces the weights of `hotkey`'s slot. The largest becomes 65535 and the others keep their proportion to it;
/// zeros are dropped.
pub(crate) fn set_weights(
    state: &mut State,
    hotkey: &PublicKey,
    uids: &[Uid],
    values: &[u16],
    version_key: u64,
) -> Result<Event, Refusal> {
    if uids.len() != values.len() {
        return Err(Refusal::WeightVecNotEqualSize { uids: uids.len() as u32, values: values.len() as u32 });
    }
    let uid = state.uid_of(hotkey).ok_or(Refusal::HotKeyNotRegisteredInSubNet { hotkey: *hotkey })?;
    let mut slot = state.slots.get(&uid).cloned().ok_or(Refusal::HotKeyNotRegisteredInSubNet { hotkey: *hotkey })?;
    let profile = &state.profile;
    let (stake, threshold) = (state.stake_behind(hotkey), profile.weights_stake_threshold);
    if stake < threshold {
        return Err(Refusal::NotEnoughStakeToSetWeights { stake, threshold });
    }
    if version_key < profile.weights_version {
        return Err(Refusal::IncorrectWeightVersionKey { given: version_key, wanted: profile.weights_version });
    }
    let next_block = slot.last_update.plus(profile.weights_rate_limit_blocks);
    if slot.last_update.0 != 0 && state.block < next_block {
        return Err(Refusal::SettingWeightsTooFast { next_block });
    }
    if !slot.permit {
        return Err(Refusal::NeuronNoValidatorPermit { uid });
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
        *value = (u32::from(*value) * u32::from(u16::MAX) / u32::from(largest)) as u16;
    }
    row.retain(|(_, value)| *value > 0);

    slot.last_update = state.block;
    state.set_slot(uid, slot);
    state.weights.insert(uid, row);
    Ok(Event::WeightsSet { uid })
}
