//! Which checkpoints the validators publish, and what most of the stake applied.

use crate::checkpoint::{fetch_manifest, majority_before};
use crate::{PublicRecord, RecordError, Rules};
use std::str::FromStr;
use std::time::Duration;
use templar_base::{Alpha, PublicKey, StateHash, Uid, Window};
use templar_chain::ChainError;
use tokio::task::JoinSet;

/// How long one bucket may take to answer: a person waits for the list.
const OFFER_DEADLINE: Duration = Duration::from_secs(20);

/// Which window's checkpoint is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedCheckpoint {
    /// The newest one.
    Latest,
    /// That of a window's start.
    At(Window),
}

/// A text that names no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a window: give its number, or `latest`")]
pub struct NotAWindow(String);

impl FromStr for WantedCheckpoint {
    type Err = NotAWindow;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "latest" => Ok(Self::Latest),
            number => number.parse().map(|number| Self::At(Window(number))).map_err(|_| NotAWindow(number.to_owned())),
        }
    }
}

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
    pub stake: Alpha,
    /// Its manifest, or why there is none that can be used.
    pub checkpoint: Result<OfferedCheckpoint, RecordError>,
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
    run: &Rules,
    record: &PublicRecord,
    limit: usize,
) -> Result<Vec<PublishedCheckpoint>, RecordError> {
    let head = record.chain.head().await?.number;
    let Some(current) = run.phases.window_of(head) else { return Ok(Vec::new()) };
    let oldest = run.phases.oldest_kept(current);
    let mut published = Vec::new();
    let mut candidate = run.phases.checkpoint_at_or_before(current);
    while let Some(window) = candidate.filter(|window| *window >= oldest && published.len() < limit) {
        match published_at(run, record, window).await {
            Ok(checkpoint) => published.push(checkpoint),
            // The ledger keeps less history than the run keeps windows: older ones are not to be had either.
            Err(RecordError::Chain(ChainError::Pruned { .. })) => break,
            Err(error) => return Err(error),
        }
        candidate = window.previous().and_then(|before| run.phases.checkpoint_at_or_before(before));
    }
    Ok(published)
}

async fn published_at(run: &Rules, record: &PublicRecord, window: Window) -> Result<PublishedCheckpoint, RecordError> {
    let agreed = majority_before(run, record, window).await?.map(|majority| majority.applied.state);
    // Checkpoints begin with window 1, so that there is a window before.
    let electors = record.electors(run, window.previous().unwrap_or_default()).await?;
    let mut tasks = JoinSet::new();
    for elector in electors {
        let (run, record) = (run.clone(), record.clone());
        tasks.spawn(async move {
            let asked = fetch_manifest(&run, &record, window, elector.hotkey);
            let late = RecordError::Deadline { seconds: OFFER_DEADLINE.as_secs() };
            let manifest = tokio::time::timeout(OFFER_DEADLINE, asked).await.unwrap_or(Err(late));
            let checkpoint = manifest.map(|manifest| {
                // The manifest's numbers were added up when it was read.
                let bytes = manifest.total_bytes().unwrap_or(u64::MAX);
                OfferedCheckpoint { state: manifest.state, bytes }
            });
            Offer { uid: elector.uid, hotkey: elector.hotkey, stake: Alpha::from_rao(elector.stake), checkpoint }
        });
    }
    let mut offers = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        offers.push(joined?);
    }
    offers.sort_by_key(|offer| offer.uid);
    Ok(PublishedCheckpoint { window, agreed, offers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_a_number_or_the_latest() {
        assert_eq!("latest".parse(), Ok(WantedCheckpoint::Latest));
        assert_eq!("12".parse(), Ok(WantedCheckpoint::At(Window(12))));
        assert!("newest".parse::<WantedCheckpoint>().unwrap_err().to_string().contains("or `latest`"));
    }
}
