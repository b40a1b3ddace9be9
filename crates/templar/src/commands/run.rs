//! `templar run`.

mod check;
mod first_model;
mod join;
mod ledger;
mod new;

use crate::config::Config;
use clap::{Args, Subcommand};

/// Make a run of one's own: its genesis document, which every node of the run must have; or fetch another's run.
///
/// Example: templar run new --corpus corpus --preset nano --ledger ws://127.0.0.1:9944
/// Example: templar run check genesis.json --corpus corpus
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Run {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    New(Box<new::New>),
    Check(check::Check),
    Join(join::Join),
}

impl Run {
    /// Makes, checks or fetches a document.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        match self.action {
            Action::New(new) => new.run(config),
            Action::Check(check) => check.run(config),
            Action::Join(join) => join.run(config),
        }
    }
}
