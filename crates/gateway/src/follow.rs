//! The newest agreed checkpoint of a run, as a model to serve.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use templar_base::{RunId, Window};
use templar_corpus::{Tokenizer, TokenizerError};
use templar_model::{FileError, folder};
use templar_record::{Checkpoint, PublicRecord, RecordError, Rules, agreed_state, fetch_checkpoint, write_model_files};
use tokio::time::sleep;

use crate::served::{Identity, Served, ServedError};

/// How often the ledger is asked for a newer checkpoint.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Pause after a failure.
const FAILURE_PAUSE: Duration = Duration::from_secs(10);
/// How many of the newest checkpoints are tried, where validators no longer have, or do not yet have, the newest.
const CANDIDATES: usize = 3;
/// The file of the model folder that says of which run and window it is.
const MARK_FILE: &str = "checkpoint-window.json";

/// Why there is no newer model of a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The public record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The model folder cannot be written; the disk is at fault.
    #[error(transparent)]
    File(#[from] FileError),
    /// The run's tokenizer cannot be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The model cannot be served.
    #[error(transparent)]
    Served(#[from] ServedError),
    /// The work was cut off.
    #[error("the loading of the checkpoint was cut off")]
    Cut,
}

/// Which checkpoint a folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    run: RunId,
    window: Window,
}

/// Follows a run: fetches its checkpoints into a folder of its own, and makes models of them.
pub struct Follower {
    run: Rules,
    record: PublicRecord,
    folder: PathBuf,
    threads: usize,
}

impl Follower {
    /// Follows the run of this record; `folder` is the follower's own. Engines have this many threads.
    pub fn new(run: Rules, record: PublicRecord, folder: PathBuf, threads: usize) -> Self {
        Self { run, record, folder, threads }
    }

    fn model_folder(&self) -> PathBuf {
        self.folder.join("model")
    }

    fn identity(&self, window: Window) -> Identity {
        let fingerprint = format!("run-{}-window-{window}", self.run.id.short());
        Identity { name: self.run.genesis.name.clone(), fingerprint, window: Some(window) }
    }

    /// The model that an earlier process has fetched, if it can be served; it was agreed when it was fetched.
    pub fn kept(&self) -> Option<Served> {
        let path = self.model_folder();
        // A kill may have come between two renames.
        folder::recover(&path).ok()?;
        let mark: Mark = serde_json::from_slice(&std::fs::read(path.join(MARK_FILE)).ok()?).ok()?;
        if mark.run != self.run.id {
            return None;
        }
        Served::open(&path, self.identity(mark.window), self.threads).ok()
    }

    /// The newest agreed model, if there is one that is newer than the start of window `than`.
    pub async fn newer(&self, than: Option<Window>) -> Result<Option<Served>, FollowError> {
        let head = self.record.chain.head().await.map_err(RecordError::from)?;
        let mut candidate = self.run.phases.window_of(head.number);
        let mut failed = None;
        for _ in 0..CANDIDATES {
            let newest = candidate.and_then(|window| self.run.phases.checkpoint_at_or_before(window));
            let Some(window) = newest.filter(|window| than.is_none_or(|than| *window > than)) else { break };
            candidate = window.previous();
            if agreed_state(&self.run, &self.record, window).await?.is_none() {
                continue;
            }
            let scratch = self.folder.join("incoming");
            match fetch_checkpoint(&self.run, &self.record, window, &scratch).await {
                Ok(fetched) => return self.load(fetched).await.map(Some),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(None), |error| Err(error.into()))
    }

    /// Writes a checkpoint as the model folder, and reads it back from there.
    async fn load(&self, fetched: Checkpoint) -> Result<Served, FollowError> {
        let (run, path) = (self.run.clone(), self.model_folder());
        let (identity, threads) = (self.identity(fetched.window), self.threads);
        let load = move || {
            save(&run, fetched, &path)?;
            Ok::<_, FollowError>(Served::open(&path, identity, threads)?)
        };
        tokio::task::spawn_blocking(load).await.map_err(|_| FollowError::Cut)?
    }

    /// Gives each newer model to `serve` as it comes; outages are waited for. Never ends.
    pub async fn follow(&self, mut served: Option<Window>, mut serve: impl FnMut(Arc<Served>)) {
        let mut told = None;
        loop {
            match self.newer(served).await {
                Ok(Some(model)) => {
                    served = model.identity.window;
                    serve(Arc::new(model));
                    told = None;
                }
                Ok(None) => sleep(LOOK_EVERY).await,
                Err(error) => {
                    let reason = error.to_string();
                    if told.as_ref() != Some(&reason) {
                        tracing::warn!("no newer model of the run, it is tried again: {reason}");
                        told = Some(reason);
                    }
                    sleep(FAILURE_PAUSE).await;
                }
            }
        }
    }
}

fn save(run: &Rules, fetched: Checkpoint, path: &Path) -> Result<(), FollowError> {
    let Checkpoint { window, outer, tokenizer } = fetched;
    let mark = serde_json::to_vec(&Mark { run: run.id, window }).unwrap_or_default();
    folder::replace_with(path, |new| {
        let end_of_text = Tokenizer::from_json(&tokenizer)?.end_of_text();
        write_model_files(&run.genesis.model, &outer, &tokenizer, end_of_text, new)?;
        folder::write_file(&new.join(MARK_FILE), &mark)?;
        Ok(())
    })
}
