//! `templar validator`.

use crate::config::Config;
use crate::role::{self, RunFlags};
use clap::Args;
use templar_round::Role;

/// Judge the miners of a run, vote on every window, and keep the agreed model for those who join.
///
/// The hotkey must be registered and hold stake, and the bucket must be publicly readable and writable by this node.
/// State is kept in the data folder: after a stop or a kill the same command resumes.
///
/// Example: templar validator --local guest
/// Example: templar validator --genesis genesis.json --corpus corpus --wallet alice --bucket s3://mine?endpoint=...
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Validator {
    #[command(flatten)]
    run: RunFlags,
}

impl Validator {
    /// Runs until it is asked to stop.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        role::run(config, &self.run, Role::Validator)
    }
}
