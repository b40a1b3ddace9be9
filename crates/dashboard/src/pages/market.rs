//! The market of the subnet's token.

use super::parts::{Cell, Page, facts, note, section, table, trouble};
use super::words::{self, UNKNOWN, count};
use crate::chart::{Bar, Chart, Point, Series};
use crate::markup::Markup;
use crate::state::{MarketView, Snapshot};
use templar_base::{Alpha, Rao};
use templar_chain::market::EpochRecord;

/// Epochs in the table; the chart has all that were read.
const EPOCHS: usize = 24;

/// The market.
pub(crate) fn market(snapshot: &Snapshot) -> Page {
    let mut body = Markup::with_text("h1", "Market").then(trouble(snapshot));
    match &snapshot.market {
        None => body.push(section("market", "Now", note("The ledger has not shown a market (yet)."))),
        Some(market) => {
            body.push(section("market", "Now", now(market)));
            body.push(section("price", "Price", price(market)));
            body.push(section("emission", "Emission", emission(&market.epochs)));
        }
    }
    Page::new("Market", "/market", body)
}

fn now(market: &MarketView) -> Markup {
    let own = &market.summary;
    let tao = |amount: Rao| Markup::text(format!("{} TAO", words::tao(amount)));
    let alpha = |amount: Alpha| Markup::text(format!("{} α", words::alpha(amount)));
    let change = own
        .price_day_ago
        .filter(|before| !before.is_zero())
        .map(|before| format!("{:+.2} %", (own.price.as_rao() as f64 / before.as_rao() as f64 - 1.0) * 100.0));
    facts(vec![
        ("Price of a token", tao(own.price)),
        ("In a day", Markup::text(change.unwrap_or_else(|| UNKNOWN.to_owned()))),
        ("Capitalisation", tao(own.capitalisation)),
        ("Fully diluted", tao(own.fully_diluted)),
        ("Circulating", alpha(own.circulating)),
        ("Holders", Markup::text(count(own.holders))),
        ("In the pool", tao(own.pool_tao)),
        ("and", alpha(own.pool_alpha)),
        ("Volume in a day", tao(own.volume_day)),
        ("TAO issued", tao(own.tao_issued)),
        ("TAO burned", tao(own.tao_burned)),
    ])
}

fn price(market: &MarketView) -> Markup {
    let (Some(first), Some(last)) = (market.candles.first(), market.candles.last()) else {
        return note("Nothing was traded yet.");
    };
    let minute = |start_ms: u64| start_ms.saturating_sub(first.start_ms) as f64 / 60_000.0;
    let bars = market.candles.iter().map(|candle| Bar {
        x: minute(candle.start_ms),
        prices: [candle.open, candle.high, candle.low, candle.close].map(Rao::as_whole_f64),
    });
    let title = format!("Price in TAO, candles of a minute from {}", words::time(first.start_ms));
    let (id, x, y) = ("candles", "minutes", "TAO");
    let drawn = Chart { id, title, x, y, series: Vec::new(), bars: bars.collect() }.draw();
    let volume = Rao::saturating_sum(market.candles.iter().map(|candle| candle.volume));
    let text = format!(
        "Candles: {}, up to {}; {} TAO changed hands in them. Minutes without a trade have no candle.",
        market.candles.len(),
        words::time(last.start_ms),
        words::tao(volume)
    );
    Markup::tag("div", &[("class", &"charts")], drawn).then(note(&text))
}

fn emission(epochs: &[EpochRecord]) -> Markup {
    if epochs.is_empty() {
        return note("No epoch has ended yet.");
    }
    let points = |of: fn(&EpochRecord) -> Alpha| -> Vec<Point> {
        let point =
            |epoch: &EpochRecord| Point { x: epoch.block.get() as f64, y: of(epoch).as_whole_f64(), error: None };
        epochs.iter().map(point).collect()
    };
    let series = vec![
        Series { name: "miners".into(), points: points(|epoch| epoch.miners) },
        Series { name: "validators".into(), points: points(|epoch| epoch.validators) },
        Series { name: "owner".into(), points: points(|epoch| epoch.owner) },
    ];
    let title = "Tokens paid in each epoch".to_owned();
    let (id, x, y) = ("epochs", "block of the epoch's end", "α");
    let drawn = Chart { id, title, x, y, series, bars: Vec::new() }.draw();
    let row = |epoch: &EpochRecord| {
        let amount = |amount: Alpha| Cell::number(words::alpha(amount), Some(amount.as_rao() as f64));
        vec![Cell::number(epoch.block, None), amount(epoch.miners), amount(epoch.validators), amount(epoch.owner)]
    };
    let rows = epochs.iter().rev().take(EPOCHS).map(row).collect();
    let heads = ["Block", "Miners, α", "Validators, α", "Owner, α"];
    Markup::tag("div", &[("class", &"charts")], drawn).then(table("The newest epochs", &heads, rows))
}
