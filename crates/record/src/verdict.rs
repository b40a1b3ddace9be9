//! Reading the verdict that explains a window, and telling which run is judged.

use crate::{PublicRecord, RecordError, Rules};
use bytes::Bytes;
use std::time::Duration;
use templar_base::{ContentHash, PublicKey, RunId, Window};
use templar_gauntlet::Verdict;
use templar_round::{ObjectKey, Signed, SignedError};
use tokio::task::JoinSet;

/// A verdict of 1024 miners with all terms is about a megabyte.
const MAX_VERDICT_BYTES: u64 = 16 << 20;
/// What the signature of a verdict stands for.
pub const VERDICT_PURPOSE: &str = "verdict";

/// Holders that are asked at a time, and how long each has: one that stalls holds up nobody.
const PARALLEL: usize = 3;
const HOLDER_DEADLINE: Duration = Duration::from_secs(5);

/// A verdict as a bucket has it.
pub(crate) struct SignedVerdict {
    /// Whose bucket, and whose signature.
    pub(crate) holder: PublicKey,
    /// The signed document.
    pub(crate) bytes: Bytes,
    /// What it says.
    verdict: Verdict,
}

/// The verdict with this hash, from whichever of those who voted for it has it first. They are asked in the order given,
/// [`leading_verdict`](templar_round::leading_verdict)'s, a few at a time.
pub async fn fetch_verdict(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
    hash: ContentHash,
    from: &[PublicKey],
) -> Result<Verdict, RecordError> {
    Ok(fetch_signed_verdict(run, record, window, hash, from).await?.verdict)
}

/// As [`fetch_verdict`], with its signature.
pub(crate) async fn fetch_signed_verdict(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
    hash: ContentHash,
    from: &[PublicKey],
) -> Result<SignedVerdict, RecordError> {
    let mut last = RecordError::NoHolder { window };
    let (mut holders, mut tasks) = (from.iter().copied(), JoinSet::new());
    loop {
        while tasks.len() < PARALLEL
            && let Some(hotkey) = holders.next()
        {
            let (run, record) = (run.clone(), record.clone());
            tasks.spawn(async move {
                let late = RecordError::Deadline { seconds: HOLDER_DEADLINE.as_secs() };
                let asked = fetch_from(&run, &record, window, hash, hotkey);
                tokio::time::timeout(HOLDER_DEADLINE, asked).await.unwrap_or(Err(late))
            });
        }
        match tasks.join_next().await {
            Some(Ok(Ok(verdict))) => return Ok(verdict),
            Some(Ok(Err(error))) => last = error,
            Some(Err(error)) => last = error.into(),
            None => return Err(last),
        }
    }
}

/// Windows whose verdicts tell which run is judged on this subnet, and voters of each that are asked.
const RECENT_WINDOWS: u64 = 3;
const RECENT_VOTERS: usize = 4;

/// The run that the validators judge instead of this one: none where one of them judges this one, or none is heard of.
/// Whoever holds a document that differs in a word from theirs would otherwise take every peer for a liar.
pub async fn other_run(run: &Rules, record: &PublicRecord) -> Result<Option<RunId>, RecordError> {
    let head = record.chain.head().await?.number;
    let Some(current) = run.genesis.clock.window_of(head) else { return Ok(None) };
    let mut other = None;
    for window in (1..=RECENT_WINDOWS).filter_map(|back| current.0.checked_sub(back)).map(Window) {
        let votes = record.vote_records(window).await?;
        for vote in votes.iter().take(RECENT_VOTERS) {
            match tokio::time::timeout(HOLDER_DEADLINE, judged_run(record, window, vote.hotkey)).await {
                Ok(Ok(judged)) if judged == run.id => return Ok(None),
                Ok(Ok(judged)) => other = Some(judged),
                // Nothing is known of a validator that cannot be asked.
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }
    Ok(other)
}

/// The run that a validator's verdict is about, by its own signature.
async fn judged_run(record: &PublicRecord, window: Window, hotkey: PublicKey) -> Result<RunId, RecordError> {
    let bucket = record.reader(hotkey).await?;
    let bytes = bucket.get(&ObjectKey::Verdict(window).to_string(), MAX_VERDICT_BYTES).await?;
    let run = serde_json::from_slice::<Signed<Verdict>>(&bytes).map_err(SignedError::Malformed)?.body.run;
    Signed::<Verdict>::from_bytes(&bytes, run, window, VERDICT_PURPOSE, hotkey)?;
    Ok(run)
}

async fn fetch_from(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
    hash: ContentHash,
    hotkey: PublicKey,
) -> Result<SignedVerdict, RecordError> {
    let bucket = record.reader(hotkey).await?;
    let bytes = bucket.get(&ObjectKey::Verdict(window).to_string(), MAX_VERDICT_BYTES).await?;
    let signed = Signed::<Verdict>::from_bytes(&bytes, run.id, window, VERDICT_PURPOSE, hotkey)?;
    if signed.hash()? != hash || signed.body.window != window || signed.body.run != run.id {
        return Err(RecordError::NotAgreed { what: "the verdict", window });
    }
    Ok(SignedVerdict { holder: hotkey, bytes, verdict: signed.body })
}
