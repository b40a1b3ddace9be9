//! `templar token metagraph`.

use super::Query;
use crate::config::Config;
use clap::Args;
use templar_chain::Chain;
use templar_screen::slots;

/// Show all slots of the subnet: who holds them, with what stake, and what they earned.
///
/// Incentive and dividends are shares of the last epoch's pay of miners and validators; emission is the slot's pay.
///
/// Example: templar token metagraph
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ShowMetagraph {
    #[command(flatten)]
    query: Query,
}

impl ShowMetagraph {
    /// Shows the slots.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let metagraph = self.query.ask(config, async |chain, netuid| chain.metagraph(netuid, None).await)?;
        self.query.output.facts(&slots::facts(&metagraph), |paint| slots::text(paint, &metagraph))
    }
}
