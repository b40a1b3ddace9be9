//! The state as the outside sees it.

use crate::EMISSION_RULE;
use crate::state::{Commitment, CommitmentKey, LAST_REPORTS, State};
use std::collections::BTreeMap;
use templar_base::{Alpha, BlockNumber, PublicKey, Uid};
use templar_chain::{CommitmentRecord, Hyperparameters, IndexedCommitment, Metagraph, Neuron, Topic};

/// All weight rows of a block, by uid.
pub(crate) type WeightRows = Vec<(Uid, Vec<(Uid, u16)>)>;

/// All slots, without weights.
pub(crate) fn neurons(state: &State) -> Vec<Neuron> {
    let view = |(uid, slot): (&Uid, &crate::state::Slot)| Neuron {
        uid: *uid,
        hotkey: slot.hotkey,
        coldkey: state.owner_of(&slot.hotkey).unwrap_or(slot.hotkey),
        stake: Alpha::from_rao(state.stake_weight(&slot.hotkey).to_int()),
        permit: slot.permit,
        active: slot.active,
        consensus: slot.consensus,
        validator_trust: slot.validator_trust,
        registered_at: slot.registered_at,
        last_update: slot.last_update,
        incentive: slot.incentive,
        dividends: slot.dividends,
        emission: slot.emission,
        weights: None,
    };
    state.slots.iter().map(view).collect()
}

/// The weight rows of all slots, the empty ones as well.
pub(crate) fn weight_rows(state: &State) -> WeightRows {
    state.slots.iter().map(|(uid, _)| (*uid, state.weights.get(uid).cloned().unwrap_or_default())).collect()
}

/// Puts slots and weights together.
pub(crate) fn metagraph(state: &State, block: BlockNumber, mut neurons: Vec<Neuron>, weights: WeightRows) -> Metagraph {
    for neuron in &mut neurons {
        let row = weights.binary_search_by_key(&neuron.uid, |(uid, _)| *uid).ok().map(|at| weights[at].1.clone());
        neuron.weights = Some(row.unwrap_or_default());
    }
    let (netuid, tempo) = (state.profile.netuid, state.profile.tempo);
    Metagraph { block, netuid, tempo, emission_rule: EMISSION_RULE.to_owned(), neurons }
}

/// Commitments under a topic and index, by hotkey.
pub(crate) fn commitments(state: &State, topic: Topic, index: u64) -> Vec<CommitmentRecord> {
    let (first, last) = (PublicKey::new([0; 32]), PublicKey::new([255; 32]));
    let found = state.commitments.range((topic, index, first)..=(topic, index, last));
    let record = |(key, commitment): (&crate::state::CommitmentKey, &crate::state::Commitment)| CommitmentRecord {
        hotkey: key.2,
        block: commitment.block,
        data: commitment.data.clone(),
    };
    found.map(record).collect()
}

/// The newest reports of each hotkey, [`LAST_REPORTS`] at most; the newest window first.
pub(crate) fn last_reports(state: &State) -> Vec<IndexedCommitment> {
    let (first, last) = (PublicKey::new([0; 32]), PublicKey::new([255; 32]));
    let mut counted: BTreeMap<PublicKey, u32> = BTreeMap::new();
    let newest_first = state.commitments.range((Topic::Applied, 0, first)..=(Topic::Applied, u64::MAX, last)).rev();
    let is_among_newest = |hotkey: &PublicKey, counted: &mut BTreeMap<PublicKey, u32>| {
        let count = counted.entry(*hotkey).or_default();
        *count += 1;
        *count <= LAST_REPORTS
    };
    let of = |(key, commitment): (&CommitmentKey, &Commitment)| {
        let record = || CommitmentRecord { hotkey: key.2, block: commitment.block, data: commitment.data.clone() };
        is_among_newest(&key.2, &mut counted).then(|| IndexedCommitment { index: key.1, record: record() })
    };
    newest_first.filter_map(of).collect()
}

/// The rules that nodes must know.
pub(crate) fn hyperparameters(state: &State) -> Hyperparameters {
    let profile = &state.profile;
    Hyperparameters {
        netuid: profile.netuid,
        genesis: state.genesis_hash(),
        block_time_ms: profile.block_time_ms,
        tempo: profile.tempo,
        max_uids: profile.max_uids,
        max_validators: profile.yuma.max_validators,
        commit_reveal: profile.commit_reveal,
        immunity_blocks: profile.immunity_blocks,
        weights_rate_limit_blocks: profile.weights_rate_limit_blocks,
        weights_version: profile.weights_version,
        weights_stake_threshold: profile.weights_stake_threshold,
        minimum_stake: profile.minimum_stake,
        commitment_bytes_per_tempo: profile.commitment_bytes_per_tempo,
        commitment_retention_blocks: profile.commitment_retention_blocks,
        history_blocks: profile.history_blocks,
    }
}
