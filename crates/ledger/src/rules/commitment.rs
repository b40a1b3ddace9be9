//! A few bytes on the ledger: where a bucket is, what was sealed, voted and applied.

use crate::state::{Commitment, CommitmentKey, State};
use templar_base::{BlockNumber, PublicKey, Uid};
use templar_chain::{Event, MAX_COMMITMENT_BYTES, Refusal, Topic};

/// Charged per commitment on top of its data, so that empty commitments cannot grow the state without bound either: about
/// what an entry costs in memory, with its place in the indexes and its leaf of the hash tree.
pub const COMMITMENT_OVERHEAD_BYTES: u32 = 256;

/// Every hotkey may write its bytes anew.
pub(crate) fn begin_tempo(state: &mut State) {
    let spent: Vec<PublicKey> = state.budgets.iter().map(|(hotkey, _)| *hotkey).collect();
    for hotkey in spent {
        state.budgets.remove(&hotkey);
    }
    let spent: Vec<PublicKey> = state.lanes.iter().map(|(hotkey, _)| *hotkey).collect();
    for hotkey in spent {
        state.lanes.remove(&hotkey);
    }
}

/// Writes a commitment of `hotkey`.
///
/// A bucket may be replaced; of everything else the first counts, and the block it was included in is kept with it.
/// After the profile's retention a write-once commitment is dropped and its place is free again: whoever reads
/// compares the block with the deadline anyway.
///
/// The ledger does not know a run's windows. What it knows bounds an index from above: a window has one block at least,
/// so that the present window's number is at most the block's. A key that has [`LoadRule::commitments_per_topic`] of
/// one topic waits: replacing its oldest would let it take back a vote that others still count.
///
/// [`LoadRule::commitments_per_topic`]: crate::LoadRule::commitments_per_topic
pub(crate) fn commit(
    state: &mut State,
    hotkey: &PublicKey,
    topic: Topic,
    index: u64,
    data: &[u8],
) -> Result<Event, Refusal> {
    let uid = state.uid_of(hotkey).ok_or(Refusal::AccountNotAllowedCommit { hotkey: *hotkey })?;
    if data.len() > MAX_COMMITMENT_BYTES {
        return Err(Refusal::CommitmentTooLong { actual: data.len() as u32, limit: MAX_COMMITMENT_BYTES as u32 });
    }
    let key = (topic, index, *hotkey);
    if topic == Topic::Bucket {
        if index != 0 {
            return Err(Refusal::BucketIndexNotZero);
        }
    } else {
        check_window_topic(state, uid, key)?;
    }
    let (used, limit) = (state.budgets.get(hotkey).copied().unwrap_or(0), state.profile.commitment_bytes_per_tempo);
    let wanted = data.len() as u32 + COMMITMENT_OVERHEAD_BYTES;
    if used + wanted > limit {
        let tempo = u64::from(state.profile.tempo);
        let next_block = BlockNumber((state.block.0 / tempo + 1) * tempo);
        return Err(Refusal::SpaceLimitExceeded { used, limit, wanted, next_block });
    }
    state.budgets.insert(*hotkey, used + wanted);
    state.set_commitment(key, Commitment { block: state.block, data: data.to_vec() });
    Ok(Event::Committed { hotkey: *hotkey, topic, index })
}

/// That a commitment about a window may be made: who may speak on the topic, a window that can have begun, a place that
/// is free.
fn check_window_topic(state: &State, uid: Uid, key: CommitmentKey) -> Result<(), Refusal> {
    let (topic, index, hotkey) = key;
    let is_for_validators = matches!(topic, Topic::Held | Topic::VoteSeal | Topic::Vote | Topic::Applied);
    let has_permit = state.slots.get(&uid).is_some_and(|slot| slot.permit);
    // The owner judges with or without a permit, as in Yuma.
    if is_for_validators && !has_permit && crate::rules::registration::owner_slot(state) != Some(uid) {
        return Err(Refusal::TopicNeedsPermit { uid });
    }
    if let Some(existing) = state.commitments.get(&key) {
        return Err(Refusal::CommitmentExists { at: existing.block });
    }
    if index > state.block.0 {
        return Err(Refusal::IndexAhead { index, now: state.block });
    }
    let limit = state.profile.load.commitments_per_topic;
    if state.commitments_kept(topic, &hotkey) >= limit {
        return Err(Refusal::TooManyCommitments { limit });
    }
    Ok(())
}
