//! Reading the aggregate that most of the stake applied.

use crate::transfer::{self, Fetched, Wanted};
use crate::{PublicRecord, RecordError, Rules};
use templar_base::{ContentHash, PublicKey, Window};
use templar_gradient::Aggregate;
use templar_round::ObjectKey;

/// Downloads the aggregate with this hash, of at most `selected` payloads, from all peers that have it at once; and
/// reports whose buckets failed or lied.
pub async fn fetch_aggregate(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
    hash: ContentHash,
    from: &[PublicKey],
    selected: usize,
) -> Result<Fetched<Aggregate>, RecordError> {
    let max_bytes = run.layout.max_aggregate_bytes(selected) as u64;
    let wanted = Wanted { key: ObjectKey::Aggregate(window), hash, max_bytes };
    let Fetched { content, complaints } = transfer::fetch(record, wanted, from).await?;
    let layout = run.layout.clone();
    let aggregate = tokio::task::spawn_blocking(move || Aggregate::decode(&content, &layout)).await??;
    if aggregate.run() != run.id || aggregate.window() != window {
        return Err(RecordError::NotAgreed { what: "the aggregate", window });
    }
    Ok(Fetched { content: aggregate, complaints })
}
