//! `templar miner`.

use crate::config::Config;
use crate::role::{self, RunFlags};
use clap::Args;
use templar_round::Role;

/// Train the run's model on this machine and earn for what it contributes.
///
/// The hotkey must be registered, and the bucket must be publicly readable and writable by this node. State is kept in
/// the data folder: after a stop or a kill the same command resumes.
///
/// Example: templar miner --local guest
/// Example: templar miner --genesis genesis.json --corpus corpus --wallet alice --bucket s3://mine?endpoint=...
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Miner {
    #[command(flatten)]
    run: RunFlags,
}

impl Miner {
    /// Runs until it is asked to stop.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        role::run(config, &self.run, Role::Miner)
    }
}
