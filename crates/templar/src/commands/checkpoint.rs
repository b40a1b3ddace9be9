//! `templar checkpoint`.

use super::model::{lock, open_checkpoint};
use super::up::setup_advice;
use crate::bounds;
use crate::config::{Config, DataFlag, LedgerFlag};
use crate::failure::{Advise, Usage};
use crate::output::Output;
use crate::{interrupt, role};
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use templar_base::Window;
use templar_localnet::{OpenRecord, save_checkpoint};
use templar_record::{
    Checkpoint as Fetched, RecordError, Rules, WantedCheckpoint, agreed_state, fetch_checkpoint,
    fetch_latest_checkpoint, published_checkpoints, state_of_folder,
};
use templar_screen::{Progress, checkpoints, size};

/// What to do about a folder that is not the agreed model.
const REFETCH: &str = "fetch the agreed one with `templar checkpoint fetch`";

/// Find, fetch and check the model that a run has trained, from its public record alone.
///
/// No wallet and no bucket are needed: the ledger states what most of the stake applied and where the validators' buckets
/// are, and everything from a bucket is checked against that. Without --genesis it is about the network of `templar up`
/// on this machine, also when that is stopped.
///
/// Example: templar checkpoint fetch
/// Example: templar checkpoint fetch --genesis genesis.json --ledger ws://192.168.1.5:9944 --out trained
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Checkpoint {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(List),
    Fetch(Fetch),
    Verify(Verify),
}

/// The flags of every subcommand.
#[derive(Debug, Args)]
pub(super) struct Shared {
    /// The run's genesis document; that of the local network where it is not given
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    #[command(flatten)]
    pub output: Output,
    #[command(flatten)]
    pub ledger: LedgerFlag,
    #[command(flatten)]
    pub data: DataFlag,
}

/// List the checkpoints that the validators publish, and whether most of the stake agrees with them.
///
/// Example: templar checkpoint list --genesis genesis.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct List {
    /// Number of checkpoints, newest first
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = bounds::items())]
    last: usize,
    #[command(flatten)]
    shared: Shared,
}

/// Download a checkpoint as a model folder that `templar model generate` and Hugging Face's tools read.
///
/// Only parameters with the state hash that most of the stake applied are accepted. The folder is replaced as a whole or
/// not at all.
///
/// Example: templar checkpoint fetch --genesis genesis.json --window latest --out trained
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Fetch {
    /// The window whose start the checkpoint is, or `latest`
    #[arg(long, value_name = "W", default_value = "latest")]
    window: WantedCheckpoint,
    /// Folder for the model
    #[arg(long, value_name = "FOLDER", default_value = "trained")]
    out: PathBuf,
    #[command(flatten)]
    shared: Shared,
}

/// Compute the state hash of a model folder and compare it with what most of the stake applied.
///
/// Example: templar checkpoint verify trained --window 40 --genesis genesis.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct Verify {
    /// The model folder
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// The window whose start it should be; 0 is the start of the run
    #[arg(long, value_name = "W", value_parser = bounds::number())]
    window: u64,
    #[command(flatten)]
    shared: Shared,
}

impl Checkpoint {
    /// Runs the subcommand.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        match self.action {
            Action::List(list) => list.run(config),
            Action::Fetch(fetch) => fetch.run(config),
            Action::Verify(verify) => verify.run(config),
        }
    }
}

impl Shared {
    /// Whether it is about the network of this machine.
    pub fn is_local(&self) -> bool {
        self.genesis.is_none() && self.ledger.ledger.is_none()
    }

    /// The run's rules, and the record of the ledger that they name.
    pub async fn open(&self, config: &Config) -> anyhow::Result<OpenRecord> {
        let root = config.data_folder().join("up");
        let genesis = match &self.genesis {
            Some(genesis) => genesis.clone(),
            None if self.ledger.ledger.is_none() => {
                return OpenRecord::of_network(&root).await.map_err(setup_advice);
            }
            None => root.join("genesis.json"),
        };
        let run = Rules::new(role::read_genesis(&genesis)?)?;
        let chain = role::connect(config).await;
        let chain = chain.advise("start one with `templar ledger` or `templar up`, or name another with --ledger")?;
        run.check_ledger(chain.genesis().await?).advise("name the run's ledger with --ledger")?;
        Ok(OpenRecord::new(run, Arc::new(chain)))
    }
}

impl List {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.shared.ledger).with(&self.shared.data);
        let (run, current, published) = interrupt::runtime(2)?.block_on(async {
            let open = self.shared.open(&config).await?;
            let published = published_checkpoints(&open.run, &open.record, self.last).await?;
            let current = open.current().await?;
            anyhow::Ok((open.run, current, published))
        })?;
        let checkpoints: Vec<Value> = published.iter().map(checkpoints::facts).collect();
        let every = run.genesis.budget.checkpoint_windows;
        let facts = json!({"run": run.id, "window": current, "checkpoint_windows": every, "checkpoints": checkpoints});
        self.shared.output.facts(&facts, |paint| checkpoints::text(paint, &run, current, &published))
    }
}

impl Fetch {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.shared.ledger).with(&self.shared.data);
        // Checked before anything is downloaded.
        let _lock = lock(&self.out)?;
        if self.out.join("training.json").exists() {
            return Err(Usage(format!("{} is a training", self.out.display()))).advise("choose another --out");
        }
        // An interrupted download is resumed from here.
        let scratch = config.data_folder().join("incoming");
        std::fs::create_dir_all(&scratch).with_context(|| format!("cannot create the folder {}", scratch.display()))?;
        let scratch = scratch.join("checkpoint");
        let mut progress = Progress::new(config.is_quiet);
        let (run, fetched) = interrupt::runtime(2)?.block_on(async {
            let open = self.shared.open(&config).await?;
            progress.say("fetching the checkpoint");
            let fetched = self.fetch(&open, &scratch).await?;
            anyhow::Ok((open.run, fetched))
        })?;
        drop(progress);
        // Nothing is left to resume.
        let _ = std::fs::remove_dir(scratch.parent().unwrap_or(&scratch));
        let window = fetched.window;
        let bytes = save_checkpoint(&run, fetched, &self.out)?;
        // Read back from the disk, so that what is printed holds for the folder.
        let folder = open_checkpoint(&self.out)?;
        let state = state_of_folder(&self.out, &folder.config, folder.parameters).advise(REFETCH)?;
        let facts = json!({"run": run.id, "window": window, "state": state, "folder": self.out, "bytes": bytes});
        self.shared.output.facts(&facts, |_| {
            let out = self.out.display();
            format!(
                "{out}: the model at the start of window {window}, {}\nstate {state}: what most of the stake applied\n\
                 Next: templar model generate {out} --prompt \"Once upon a time\"",
                size(bytes)
            )
        })
    }

    async fn fetch(&self, open: &OpenRecord, scratch: &Path) -> anyhow::Result<Fetched> {
        let look = "see the checkpoints with `templar checkpoint list`";
        let (run, record, current) = (&open.run, &open.record, open.current().await?);
        match self.window {
            WantedCheckpoint::Latest => match current {
                Some(current) => fetch_latest_checkpoint(run, record, current, scratch).await.advise(look),
                None => Err(RecordError::NotYet { window: Window(0), current }).advise(look),
            },
            WantedCheckpoint::At(window) if !run.phases.is_checkpoint(window) => {
                let every = run.genesis.budget.checkpoint_windows;
                let what =
                    format!("window {window} has no checkpoint: they are made every {every} windows, from {every} on");
                Err(Usage(what)).advise(look)
            }
            WantedCheckpoint::At(window) if current.is_none_or(|current| window > current) => {
                Err(RecordError::NotYet { window, current }).advise(look)
            }
            WantedCheckpoint::At(window) => fetch_checkpoint(run, record, window, scratch).await.advise(look),
        }
    }
}

impl Verify {
    fn run(self, config: Config) -> anyhow::Result<()> {
        let window = Window(self.window);
        let folder = open_checkpoint(&self.folder)?;
        let config = config.with(&self.shared.ledger).with(&self.shared.data);
        let (run, agreed) = interrupt::runtime(2)?.block_on(async {
            let open = self.shared.open(&config).await?;
            let agreed = agreed_state(&open.run, &open.record, window).await?;
            anyhow::Ok((open.run, agreed))
        })?;
        let agreed =
            agreed.with_context(|| format!("the ledger holds no agreed state for the start of window {window}"));
        let agreed = agreed.advise("choose a window that is kept: see `templar checkpoint list`")?;
        let is_same_model = folder.config == run.genesis.model;
        let state = state_of_folder(&self.folder, &folder.config, folder.parameters).advise(REFETCH)?;
        // The state hash covers the values of the parameters, not how the model computes with them.
        let is_same = state == agreed && is_same_model;
        let path = self.folder.display();
        let facts = json!({
            "run": run.id,
            "window": window,
            "folder": self.folder,
            "state": state,
            "agreed_state": agreed,
            "is_same_model": is_same_model,
            "is_agreed": is_same,
        });
        // A check that fails is a failure for scripts too, so its facts go out before the error.
        if is_same || self.shared.output.is_json() {
            self.shared.output.facts(&facts, |paint| {
                let verdict = paint.green("is the agreed model");
                format!("{path} {verdict} at the start of window {window}\nstate {state}")
            })?;
        }
        if state != agreed {
            let what = format!("{path} has state {state}, but window {window} started from {agreed}");
            return Err(anyhow::anyhow!(what)).advise(REFETCH);
        }
        if !is_same {
            let what = format!("{path} has the agreed parameters, but its config.json is not that of the run's model");
            return Err(anyhow::anyhow!(what)).advise(REFETCH);
        }
        Ok(())
    }
}
