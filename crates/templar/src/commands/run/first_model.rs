//! A new run that starts from a model folder, and perhaps continues another run.

use super::new::read_config;
use crate::bounds;
use crate::config::Config;
use crate::failure::{Advise, Usage};
use crate::{interrupt, role};
use anyhow::Context;
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use templar_base::{FirstParameters, Genesis, ModelConfig, Parent, Window};
use templar_corpus::{Corpus, Tokenizer};
use templar_engine::MemoryNeeds;
use templar_gradient::state_hash;
use templar_record::{PublicRecord, Rules, TOKENIZER_FILE, agreed_report, state_of_folder};

/// The model that the run starts from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Going on from a model")]
pub struct FirstModel {
    /// Model folder to start from, instead of drawn parameters: its sizes and its parameters
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["preset", "model_config", "seed"])]
    first_parameters: Option<PathBuf>,
    /// Genesis document of the run that this one continues, on the same ledger; the folder is its checkpoint
    #[arg(long, value_name = "FILE", requires_all = ["first_parameters", "parent_window"])]
    #[arg(conflicts_with = "ledger_genesis")]
    parent: Option<PathBuf>,
    /// Window of that checkpoint
    #[arg(long, value_name = "W", requires = "parent", value_parser = bounds::number())]
    parent_window: Option<u64>,
}

impl FirstModel {
    /// Whether there is a folder.
    pub fn is_given(&self) -> bool {
        self.first_parameters.is_some()
    }

    /// The sizes of the folder's model, if there is a folder.
    pub fn config(&self) -> anyhow::Result<Option<ModelConfig>> {
        self.first_parameters.as_deref().map(|folder| read_config(&folder.join("config.json"))).transpose()
    }

    /// Puts the folder into a document that is otherwise complete and sound.
    pub fn put_into(&self, genesis: &mut Genesis, corpus: &Corpus, config: &Config) -> anyhow::Result<()> {
        let Some(folder) = &self.first_parameters else { return Ok(()) };
        check_tokenizer(folder, corpus)?;
        MemoryNeeds::check_parameters("reading the first parameters", &genesis.model)?;
        let params = Rules::new(genesis.clone())?.folder_parameters(folder)?;
        genesis.first_parameters = FirstParameters::Folder;
        genesis.first_state = state_hash(&params);
        if let (Some(parent), Some(window)) = (&self.parent, self.parent_window) {
            let held = state_of_folder(folder, &genesis.model, params)?;
            let parent = interrupt::runtime(1)?.block_on(agreed_point(parent, Window(window), config))?;
            if held != parent.state {
                let what =
                    format!("{} has state {held}; most of the stake agreed on {}", folder.display(), parent.state);
                return Err(Usage(what)).advise(format!(
                    "fetch the checkpoint with `templar checkpoint fetch --window {window}` and the other run's genesis"
                ));
            }
            genesis.parent = Some(parent);
        }
        Ok(())
    }
}

/// Parameters of one tokenizer mean nothing with another.
fn check_tokenizer(folder: &Path, corpus: &Corpus) -> anyhow::Result<()> {
    let path = folder.join(TOKENIZER_FILE);
    let own = Tokenizer::open(&path)
        .with_context(|| format!("cannot use the tokenizer {}", path.display()))
        .advise("name a whole model folder, as `templar checkpoint fetch` makes it")?;
    if own.hash() == corpus.tokenizer().hash() {
        return Ok(());
    }
    Err(Usage(format!("{} is another tokenizer than the corpus was made with", path.display())))
        .advise(format!("build the corpus with it: `templar corpus build --tokenizer {}`", path.display()))
}

/// What most of the stake agreed on at the start of a window of another run.
async fn agreed_point(genesis: &Path, window: Window, config: &Config) -> anyhow::Result<Parent> {
    let run = Rules::new(role::read_genesis(genesis)?)?;
    let chain = role::connect(config).await.advise("name the ledger of both runs with --ledger")?;
    run.check_ledger(chain.genesis().await?).advise("a run can only continue one on the same ledger")?;
    let record = PublicRecord::new(Arc::new(chain), run.genesis.netuid);
    let agreed = agreed_report(&run, &record, window).await?;
    let agreed = agreed.with_context(|| {
        format!("most of the stake did not agree on a state at the start of window {window}, or its reports are gone")
    });
    let agreed = agreed.advise("take a newer window: `templar checkpoint list` shows them")?;
    Ok(Parent { run: run.id, window, state: agreed.state, record: agreed.record })
}
