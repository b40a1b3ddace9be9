//! Reading one sealed payload: object, key, payload.

use crate::transfer::{self, Wanted};
use crate::{PublicRecord, RecordError, Rules};
use templar_base::{ContentHash, Window};
use templar_gauntlet::DoorFailure;
use templar_gradient::Payload;
use templar_round::{ObjectKey, Reveal, SealedRecord, open};

/// What a miner's bucket came to.
#[derive(Debug, Clone)]
pub enum FetchedPayload {
    /// Object, key and commitment fit each other, and the payload decodes.
    Opened {
        /// The payload.
        payload: Box<Payload>,
        /// Hash of its bytes.
        hash: ContentHash,
    },
    /// What was committed is not a payload; the miner is at fault and no second try can help.
    Rejected(DoorFailure),
}

/// Fetches and opens what was committed. An error may pass: the miner or its bucket may still answer.
pub async fn fetch_payload(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
    sealed: &SealedRecord,
) -> Result<FetchedPayload, RecordError> {
    let bucket = record.reader(sealed.hotkey).await?;
    // The key first: it is small, and without it the object is of no use.
    let key = bucket.get(&ObjectKey::Reveal(window).to_string(), Reveal::MAX_BYTES as u64).await?;
    let reveal = Reveal::from_bytes(&key, run.id, window, sealed.hotkey)?;
    let (hash, max_bytes) = (sealed.commitment.digest, u64::from(sealed.commitment.bytes));
    let wanted = Wanted { key: ObjectKey::Payload(window), hash, max_bytes };
    let object = transfer::fetch(record, wanted, &[sealed.hotkey]).await?.content;
    let opened = match open(&object, &reveal, &sealed.commitment, run.id, sealed.hotkey, window) {
        Ok(opened) => opened,
        Err(error) => return Ok(FetchedPayload::Rejected(DoorFailure::Unopened { reason: error.to_string() })),
    };
    Ok(match Payload::decode(&opened.payload, &run.layout) {
        Ok(payload) => FetchedPayload::Opened { payload: Box::new(payload), hash: opened.hash },
        Err(error) => FetchedPayload::Rejected(DoorFailure::Undecodable { reason: error.to_string() }),
    })
}
