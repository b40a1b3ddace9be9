//! Reading the verdict that most of the stake voted for.

use crate::{PublicRecord, RecordError, Rules};
use std::time::Duration;
use templar_base::{ContentHash, PublicKey, Window};
use templar_gauntlet::Verdict;
use templar_round::{ObjectKey, Signed};
use tokio::task::JoinSet;

/// A verdict of 1024 miners with all terms is about a megabyte.
const MAX_VERDICT_BYTES: u64 = 16 << 20;
/// What the signature of a verdict stands for.
pub const VERDICT_PURPOSE: &str = "verdict";

/// Holders that are asked at a time, and how long each has: one that stalls holds up nobody.
const PARALLEL: usize = 3;
const HOLDER_DEADLINE: Duration = Duration::from_secs(5);

/// The agreed verdict with this hash, from whichever of those who voted for it has it first. They are asked in the order
/// given, [`agreed_verdict`](templar_round::agreed_verdict)'s, a few at a time.
pub async fn fetch_verdict(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
    hash: ContentHash,
    from: &[PublicKey],
) -> Result<Verdict, RecordError> {
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

async fn fetch_from(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
    hash: ContentHash,
    hotkey: PublicKey,
) -> Result<Verdict, RecordError> {
    let bucket = record.reader(hotkey).await?;
    let bytes = bucket.get(&ObjectKey::Verdict(window).to_string(), MAX_VERDICT_BYTES).await?;
    let signed = Signed::<Verdict>::from_bytes(&bytes, run.id, window, VERDICT_PURPOSE, hotkey)?;
    if signed.hash()? != hash || signed.body.window != window || signed.body.run != run.id {
        return Err(RecordError::NotAgreed { what: "the verdict", window });
    }
    Ok(signed.body)
}
