//! Fetching one sealed payload for judging: what was committed, and the digest that its data must have.

use crate::{Data, NodeError};
use templar_base::{ContentHash, Uid, Window};
use templar_corpus::digest_of;
use templar_gauntlet::Submission;
use templar_gradient::Metadata;
use templar_record::{FetchedPayload, PublicRecord, Rules, fetch_payload};
use templar_round::SealedRecord;

/// Fetches and opens what was committed. An error may pass: the miner or its bucket may still answer.
pub(crate) async fn fetch(
    run: &Rules,
    data: &Data,
    record: &PublicRecord,
    window: Window,
    sealed: &SealedRecord,
) -> Result<Submission, NodeError> {
    match fetch_payload(run, record, window, sealed).await? {
        FetchedPayload::Opened { payload, hash } => {
            let digests = Digests { run, data, record };
            let data_digest = digests.expected(window, sealed.uid, payload.metadata()).await?;
            Ok(Submission::Payload { payload, hash, data_digest })
        }
        FetchedPayload::Rejected(rejection) => Ok(Submission::Refused(rejection)),
    }
}

struct Digests<'a> {
    run: &'a Rules,
    data: &'a Data,
    record: &'a PublicRecord,
}

impl Digests<'_> {
    /// The digest of the batches that the assignment gives for the steps that a payload names; none where it gives
    /// none.
    async fn expected(&self, window: Window, uid: Uid, metadata: &Metadata) -> Result<Option<ContentHash>, NodeError> {
        let Some(own_steps) = metadata.inner_steps.checked_sub(metadata.carried_steps) else { return Ok(None) };
        let Some(own) = self.of(window, uid, 0..own_steps).await? else { return Ok(None) };
        if metadata.carried_steps == 0 {
            return Ok(Some(digest_of(None, own)));
        }
        let Some(previous) = window.previous() else { return Ok(None) };
        let Some(end) = metadata.carried_start.checked_add(metadata.carried_steps) else { return Ok(None) };
        let carried = self.of(previous, uid, metadata.carried_start..end).await?;
        Ok(carried.map(|carried| digest_of(Some(carried), own)))
    }

    /// The digest of a range of batches that were assigned in a window.
    async fn of(
        &self,
        window: Window,
        uid: Uid,
        batches: std::ops::Range<u32>,
    ) -> Result<Option<ContentHash>, NodeError> {
        let beacon = self.record.beacon(self.run.phases.start(window)).await?;
        let assignment = self.data.assignments.assignment(window, uid, &beacon);
        Ok(assignment.and_then(|assignment| assignment.digest(batches.start, batches.end - batches.start)).ok())
    }
}
