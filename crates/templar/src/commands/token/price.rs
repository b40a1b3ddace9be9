//! `templar token price` and `templar token history`: the market of the subnet's token.

use super::Query;
use crate::bounds;
use crate::config::Config;
use clap::Args;
use serde_json::json;
use templar_chain::market::{Interval, Market};
use templar_screen::market;

/// Show what the subnet's token costs now, and its market: pool, volume, capitalisation, holders.
///
/// Example: templar token price
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Price {
    #[command(flatten)]
    query: Query,
}

/// Show the price's history as a chart, with the volume of each interval in --json.
///
/// Each candle has the price at its start and end, the highest and the lowest, and the TAO that changed hands; intervals
/// without a trade have none. The newest 1440 minutes, 1440 hours and 1461 days are kept.
///
/// Example: templar token history --interval 1h --last 48
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct History {
    /// Length of a candle: 1m, 1h or 1d
    #[arg(long, value_name = "INTERVAL", default_value = "1m")]
    interval: Interval,
    /// Number of the newest candles
    #[arg(long, value_name = "COUNT", default_value_t = 72, value_parser = bounds::newest())]
    last: u32,
    #[command(flatten)]
    query: Query,
}

impl Price {
    /// Shows the market.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let summary = self.query.ask(config, async |chain, netuid| chain.market(netuid).await)?;
        self.query.output.facts(&summary, |paint| market::summary(paint, &summary))
    }
}

impl History {
    /// Shows the candles.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let candles =
            self.query.ask(config, async |chain, netuid| chain.candles(netuid, self.interval, self.last).await)?;
        let facts = json!({"interval": self.interval, "candles": candles});
        self.query.output.facts(&facts, |paint| market::curve(paint, self.interval, &candles))
    }
}
