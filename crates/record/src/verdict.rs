//! Reading the verdict that most of the stake voted for.

use crate::{PublicRecord, RecordError, Rules};
use templar_base::{ContentHash, PublicKey, Window};
use templar_gauntlet::Verdict;
use templar_round::{ObjectKey, Signed};

/// A verdict of 1024 miners with all terms is about a megabyte.
const MAX_VERDICT_BYTES: u64 = 16 << 20;
/// What the signature of a verdict stands for.
pub const VERDICT_PURPOSE: &str = "verdict";

/// The agreed verdict with this hash, from the first of those who voted for it that still has it.
pub async fn fetch_verdict(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
    hash: ContentHash,
    from: &[PublicKey],
) -> Result<Verdict, RecordError> {
    let mut last = RecordError::NoHolder { window };
    for hotkey in from {
        match fetch_from(run, record, window, hash, *hotkey).await {
            Ok(verdict) => return Ok(verdict),
            Err(error) => last = error,
        }
    }
    Err(last)
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
