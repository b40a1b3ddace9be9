//! `templar ledger explain`.

use crate::bounds;
use crate::commands::token::Query;
use crate::config::Config;
use crate::failure::Advise;
use clap::Args;
use templar_base::{BlockNumber, Uid};
use templar_chain::{Chain, Explain as _};
use templar_screen::explanation;

/// Explain a slot's pay: every term of Yuma consensus and of the payout, recomputed from the epoch's inputs.
///
/// The E-th epoch ends with block E times the tempo. Recomputed amounts are shown beside the paid ones; if they differ
/// by a rao, the exit code is 1.
///
/// Example: templar ledger explain --uid 2
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Explain {
    /// The slot
    #[arg(long, value_name = "UID")]
    uid: u16,
    /// The epoch, counted from 1; the newest by default
    #[arg(long, value_name = "E", value_parser = bounds::number())]
    epoch: Option<u64>,
    #[command(flatten)]
    query: Query,
}

impl Explain {
    /// Asks the ledger and prints.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let pay = self.query.ask(config, async |chain, netuid| {
            let tempo = u64::from(chain.hyperparameters(netuid).await?.tempo);
            let at = self.epoch.map(|epoch| BlockNumber(epoch.saturating_mul(tempo)));
            chain.explain(netuid, Uid(self.uid), at).await
        });
        let kept = "see the slots with `templar token metagraph`; an epoch is kept as long as the history";
        let pay = pay.advise(kept)?;
        self.query.output.facts(&pay, |paint| explanation::text(paint, &pay))?;
        anyhow::ensure!(pay.agrees(), "the paid amounts differ from the recomputed ones: the ledger breaks its rules");
        Ok(())
    }
}
