//! `templar token price` and `templar token history`: the market of the subnet's token.

use super::Query;
use crate::config::Config;
use crate::output::{Paint, facts_table};
use clap::Args;
use serde_json::json;
use templar_base::Rao;
use templar_chain::market::{Candle, Interval, Market, MarketSummary};
use templar_screen::column_chart;

const RAO: f64 = templar_base::RAO_PER_TAO as f64;

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
    #[arg(long, value_name = "COUNT", default_value_t = 72)]
    last: u32,
    #[command(flatten)]
    query: Query,
}

impl Price {
    /// Shows the market.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let market = self.query.ask(config, async |chain, netuid| chain.market(netuid).await)?;
        self.query.output.facts(&market, |paint| people(paint, &market))
    }
}

fn people(paint: Paint, market: &MarketSummary) -> String {
    let change = market.price_day_ago.filter(|before| before.0 > 0).map(|before| {
        let percent = (market.price.0 as f64 / before.0 as f64 - 1.0) * 100.0;
        let text = format!("{percent:+.2} % in a day");
        if percent < 0.0 { paint.red(&text) } else { paint.green(&text) }
    });
    let title = format!("{} {}", paint.bold(&format!("{} TAO", market.price)), change.unwrap_or_default());
    let rows = [
        ("capitalisation", format!("{} TAO", market.capitalisation)),
        ("fully diluted", format!("{} TAO", market.fully_diluted)),
        ("circulating", format!("{} alpha, held by {} keys", market.circulating, market.holders)),
        ("pool", format!("{} TAO, {} alpha", market.pool_tao, market.pool_alpha)),
        ("volume in a day", format!("{} TAO", market.volume_day)),
        ("TAO issued", format!("{}, of which {} are burned", market.tao_issued, market.tao_burned)),
    ];
    format!("{}\n{}", title.trim_end(), facts_table(&rows))
}

impl History {
    /// Shows the candles.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let candles =
            self.query.ask(config, async |chain, netuid| chain.candles(netuid, self.interval, self.last).await)?;
        let facts = json!({"interval": self.interval, "candles": candles});
        self.query.output.facts(&facts, |paint| curve(paint, self.interval, &candles))
    }
}

fn curve(paint: Paint, interval: Interval, candles: &[Candle]) -> String {
    let (Some(first), Some(last)) = (candles.first(), candles.last()) else {
        return "nothing was traded yet: buy with `templar token stake`".to_owned();
    };
    let closes = closes(candles, interval);
    let high = candles.iter().map(|candle| candle.high).max().unwrap_or(last.close);
    let low = candles.iter().map(|candle| candle.low).min().unwrap_or(last.close);
    let volume = Rao::saturating_sum(candles.iter().map(|candle| candle.volume));
    let title = paint.bold(&format!("price of the token in TAO, {} intervals of {interval}", closes.len()));
    let drawn = column_chart(&closes, false, |rao| format!("{:.6}", rao / RAO));
    let (open, close) = (first.open, last.close);
    format!("{title}\n{drawn}open {open}  high {high}  low {low}  close {close}  volume {volume} TAO")
}

/// The price at the end of each interval from the first candle to the last; where nothing was traded it stays.
fn closes(candles: &[Candle], interval: Interval) -> Vec<f64> {
    let mut closes: Vec<f64> = Vec::new();
    let mut next = candles.first().map_or(0, |candle| candle.start_ms);
    for candle in candles {
        // The number of intervals that are kept bounds what a gap can add.
        while next < candle.start_ms && closes.len() < interval.kept() {
            closes.push(candle.open.0 as f64);
            next += interval.milliseconds();
        }
        closes.push(candle.close.0 as f64);
        next = candle.start_ms + interval.milliseconds();
    }
    closes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_without_a_trade_keeps_the_price() {
        let candle = |start_ms, open: u64, close: u64| {
            let (open, close) = (Rao(open), Rao(close));
            Candle { start_ms, open, high: open.max(close), low: open.min(close), close, volume: Rao(1), trades: 1 }
        };
        let candles = [candle(60_000, 10, 12), candle(240_000, 12, 9)];
        assert_eq!(closes(&candles, Interval::Minute), [12.0, 12.0, 12.0, 9.0]);
    }
}
