//! Weights that nobody can copy before they count: first their hash, an epoch later the weights.
//!
//! The hash is the chain's: `blake2b-256(SCALE(hotkey, netuid, uids, values, salt, version_key))`. A commit can be
//! revealed in the one epoch that comes [`REVEAL_PERIOD_EPOCHS`](crate::rules::s425::REVEAL_PERIOD_EPOCHS) after its own, and
//! dies with it. Source: `pallets/subtensor/src/subnets/weights.rs` of subtensor.

use crate::rules::s425;
use crate::state::{State, WeightCommit};
use templar_base::{BlockNumber, PublicKey, Uid};
use templar_chain::{Event, Refusal, weights_hash};

/// The epoch of a block's transactions, counted from the genesis. An epoch is paid at the beginning of a block whose
/// number the tempo divides: that block's transactions belong to the next.
fn epoch_of(state: &State, block: BlockNumber) -> u64 {
    block.period(state.profile.tempo.into())
}

fn is_expired(state: &State, commit: &WeightCommit) -> bool {
    epoch_of(state, state.block) > epoch_of(state, commit.block) + s425::REVEAL_PERIOD_EPOCHS
}

/// The block of the oldest commit of `hotkey` that can still be revealed.
pub(crate) fn oldest_open(state: &State, hotkey: &PublicKey) -> Option<BlockNumber> {
    let commits = state.weight_commits.get(hotkey)?;
    commits.iter().find(|commit| !is_expired(state, commit)).map(|commit| commit.block)
}

/// Commits a hotkey to weights.
pub(crate) fn commit(state: &mut State, hotkey: &PublicKey, hash: [u8; 32]) -> Result<Event, Refusal> {
    if !state.profile.commit_reveal {
        return Err(Refusal::CommitRevealDisabled);
    }
    let (uid, mut slot) = crate::rules::weights::setter(state, hotkey)?;
    crate::rules::weights::check_rate(state, &slot)?;
    let mut open: Vec<WeightCommit> = state.weight_commits.get(hotkey).cloned().unwrap_or_default();
    open.retain(|commit| !is_expired(state, commit));
    if open.len() >= s425::MAX_OPEN_WEIGHT_COMMITS {
        return Err(Refusal::TooManyUnrevealedCommits { open: open.len() as u32 });
    }
    open.push(WeightCommit { hash, block: state.block });
    state.weight_commits.insert(*hotkey, open);
    // What counts as the time of the weights is when they were decided.
    slot.last_update = state.block;
    state.set_slot(uid, slot);
    Ok(Event::WeightsCommitted { uid })
}

/// Weights with what their commit hid.
pub(crate) struct Reveal<'a> {
    pub uids: &'a [Uid],
    pub values: &'a [u16],
    pub salt: &'a [u16],
    pub version_key: u64,
}

/// Reveals weights that were committed; commits before it are given up.
pub(crate) fn reveal(state: &mut State, hotkey: &PublicKey, reveal: &Reveal<'_>) -> Result<Event, Refusal> {
    if !state.profile.commit_reveal {
        return Err(Refusal::CommitRevealDisabled);
    }
    let Reveal { uids, values, salt, version_key } = *reveal;
    let hash = weights_hash(hotkey, state.profile.netuid, uids, values, salt, version_key);
    let open: Vec<WeightCommit> = state.weight_commits.get(hotkey).cloned().unwrap_or_default();
    let live: Vec<&WeightCommit> = open.iter().filter(|commit| !is_expired(state, commit)).collect();
    let Some(place) = live.iter().position(|commit| commit.hash == hash) else {
        let was_there = open.iter().any(|commit| commit.hash == hash);
        return Err(if was_there {
            Refusal::ExpiredWeightCommit
        } else if live.is_empty() {
            Refusal::NoWeightsCommitFound
        } else {
            Refusal::InvalidRevealCommitHashNotMatch
        });
    };
    let tempo = u64::from(state.profile.tempo);
    let first_epoch = epoch_of(state, live[place].block) + s425::REVEAL_PERIOD_EPOCHS;
    if epoch_of(state, state.block) < first_epoch {
        return Err(Refusal::RevealTooEarly { next_block: BlockNumber(first_epoch * tempo) });
    }
    let rest: Vec<WeightCommit> = live[place + 1..].iter().map(|commit| (*commit).clone()).collect();
    let (uid, _) = crate::rules::weights::setter(state, hotkey)?;
    let row = crate::rules::weights::checked_row(state, uids, values, version_key)?;
    state.weights.insert(uid, row);
    if rest.is_empty() {
        state.weight_commits.remove(hotkey);
    } else {
        state.weight_commits.insert(*hotkey, rest);
    }
    Ok(Event::WeightsSet { uid })
}
