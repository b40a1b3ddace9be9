//! One sealed payload for judging: fetched, opened, and with the digest that its data must have.

use crate::context::Context;
use crate::{Data, NodeError};
use std::ops::Range;
use std::sync::Arc;
use templar_base::{Beacon, ContentHash, PublicKey, Window};
use templar_corpus::digest_of;
use templar_gauntlet::Submission;
use templar_gradient::Metadata;
use templar_record::{FetchedPayload, SealedObject, fetch_sealed, open_payload};
use templar_round::SealedRecord;

/// What is needed to open a payload, all of it here.
pub(crate) struct Fetched {
    object: SealedObject,
    /// Of the window's first block.
    beacon: Beacon,
    /// Of the first block of the window before, if there is one: steps may be carried over from it.
    earlier: Option<(Window, Beacon)>,
}

/// Fetches what was committed. An error may pass: the miner or its bucket may still answer.
pub(crate) async fn fetch(context: &Context, window: Window, sealed: &SealedRecord) -> Result<Fetched, NodeError> {
    let (phases, record) = (&context.run.phases, &context.network.record);
    let beacon = record.beacon(phases.start(window)).await?;
    let earlier = match window.previous() {
        Some(previous) => Some((previous, record.beacon(phases.start(previous)).await?)),
        None => None,
    };
    Ok(Fetched { object: fetch_sealed(&context.run, record, window, sealed).await?, beacon, earlier })
}

/// Opens what was fetched, on a thread for heavy work.
pub(crate) async fn open(context: &Arc<Context>, window: Window, sealed: SealedRecord, fetched: Fetched) -> Submission {
    let own = Arc::clone(context);
    let work = move || match open_payload(&own.run, window, &sealed, &fetched.object) {
        FetchedPayload::Opened { payload, hash } => {
            let data_digest = expected_digest(&own.data, window, &fetched, &sealed.hotkey, payload.metadata());
            Submission::Payload { payload, hash, data_digest }
        }
        FetchedPayload::Rejected(rejection) => Submission::Rejected(rejection),
    };
    context.heavy.run(work).await
}

/// The digest of the batches that the assignment gives for the steps that a payload names; none where it gives none.
fn expected_digest(
    data: &Data,
    window: Window,
    fetched: &Fetched,
    hotkey: &PublicKey,
    metadata: &Metadata,
) -> Option<ContentHash> {
    let digest = |window: Window, beacon: &Beacon, batches: Range<u32>| {
        let assignment = data.assignments.assignment(window, hotkey, beacon);
        assignment.digest(batches.start, batches.end - batches.start).ok()
    };
    let own_steps = metadata.inner_steps.checked_sub(metadata.carried_steps)?;
    let own = digest(window, &fetched.beacon, 0..own_steps)?;
    if metadata.carried_steps == 0 {
        return Some(digest_of(None, own));
    }
    let (earlier, beacon) = fetched.earlier?;
    let end = metadata.carried_start.checked_add(metadata.carried_steps)?;
    Some(digest_of(Some(digest(earlier, &beacon, metadata.carried_start..end)?), own))
}
