//! Fetching one sealed payload: object, key, payload, and the digest that its data must have.

use crate::miner_worker::digest_of;
use crate::transfer::{self, Wanted};
use crate::{Network, NodeError, Run};
use templar_base::{ContentHash, Uid, Window};
use templar_gauntlet::{DoorFailure, Submission};
use templar_gradient::{Metadata, Payload};
use templar_round::{ObjectKey, Reveal, SealedRecord, open};

/// Fetches and opens what was committed. An error may pass: the miner or its bucket may still come, or come to its
/// senses.
pub(crate) async fn fetch(
    run: &Run,
    network: &Network,
    window: Window,
    record: &SealedRecord,
) -> Result<Submission, NodeError> {
    let bucket = network.reader(record.hotkey).await?;
    // The key first: it is small, and until it is there the object is of no use.
    let key = bucket.get(&ObjectKey::Reveal(window).to_string(), Reveal::MAX_BYTES as u64).await?;
    let reveal = Reveal::from_bytes(&key, run.id, window, record.hotkey)?;
    let (hash, max_bytes) = (record.commitment.digest, u64::from(record.commitment.bytes));
    let wanted = Wanted { key: ObjectKey::Payload(window), hash, max_bytes };
    let object = transfer::fetch(network, wanted, &[record.hotkey]).await?.content;
    let opened = match open(&object, &reveal, &record.commitment, run.id, record.hotkey, window) {
        Ok(opened) => opened,
        Err(error) => return Ok(Submission::Refused(DoorFailure::Unopened { reason: error.to_string() })),
    };
    match Payload::decode(&opened.payload, &run.layout) {
        Ok(payload) => {
            let data_digest = expected_digest(run, network, window, record.uid, payload.metadata()).await?;
            Ok(Submission::Payload { payload: Box::new(payload), hash: opened.hash, data_digest })
        }
        Err(error) => Ok(Submission::Refused(DoorFailure::Undecodable { reason: error.to_string() })),
    }
}

/// The digest of the batches that the assignment gives for the steps that a payload names; none where it gives none.
async fn expected_digest(
    run: &Run,
    network: &Network,
    window: Window,
    uid: Uid,
    metadata: &Metadata,
) -> Result<Option<ContentHash>, NodeError> {
    let Some(own_steps) = metadata.inner_steps.checked_sub(metadata.carried_steps) else { return Ok(None) };
    let beacon = network.beacon(run.phases.start(window)).await?;
    let digest = |window, beacon, from, count| {
        run.assignments.assignment(window, uid, beacon).and_then(|assignment| assignment.digest(from, count)).ok()
    };
    let Some(own) = digest(window, &beacon, 0, own_steps) else { return Ok(None) };
    if metadata.carried_steps == 0 {
        return Ok(Some(digest_of(None, own)));
    }
    let Some(previous) = window.previous() else { return Ok(None) };
    let beacon = network.beacon(run.phases.start(previous)).await?;
    let carried = digest(previous, &beacon, metadata.carried_start, metadata.carried_steps);
    Ok(carried.map(|carried| digest_of(Some(carried), own)))
}
