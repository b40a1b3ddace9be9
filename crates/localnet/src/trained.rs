//! What a network of this machine has trained: its public record, of the running network or, where it is stopped, of its
//! folders.

use crate::{SetupError, read_settings};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use templar_base::{Genesis, StateHash, Window};
use templar_bucket::{BucketServer, KeyRing};
use templar_chain::{NodeChain, PublicChain, RpcChain, RpcOptions};
use templar_dashboard::Source;
use templar_ledger::{Ledger, LocalChain};
use templar_model::folder;
use templar_record::{Checkpoint, PublicRecord, RecordError, Rules, fetch_latest_checkpoint, write_model_files};

/// The public record of a run.
pub struct OpenRecord {
    /// The run's rules.
    pub run: Rules,
    /// Its ledger and its buckets.
    pub record: PublicRecord,
    /// The same ledger, with what it offers besides.
    pub chain: Arc<dyn PublicChain>,
    /// Serves the buckets of a stopped network.
    _server: Option<BucketServer>,
}

/// Why there is no model of a local network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainedError {
    /// The network cannot be used.
    #[error(transparent)]
    Network(#[from] SetupError),
    /// No checkpoint is to be had.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The model cannot be written.
    #[error("cannot write the model folder")]
    Folder(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl OpenRecord {
    /// The record on a ledger that answers.
    pub fn new(run: Rules, chain: Arc<dyn PublicChain>) -> Self {
        let record = PublicRecord::new(Arc::clone(&chain) as Arc<dyn NodeChain>, run.genesis.netuid);
        Self { run, record, chain, _server: None }
    }

    /// The record for a dashboard. Keep this for as long as that is served: of a stopped network it serves the buckets.
    pub fn source(&self) -> Source {
        Source { record: self.record.clone(), ..Source::new(self.run.clone(), Arc::clone(&self.chain)) }
    }

    /// The record of the network in `root`. Where it does not run, ledger and buckets are read in its folders; nothing is
    /// written there, and no block is made.
    pub async fn of_network(root: &Path) -> Result<Self, SetupError> {
        let settings = read_settings(root)?.ok_or_else(|| SetupError::NoNetwork { root: root.to_owned() })?;
        let path = root.join("genesis.json");
        let lost = |what: &str| SetupError::Lost { root: root.to_owned(), what: what.to_owned() };
        let bytes = std::fs::read(&path).map_err(|_| lost("its genesis.json is missing"))?;
        let genesis =
            Genesis::from_json(&bytes).map_err(|source| SetupError::Genesis { path: path.clone(), source })?;
        let ledger = genesis.ledger;
        let run = Rules::new(genesis).map_err(|_| lost("its genesis.json is damaged"))?;
        if let Ok(chain) = RpcChain::connect(&settings.ledger_url(), RpcOptions::default()).await
            && chain.genesis().await.is_ok_and(|genesis| genesis == ledger)
        {
            return Ok(Self::new(run, Arc::new(chain)));
        }
        let chain = LocalChain::new(Ledger::reopen(&root.join("ledger"))?);
        let address = (settings.host(), settings.bucket_port).into();
        let server = BucketServer::bind(address, &root.join("bucket"), KeyRing::in_memory([])?).await?;
        Ok(Self { _server: Some(server), ..Self::new(run, Arc::new(chain)) })
    }

    /// The window at hand, by the ledger's newest block.
    pub async fn current(&self) -> Result<Option<Window>, RecordError> {
        Ok(self.run.phases.window_of(self.record.chain.head().await?.number))
    }
}

/// A model that was fetched into a folder.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The window whose start it is.
    pub window: Window,
    /// Its folder.
    pub folder: PathBuf,
}

/// Writes a checkpoint as a model folder, in the place of what was there; returns its size in bytes.
pub fn save_checkpoint(run: &Rules, checkpoint: Checkpoint, out: &Path) -> Result<u64, TrainedError> {
    type AnyError = Box<dyn std::error::Error + Send + Sync>;
    let Checkpoint { outer, tokenizer, .. } = checkpoint;
    let write = |new: &Path| -> Result<u64, AnyError> {
        let end_of_text = templar_corpus::Tokenizer::from_json(&tokenizer)?.end_of_text();
        let files = write_model_files(&run.genesis.model, &outer, &tokenizer, end_of_text, new)?;
        Ok(files.iter().map(|file| file.bytes).sum())
    };
    folder::replace_with(out, write).map_err(TrainedError::Folder)
}

/// The newest agreed model of the network in `root`, in a folder of its own there. A model that was fetched before is
/// taken where nothing newer is to be had.
pub async fn newest_model(root: &Path) -> Result<Trained, TrainedError> {
    let folder = root.join("trained");
    let open = OpenRecord::of_network(root).await?;
    let current = open.current().await?.ok_or(RecordError::NotYet { window: Window(0), current: None })?;
    let agreed = newest_agreed(&open, current).await;
    let mark = root.join("trained-window.json");
    let known: Option<(Window, StateHash)> =
        std::fs::read(&mark).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).filter(|_| folder.is_dir());
    match (known, agreed) {
        (Some((window, state)), Some((newest, agreed))) if (window, state) == (newest, agreed) => {
            Ok(Trained { window, folder })
        }
        (known, _) => match fetch_latest_checkpoint(&open.run, &open.record, current, &root.join("fetching")).await {
            Ok(checkpoint) => {
                let (window, state) = (checkpoint.window, checkpoint.outer.hash());
                save_checkpoint(&open.run, checkpoint, &folder)?;
                let text = serde_json::to_vec(&(window, state)).unwrap_or_default();
                let _ = std::fs::write(&mark, text);
                Ok(Trained { window, folder })
            }
            Err(error) => match known {
                Some((window, _)) => Ok(Trained { window, folder }),
                None => Err(error.into()),
            },
        },
    }
}

/// The newest checkpoint's window with the state that was agreed for it, if there is one.
async fn newest_agreed(open: &OpenRecord, current: Window) -> Option<(Window, StateHash)> {
    let window = open.run.phases.checkpoint_at_or_before(current)?;
    let state = templar_record::agreed_state(&open.run, &open.record, window).await.ok()??;
    Some((window, state))
}
