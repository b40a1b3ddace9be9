//! Which checkpoints the validators publish, and how they stand to what most of the stake applied.

use crate::checkpoint::{fetch_manifest, majority_before};
use crate::{NodeError, PublicRecord, Run};
use std::time::Duration;
use templar_base::{PublicKey, Rao, StateHash, Uid, Window};
use templar_ledger::ChainError;
use tokio::task::JoinSet;

/// How long one bucket may take to answer: a list is looked at by somebody who waits.
const OFFER_DEADLINE: Duration = Duration::from_secs(20);

/// The checkpoint at the start of one window.
#[derive(Debug)]
pub struct PublishedCheckpoint {
    /// The window whose start it is.
    pub window: Window,
    /// The state hash that most of the stake applied; none where there is no such majority (yet).
    pub agreed: Option<StateHash>,
    /// What each validator of that time has, by uid.
    pub offers: Vec<Offer>,
}

/// What one validator's bucket has.
#[derive(Debug)]
pub struct Offer {
    /// The validator's slot at that time.
    pub uid: Uid,
    /// Its key.
    pub hotkey: PublicKey,
    /// Its stake at that time.
    pub stake: Rao,
    /// Its manifest, or why there is none that can be used.
    pub checkpoint: Result<OfferedCheckpoint, NodeError>,
}

/// What a signed manifest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferedCheckpoint {
    /// State hash of the parameters.
    pub state: StateHash,
    /// Size of all files.
    pub bytes: u64,
}

/// The checkpoints of the windows that are kept, newest first. At most `limit` windows are looked at.
pub async fn published_checkpoints(
    run: &Run,
    record: &PublicRecord,
    limit: usize,
) -> Result<Vec<PublishedCheckpoint>, NodeError> {
    let head = record.chain.head().await?.number;
    let Some(current) = run.phases.window_of(head) else { return Ok(Vec::new()) };
    let oldest = run.phases.oldest_kept(current);
    let mut published = Vec::new();
    let mut candidate = run.phases.checkpoint_at_or_before(current);
    while let Some(window) = candidate.filter(|window| *window >= oldest && published.len() < limit) {
        match published_at(run, record, window).await {
            Ok(checkpoint) => published.push(checkpoint),
            // The ledger keeps less history than the run keeps windows: older ones are not to be had either.
            Err(NodeError::Chain(ChainError::Pruned { .. })) => break,
            Err(error) => return Err(error),
        }
        candidate = window.previous().and_then(|before| run.phases.checkpoint_at_or_before(before));
    }
    Ok(published)
}

async fn published_at(run: &Run, record: &PublicRecord, window: Window) -> Result<PublishedCheckpoint, NodeError> {
    let agreed = majority_before(run, record, window).await?.map(|majority| majority.applied.state);
    // Checkpoints begin with window 1, so that there is a window before.
    let electors = record.electors(&run.phases, window.previous().unwrap_or_default()).await?;
    let mut tasks = JoinSet::new();
    for elector in electors {
        let (run, record) = (run.clone(), record.clone());
        tasks.spawn(async move {
            let asked = fetch_manifest(&run, &record, window, elector.hotkey);
            let late = NodeError::Deadline { what: "an answer of the bucket", seconds: OFFER_DEADLINE.as_secs() };
            let manifest = tokio::time::timeout(OFFER_DEADLINE, asked).await.unwrap_or(Err(late));
            let checkpoint = manifest.map(|manifest| {
                // The manifest's numbers were added up when it was read.
                let bytes = manifest.total_bytes().unwrap_or(u64::MAX);
                OfferedCheckpoint { state: manifest.state, bytes }
            });
            Offer { uid: elector.uid, hotkey: elector.hotkey, stake: Rao(elector.stake), checkpoint }
        });
    }
    let mut offers = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        offers.push(joined.map_err(|_| NodeError::WorkerGone)?);
    }
    offers.sort_by_key(|offer| offer.uid);
    Ok(PublishedCheckpoint { window, agreed, offers })
}
