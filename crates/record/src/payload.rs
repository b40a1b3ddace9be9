//! Reading one sealed payload: object and key, then the payload in them.

use crate::transfer::{self, Wanted};
use crate::{PublicRecord, RecordError, Rules};
use bytes::Bytes;
use templar_base::{ContentHash, PublicKey, Window};
use templar_gauntlet::Rejection;
use templar_gradient::Payload;
use templar_round::{ObjectKey, Reveal, SealError, SealedRecord, open};

/// A sealed payload and its key, as they came: the object has the committed hash, the key is signed by the miner.
#[derive(Debug, Clone)]
pub struct SealedObject {
    object: Bytes,
    reveal: Reveal,
}

impl SealedObject {
    /// The key, with its author's signature.
    pub fn reveal(&self) -> &Reveal {
        &self.reveal
    }
}

/// What a sealed object came to.
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
    Rejected(Rejection),
}

/// Fetches what was committed, and its key. An error may pass: the miner or its bucket may still answer.
pub async fn fetch_sealed(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
    sealed: &SealedRecord,
) -> Result<SealedObject, RecordError> {
    let bucket = record.reader(sealed.hotkey).await?;
    // The key first: it is small, and without it the object is of no use.
    let key = bucket.get(&ObjectKey::Reveal(window).to_string(), Reveal::MAX_BYTES as u64).await?;
    let reveal = Reveal::from_bytes(&key, run.id, window, sealed.hotkey)?;
    let (hash, max_bytes) = (sealed.commitment.digest, u64::from(sealed.commitment.bytes));
    let wanted = Wanted { key: ObjectKey::Payload(window), hash, max_bytes };
    let object = transfer::fetch(record, wanted, &[sealed.hotkey]).await?.content;
    Ok(SealedObject { object, reveal })
}

/// Fetches a candidate and its key from validators that hold it: what was committed, whoever serves it. An error may pass: a
/// mirror is filled once the candidates stand.
pub async fn fetch_mirrored(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
    (sealed, mirrors): (&SealedRecord, &[PublicKey]),
) -> Result<SealedObject, RecordError> {
    let (hash, max_bytes) = (sealed.commitment.digest, u64::from(sealed.commitment.bytes));
    let wanted = Wanted { key: ObjectKey::Mirror(window, sealed.uid), hash, max_bytes };
    let object = transfer::fetch(record, wanted, mirrors).await?.content;
    let mut last = None;
    for mirror in mirrors {
        match mirrored_key(run, record, window, (sealed, *mirror)).await {
            Ok(reveal) if reveal.fits(&object) => return Ok(SealedObject { object, reveal }),
            // A miner may sign several keys, and a validator that is its accomplice serve the wrong one.
            Ok(_) => last = Some(SealError::Key.into()),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or(RecordError::NoBucketAddress { hotkey: sealed.hotkey }))
}

async fn mirrored_key(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
    (sealed, mirror): (&SealedRecord, PublicKey),
) -> Result<Reveal, RecordError> {
    let key = ObjectKey::MirrorKey(window, sealed.uid).to_string();
    let bytes = record.reader(mirror).await?.get(&key, Reveal::MAX_BYTES as u64).await?;
    Ok(Reveal::from_bytes(&bytes, run.id, window, sealed.hotkey)?)
}

/// Opens and decodes what was fetched. It takes as long as the payload is large: do not call it on an async thread.
pub fn open_payload(run: &Rules, window: Window, sealed: &SealedRecord, fetched: &SealedObject) -> FetchedPayload {
    let opened = open(&fetched.object, &fetched.reveal, &sealed.commitment, run.id, sealed.hotkey, window);
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => return FetchedPayload::Rejected(Rejection::Unopened { reason: error.to_string() }),
    };
    match Payload::decode(&opened.payload, &run.layout) {
        Ok(payload) => FetchedPayload::Opened { payload: Box::new(payload), hash: opened.hash },
        Err(error) => FetchedPayload::Rejected(Rejection::Undecodable { reason: error.to_string() }),
    }
}

/// Fetches what was committed and opens it, on a blocking thread of the runtime.
pub async fn fetch_payload(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
    sealed: SealedRecord,
) -> Result<FetchedPayload, RecordError> {
    let fetched = fetch_sealed(run, record, window, &sealed).await?;
    let run = run.clone();
    Ok(tokio::task::spawn_blocking(move || open_payload(&run, window, &sealed, &fetched)).await?)
}
