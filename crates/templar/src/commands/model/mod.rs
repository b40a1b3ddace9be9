//! `templar model`.

mod chat;
mod evaluate;
mod generate;
mod presets;
mod sampling;
mod train;

use crate::config::Config;
use clap::{Args, Subcommand};

/// Train a model alone, measure it, and let it write.
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
    Train(train::Train),
    Evaluate(evaluate::Evaluate),
    Generate(generate::Generate),
    Chat(chat::Chat),
    Presets(presets::Presets),
}

impl Model {
    /// Runs the subcommand.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        match self.action {
            Action::Train(train) => train.run(config),
            Action::Evaluate(evaluate) => evaluate.run(config),
            Action::Generate(generate) => generate.run(config),
            Action::Chat(chat) => chat.run(config),
            Action::Presets(presets) => presets.run(),
        }
    }
}
