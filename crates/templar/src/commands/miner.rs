//! `templar miner`.

use crate::config::{Config, DataFlag, HotkeyFlag, LedgerFlag, ThreadsFlag, WalletFlags};
use crate::role::{self, RunFlags};
use clap::Args;

/// Train the run's model on this machine and earn for what it contributes.
///
/// The hotkey must be registered, and the bucket must be one that everybody can read and this node can write. State is
/// kept in the data folder: after a stop or a kill the same command goes on from there.
///
/// Example: templar miner --local guest
/// Example: templar miner --genesis genesis.json --corpus corpus --wallet alice --bucket s3://mine?endpoint=...
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Miner {
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    data: DataFlag,
    #[command(flatten)]
    ledger: LedgerFlag,
    #[command(flatten)]
    wallet: WalletFlags,
    #[command(flatten)]
    hotkey: HotkeyFlag,
    #[command(flatten)]
    threads: ThreadsFlag,
}

impl Miner {
    /// Runs until it is asked to stop.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.data).with(&self.ledger).with(&self.wallet).with(&self.hotkey);
        role::run(&config.with(&self.threads), &self.run, role::Role::Miner)
    }
}
