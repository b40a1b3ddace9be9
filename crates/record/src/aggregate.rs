//! Reading the aggregate that most of the stake applied.

use crate::transfer::{self, Fetched, Wanted};
use crate::{PublicRecord, RecordError, Rules};
use templar_base::{ContentHash, PublicKey, Window};
use templar_gradient::Aggregate;
use templar_round::{ObjectKey, Selection};

/// Downloads the aggregate with this hash from all peers that have it at once, and reports whose buckets failed or lied. It
/// must be of exactly the selected payloads and the agreed part of the step: who applied something else decides nothing.
pub async fn fetch_aggregate(
    run: &Rules,
    record: &PublicRecord,
    window: Window,
    hash: ContentHash,
    selection: &Selection,
    from: &[PublicKey],
) -> Result<Fetched<Aggregate>, RecordError> {
    let max_bytes = run.layout.max_aggregate_bytes(selection.uids.len()) as u64;
    let wanted = Wanted { key: ObjectKey::Aggregate(window), hash, max_bytes };
    let Fetched { content, complaints } = transfer::fetch(record, wanted, from).await?;
    let layout = run.layout.clone();
    let aggregate = tokio::task::spawn_blocking(move || Aggregate::decode(&content, &layout)).await??;
    let contributors = aggregate.contributors().iter().map(|contributor| (contributor.uid, contributor.weight));
    let is_of_selection = contributors.eq(selection.uids.iter().map(|uid| (*uid, 1)));
    let is_of_window = aggregate.run() == run.id && aggregate.window() == window;
    if !is_of_window || !is_of_selection || aggregate.rule().step != selection.step {
        return Err(RecordError::NotAgreed { what: "the aggregate", window });
    }
    Ok(Fetched { content: aggregate, complaints })
}
