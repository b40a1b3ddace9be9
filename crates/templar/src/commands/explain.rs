//! `templar explain`.

use super::checkpoint::Shared;
use crate::bounds;
use crate::config::Config;
use crate::failure::Advise;
use crate::interrupt;
use clap::Args;
use templar_base::{Uid, Window};
use templar_screen::standing;

/// Explain why a miner stands where it stands after a window: commitment, votes, what is agreed, rating, pay.
///
/// Everything comes from the ledger and the validators' buckets; no key is needed. With --recompute the ratings are made
/// again from the votes since the last checkpoint, and compared with what most of the stake reported.
///
/// Example: templar explain 12 3
/// Example: templar explain 12 3 --recompute --genesis genesis.json --ledger ws://203.0.113.7:9944
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Explain {
    /// The window, whose outcome must stand
    #[arg(value_parser = bounds::number())]
    window: u64,
    /// The miner's slot
    uid: u16,
    /// Make the ratings again from the votes
    #[arg(long)]
    recompute: bool,
    #[command(flatten)]
    shared: Shared,
}

impl Explain {
    /// Prints the explanation.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.shared.ledger).with(&self.shared.data);
        let explained = interrupt::runtime(2)?.block_on(async {
            let open = self.shared.open(&config).await?;
            let explained = open.record.explain(&open.run, Window(self.window), Uid(self.uid), self.recompute).await;
            explained.advise("name a window whose votes are in and still kept: see `templar status`")
        })?;
        self.shared.output.facts(&explained, |paint| standing::text(&explained, paint))
    }
}
