//! One sealed payload for judging: fetched, opened, and with the digest that its data must have.

use crate::context::Context;
use crate::{Data, NodeError};
use std::ops::Range;
use std::sync::Arc;
use templar_base::{Beacon, ContentHash, PublicKey, Window};
use templar_corpus::{AssignmentError, digest_of};
use templar_gauntlet::{Rejection, Submission};
use templar_gradient::Metadata;
use templar_record::{
    FetchedPayload, RecordError, SealedObject, fetch_mirrored as fetch_mirror, fetch_sealed, open_payload,
};
use templar_round::{Reveal, SealedRecord};

/// What is needed to open a payload, all of it here.
pub(crate) struct Fetched {
    object: SealedObject,
    /// Of the window's first block.
    beacon: Beacon,
    /// Of the first block of the window before, if there is one: steps may be carried over from it.
    earlier: Option<(Window, Beacon)>,
}

impl Fetched {
    /// The key, with its author's signature.
    pub(crate) fn reveal(&self) -> &Reveal {
        self.object.reveal()
    }

    async fn of(
        context: &Context,
        window: Window,
        object: impl Future<Output = Result<SealedObject, RecordError>>,
    ) -> Result<Self, NodeError> {
        let (phases, record) = (&context.run.phases, &context.network.record);
        let beacon = record.beacon(phases.start(window)).await?;
        let earlier = match window.previous() {
            Some(previous) => Some((previous, record.beacon(phases.start(previous)).await?)),
            None => None,
        };
        Ok(Self { object: object.await?, beacon, earlier })
    }
}

/// Fetches what was committed. An error may pass: the miner or its bucket may still answer.
pub(crate) async fn fetch(context: &Context, window: Window, sealed: &SealedRecord) -> Result<Fetched, NodeError> {
    Fetched::of(context, window, fetch_sealed(&context.run, &context.network.record, window, sealed)).await
}

/// The same from validators that hold it.
pub(crate) async fn fetch_mirrored(
    context: &Context,
    window: Window,
    of: (&SealedRecord, &[PublicKey]),
) -> Result<Fetched, NodeError> {
    Fetched::of(context, window, fetch_mirror(&context.run, &context.network.record, window, of)).await
}

/// Opens what was fetched, on a thread for heavy work.
pub(crate) async fn open(context: &Arc<Context>, window: Window, sealed: SealedRecord, fetched: Fetched) -> Submission {
    let own = Arc::clone(context);
    let work = move || match open_payload(&own.run, window, &sealed, &fetched.object) {
        FetchedPayload::Opened { payload, hash } => {
            match expected_digest(&own.data, window, &fetched, &sealed.hotkey, payload.metadata()) {
                Ok(data_digest) => Submission::Payload { payload, hash, data_digest },
                // This node's own text: of the miner it can say nothing, as if the payload had not come.
                Err(error) => {
                    own.journal.warn(format!("uid {} is not judged in window {window}: {error}", sealed.uid));
                    Submission::Rejected(Rejection::Missing)
                }
            }
        }
        FetchedPayload::Rejected(rejection) => Submission::Rejected(rejection),
    };
    context.heavy.run(work).await
}

/// The digest of the batches that the assignment gives for the steps that a payload names; none where it gives none. Fails
/// where this node cannot read its text.
fn expected_digest(
    data: &Data,
    window: Window,
    fetched: &Fetched,
    hotkey: &PublicKey,
    metadata: &Metadata,
) -> Result<Option<ContentHash>, AssignmentError> {
    let digest = |window: Window, beacon: &Beacon, batches: Range<u32>| {
        let assignment = data.assignments.assignment(window, hotkey, beacon);
        match assignment.digest(batches.start, batches.end - batches.start) {
            Ok(digest) => Ok(Some(digest)),
            Err(AssignmentError::NoBatch { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    };
    let own_steps = metadata.inner_steps.checked_sub(metadata.carried_steps);
    let carried_end = metadata.carried_start.checked_add(metadata.carried_steps);
    let (Some(own_steps), Some(carried_end)) = (own_steps, carried_end) else { return Ok(None) };
    let Some(own) = digest(window, &fetched.beacon, 0..own_steps)? else { return Ok(None) };
    if metadata.carried_steps == 0 {
        return Ok(Some(digest_of(None, own)));
    }
    let Some((earlier, beacon)) = fetched.earlier else { return Ok(None) };
    let carried = digest(earlier, &beacon, metadata.carried_start..carried_end)?;
    Ok(carried.map(|carried| digest_of(Some(carried), own)))
}
