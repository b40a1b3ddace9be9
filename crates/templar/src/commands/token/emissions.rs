//! `templar token emissions`.

use super::Query;
use crate::bounds;
use crate::config::Config;
use clap::Args;
use serde_json::json;
use templar_chain::market::Market;
use templar_screen::market;

/// Show what each epoch paid out of the subnet's token, and to whom: owner, miners, validators.
///
/// Example: templar token emissions --last 100
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Emissions {
    /// Number of the newest epochs, 256 at most
    #[arg(long, value_name = "COUNT", default_value_t = 72, value_parser = bounds::newest())]
    last: u32,
    #[command(flatten)]
    query: Query,
}

impl Emissions {
    /// Shows the epochs.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let epochs = self.query.ask(config, async |chain, netuid| chain.epochs(netuid, self.last).await)?;
        self.query.output.facts(&json!({"epochs": epochs}), |paint| market::epochs(paint, &epochs))
    }
}
