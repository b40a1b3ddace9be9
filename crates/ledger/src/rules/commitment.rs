//! A few bytes on the ledger: where a bucket is, what was sealed, voted and applied.

use crate::state::{Commitment, State};
use templar_base::{BlockNumber, PublicKey};
use templar_chain::{Event, MAX_COMMITMENT_BYTES, Refusal, Topic};

/// Charged per commitment on top of its data, so that empty commitments cannot grow the state without bound either.
pub const COMMITMENT_OVERHEAD_BYTES: u32 = 32;

/// Every hotkey may write its bytes anew.
pub(crate) fn begin_tempo(state: &mut State) {
    let spent: Vec<PublicKey> = state.budgets.iter().map(|(hotkey, _)| *hotkey).collect();
    for hotkey in spent {
        state.budgets.remove(&hotkey);
    }
}

/// Writes a commitment of `hotkey`.
///
/// A bucket may be replaced; of everything else the first counts, and the block it was included in is kept with it.
/// After the profile's retention a write-once commitment is dropped and its place is free again: whoever reads
/// compares the block with the deadline anyway.
pub(crate) fn commit(
    state: &mut State,
    hotkey: &PublicKey,
    topic: Topic,
    index: u64,
    data: &[u8],
) -> Result<Event, Refusal> {
    if state.uid_of(hotkey).is_none() {
        return Err(Refusal::AccountNotAllowedCommit { hotkey: *hotkey });
    }
    if data.len() > MAX_COMMITMENT_BYTES {
        return Err(Refusal::CommitmentTooLong { actual: data.len() as u32, limit: MAX_COMMITMENT_BYTES as u32 });
    }
    let key = (topic, index, *hotkey);
    if topic == Topic::Bucket {
        if index != 0 {
            return Err(Refusal::BucketIndexNotZero);
        }
    } else if let Some(existing) = state.commitments.get(&key) {
        return Err(Refusal::CommitmentExists { at: existing.block });
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
