//! `templar bench`. To add one: a file here, a line in [`Action`], a line in [`Bench::run`].

mod bucket;
mod convergence;
mod corpus;
mod engine;
mod gradient;
mod learning;
mod ledger;

use crate::config::Config;
use clap::{Args, Subcommand};

/// Measure how fast the parts are on this machine, beside what they are compared with.
///
/// Example: templar bench engine --setup
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Bench {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Bucket(bucket::BucketCommand),
    Convergence(convergence::Convergence),
    Engine(engine::EngineCommand),
    Gradient(gradient::GradientCommand),
    Learning(learning::LearningCommand),
    Ledger(ledger::LedgerCommand),
    #[command(hide = true)]
    EngineWorker(engine::EngineWorker),
}

impl Bench {
    /// Runs the subcommand.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        match self.action {
            Action::Bucket(bucket) => bucket.run(config),
            Action::Convergence(convergence) => convergence.run(config),
            Action::Engine(engine) => engine.run(config),
            Action::Gradient(gradient) => gradient.run(config),
            Action::Learning(learning) => learning.run(config),
            Action::Ledger(ledger) => ledger.run(config),
            Action::EngineWorker(worker) => worker.run(),
        }
    }
}
