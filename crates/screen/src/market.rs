//! The market of the subnet's token, and what its epochs pay.

use crate::columns::column_chart;
use crate::table::{Paint, facts_table, table};
use std::str::FromStr;
use templar_base::{Alpha, AmountError, Rao};
use templar_chain::market::{Candle, EpochRecord, Interval, MarketSummary};

const RAO: f64 = templar_base::RAO_PER_TAO as f64;

/// An amount, or everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Portion {
    /// Everything.
    All,
    /// So much.
    Amount(Alpha),
}

impl FromStr for Portion {
    type Err = AmountError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" { Ok(Self::All) } else { text.parse().map(Self::Amount) }
    }
}

/// What the token costs now, and its market.
pub fn summary(paint: Paint, market: &MarketSummary) -> String {
    let change = market.price_day_ago.filter(|before| before.as_rao() > 0).map(|before| {
        let percent = (market.price.as_rao() as f64 / before.as_rao() as f64 - 1.0) * 100.0;
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

/// The price's history as a chart.
pub fn curve(paint: Paint, interval: Interval, candles: &[Candle]) -> String {
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

/// What each epoch paid, as a chart and by part.
pub fn epochs(paint: Paint, epochs: &[EpochRecord]) -> String {
    let (Some(first), Some(last)) = (epochs.first(), epochs.last()) else {
        return "no epoch has ended yet".to_owned();
    };
    let sums: Vec<f64> = epochs
        .iter()
        .map(|epoch| Alpha::saturating_sum([epoch.owner, epoch.miners, epoch.validators]).as_rao() as f64)
        .collect();
    let title = format!("alpha paid in each of {} epochs, blocks {} to {}", epochs.len(), first.block, last.block);
    let drawn = column_chart(&sums, true, |rao| format!("{:.3}", rao / RAO));
    let row = |name: &str, part: fn(&EpochRecord) -> Alpha| {
        let sum = Alpha::saturating_sum(epochs.iter().map(part));
        vec![name.to_owned(), part(last).to_string(), sum.to_string()]
    };
    let rows = [
        row("owner", |epoch| epoch.owner),
        row("miners", |epoch| epoch.miners),
        row("validators", |epoch| epoch.validators),
    ];
    format!("{}\n{drawn}{}", paint.bold(&title), table(paint, Some(&["part", "last epoch", "all shown"]), &rows))
}

/// The price at the end of each interval from the first candle to the last; where nothing was traded it stays.
fn closes(candles: &[Candle], interval: Interval) -> Vec<f64> {
    let mut closes: Vec<f64> = Vec::new();
    let mut next = candles.first().map_or(0, |candle| candle.start_ms);
    for candle in candles {
        // The number of intervals that are kept bounds what a gap can add.
        while next < candle.start_ms && closes.len() < interval.kept() {
            closes.push(candle.open.as_rao() as f64);
            next += interval.milliseconds();
        }
        closes.push(candle.close.as_rao() as f64);
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
            let (open, close) = (Rao::from_rao(open), Rao::from_rao(close));
            Candle {
                start_ms,
                open,
                high: open.max(close),
                low: open.min(close),
                close,
                volume: Rao::from_rao(1),
                trades: 1,
            }
        };
        let candles = [candle(60_000, 10, 12), candle(240_000, 12, 9)];
        assert_eq!(closes(&candles, Interval::Minute), [12.0, 12.0, 12.0, 9.0]);
    }

    #[test]
    fn an_amount_is_a_number_or_all() {
        assert_eq!("all".parse::<Portion>().unwrap(), Portion::All);
        assert_eq!("1.5".parse::<Portion>().unwrap(), Portion::Amount(Alpha::from_rao(1_500_000_000)));
        assert!("some".parse::<Portion>().is_err());
    }
}
