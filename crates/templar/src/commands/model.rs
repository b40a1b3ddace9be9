//! `templar model`.

mod benchmark;
mod chat;
mod check;
mod convert;
mod evaluate;
mod generate;
mod inspect;
mod plot;
mod presets;
mod train;

use super::up::setup_advice;
use crate::config::Config;
use crate::failure::{Advise, Usage, advice};
use crate::interrupt;
use anyhow::Context;
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use templar_localnet::{TrainedError, newest_model};
use templar_model::{Checkpoint, FolderError, folder};

/// What to do about a checkpoint that cannot be used.
const CHECKPOINT_ADVICE: &str =
    "give a folder that `templar model train --out FOLDER` made, or a Llama model of Hugging Face";

/// Reads and checks a model folder, or a `.gguf` file.
pub fn open_checkpoint(path: &Path) -> anyhow::Result<Checkpoint> {
    Checkpoint::open(path)
        .with_context(|| format!("cannot use the checkpoint {}", path.display()))
        .advise(CHECKPOINT_ADVICE)
}

/// The folder, or where none is given the newest model of the local network.
pub fn local_or(folder: Option<PathBuf>, config: &Config) -> anyhow::Result<PathBuf> {
    if let Some(folder) = folder {
        return Ok(folder);
    }
    let trained = interrupt::runtime(2)?.block_on(newest_model(&config.data_folder().join("up")));
    let trained = trained.map_err(|error| match error {
        TrainedError::Network(error) => setup_advice(error),
        error => advice(error, "name a model folder, or let `templar up` run for some windows more"),
    })?;
    if !config.is_quiet {
        templar_screen::say(&format!(
            "the local network's model at the start of window {}: {}",
            trained.window,
            trained.folder.display()
        ));
    }
    Ok(trained.folder)
}

/// Makes this process the only one that writes the folder.
pub fn lock(out: &Path) -> anyhow::Result<folder::Lock> {
    folder::lock(out).map_err(|error| match error {
        FolderError::NoName { .. } | FolderError::IsFile { .. } => Usage(error.to_string()).into(),
        FolderError::InUse { .. } => advice(error, "stop that process, or choose another --out"),
        _ => error.into(),
    })
}

/// Train a model alone, measure it, generate text, and exchange it with other programs.
///
/// Example: templar model train --preset nano --minutes 2 --out first && templar model generate first --prompt "The"
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Model {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Train(Box<train::Train>),
    Evaluate(evaluate::Evaluate),
    Benchmark(benchmark::Benchmark),
    Generate(generate::Generate),
    Chat(chat::Chat),
    Presets(presets::Presets),
    Inspect(inspect::Inspect),
    Import(convert::Import),
    Export(convert::Export),
    Check(check::Check),
    Plot(plot::Plot),
}

impl Model {
    /// Runs the subcommand.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        match self.action {
            Action::Train(train) => train.run(config),
            Action::Evaluate(evaluate) => evaluate.run(config),
            Action::Benchmark(benchmark) => benchmark.run(config),
            Action::Generate(generate) => generate.run(config),
            Action::Chat(chat) => chat.run(config),
            Action::Presets(presets) => presets.run(),
            Action::Inspect(inspect) => inspect.run(),
            Action::Import(import) => import.run(config),
            Action::Export(export) => export.run(config),
            Action::Check(check) => check.run(config),
            Action::Plot(plot) => plot.run(),
        }
    }
}
