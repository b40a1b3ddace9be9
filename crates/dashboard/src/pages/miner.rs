//! One slot: who holds it, what it is paid, and every window with every refusal.

use super::miners::{role, standing};
use super::parts::{Cell, Page, facts, hash, note, section, table, trouble, window_link};
use super::window::agreed_words;
use super::words::{self, UNKNOWN, count, or_unknown};
use crate::chart::{Chart, Point, Series};
use crate::markup::Markup;
use crate::state::{SlotView, Snapshot};
use templar_base::Uid;
use templar_chain::{Event, EventRecord};
use templar_record::{Measured, MinerView, WindowRecord};

/// A slot; none where nobody holds it. `history` is what happened to its key, none where that could not be read.
pub(crate) fn miner(snapshot: &Snapshot, uid: Uid, history: Option<&[EventRecord]>) -> Option<Page> {
    let slot = snapshot.slot(uid)?;
    let own = |view: &'_ WindowRecord| view.miner(uid).filter(|own| own.hotkey == Some(slot.hotkey)).cloned();
    let windows: Vec<(&WindowRecord, MinerView)> =
        snapshot.finished.values().filter_map(|view| Some((view.as_ref(), own(view)?))).collect();
    let body = Markup::with_text("h1", format!("Slot {uid}"))
        .then(trouble(snapshot))
        .then(section("slot", "Now", now(slot)))
        .then(section("history", "Contribution and rating", charts(&windows)))
        .then(section("windows", "Its windows", rows(&windows)))
        .then(section("pay", "Pay and stake on the ledger", events(history)))
        .then(section("again", "Recompute this", again(uid, &windows)));
    Some(Page::new(format!("Slot {uid}"), "/miners", body))
}

fn now(slot: &SlotView) -> Markup {
    let merged = or_unknown(slot.selected_share, |share| {
        let (merged, sealed) = (slot.selected_windows, slot.sealed_windows);
        format!("{} ({merged} of {sealed} windows that were read)", words::percent(share))
    });
    let code = |key: String| Markup::tag("code", &[("class", &"whole")], Markup::text(key));
    facts(vec![
        ("Key", code(slot.hotkey.to_string())),
        ("Owned by", code(slot.coldkey.to_string())),
        ("Role", Markup::text(role(slot))),
        ("Standing", Markup::text(standing(slot))),
        ("φ, mnat", Markup::text(or_unknown(slot.contribution, words::millinats))),
        ("Rating (1 is an equal share)", Markup::text(or_unknown(slot.rating, words::share))),
        ("Merged", Markup::text(merged)),
        ("Part of the miners' pay", Markup::text(words::percent(slot.incentive))),
        ("Part of the validators' pay", Markup::text(words::percent(slot.dividends))),
        ("Pay of the last epoch", Markup::text(format!("{} α", words::alpha(slot.emission_rao)))),
        ("Stake", Markup::text(format!("{} α", words::alpha(slot.stake_rao)))),
        ("Sealed", Markup::text(words::size(slot.sealed_bytes))),
        ("Last seen in window", slot.last_seen.map_or(Markup::text(UNKNOWN), window_link)),
        ("Registered in block", Markup::text(count(slot.registered_at.get()))),
    ])
}

fn charts(windows: &[(&WindowRecord, MinerView)]) -> Markup {
    let points = |of: &dyn Fn(&MinerView) -> Option<Measured>, unit: f64| -> Vec<Point> {
        let point = |(view, own): &(&WindowRecord, MinerView)| {
            let measured = of(own)?;
            let (y, error) = (measured.mean * unit, Some(measured.error * unit));
            Some(Point { x: view.window.get() as f64, y, error })
        };
        windows.iter().filter_map(point).collect()
    };
    let contribution = vec![Series { name: "φ".into(), points: points(&|own| own.contribution, 1e3) }];
    let rating = vec![
        Series { name: "rating".into(), points: points(&|own| own.rating_after, 1.0) },
        Series { name: "share of the window".into(), points: points(&|own| own.share, 1.0) },
    ];
    let chart =
        |id, title: &str, y, series| Chart { id, title: title.to_owned(), x: "window", y, series, bars: Vec::new() };
    let all = [
        chart("contribution", "What its payloads brought (φ), with the standard error", "mnat", contribution),
        chart("rating", "Rating and share, with their errors; 1 is an equal share", "share", rating),
    ];
    Markup::tag("div", &[("class", &"charts")], all.iter().map(Chart::draw).collect())
}

fn rows(windows: &[(&WindowRecord, MinerView)]) -> Markup {
    if windows.is_empty() {
        return note("It has committed nothing in the windows that were read.");
    }
    let row = |(view, own): &(&WindowRecord, MinerView)| {
        let class = if own.is_refused { "refused" } else { "standing" };
        let said = own.standing.as_deref().unwrap_or(UNKNOWN);
        let sealed = own.sealed.as_ref();
        vec![
            Cell::of(window_link(view.window)),
            Cell::text(agreed_words(own)),
            Cell::of(Markup::tag("span", &[("class", &class)], Markup::text(said))),
            Cell::number(or_unknown(own.contribution, words::millinats), own.contribution.map(|own| own.mean)),
            Cell::number(or_unknown(own.share, words::share), own.share.map(|own| own.mean)),
            Cell::number(or_unknown(own.rating_after, words::share), own.rating_after.map(|own| own.mean)),
            Cell::number(or_unknown(own.tokens, count), own.tokens.map(|tokens| tokens as f64)),
            Cell::number(or_unknown(sealed, |own| words::size(u64::from(own.bytes))), None),
            Cell::of(sealed.map_or(Markup::text(UNKNOWN), |own| hash(&own.digest, own.url.as_ref()))),
        ]
    };
    let heads = ["Window", "Agreed", "Verdict says", "φ, mnat", "Share", "Rating", "Tokens", "Sealed", "Object"];
    table("Its windows, the newest first", &heads, windows.iter().rev().map(row).collect())
}

/// What happened to the key, in words.
fn words_of(event: &Event) -> String {
    match event {
        Event::Registered { uid, .. } => format!("registered for slot {uid}"),
        Event::Emitted { incentive, dividends, .. } => {
            format!("paid {} α as a miner, {} α as a validator", words::alpha(*incentive), words::alpha(*dividends))
        }
        Event::StakeAdded { paid, alpha, .. } => {
            format!("{} α staked behind it for {} TAO", words::alpha(*alpha), words::tao(*paid))
        }
        Event::StakeRemoved { alpha, received, .. } => {
            format!("{} α of the stake behind it sold for {} TAO", words::alpha(*alpha), words::tao(*received))
        }
        Event::RootStakeAdded { .. } => "TAO staked on the root behind it".to_owned(),
        Event::RootStakeRemoved { .. } => "TAO taken from the root behind it".to_owned(),
        Event::StakeMoved { amount, .. } => format!("{} α of stake moved", words::alpha(*amount)),
        Event::TakeSet { take, .. } => {
            format!("keeps {} of its stakers' dividends", words::percent(f64::from(*take) / 65_535.0))
        }
        Event::Transferred { amount, .. } => format!("{} TAO transferred", words::tao(*amount)),
        Event::Governance(_) => "voted, or made a proposal".to_owned(),
        Event::Access(_) => "access to the model".to_owned(),
        // The rest is in nobody's history.
        _ => "another event".to_owned(),
    }
}

fn events(history: Option<&[EventRecord]>) -> Markup {
    let Some(history) = history else { return note("The ledger did not give the key's history in time.") };
    if history.is_empty() {
        return note("Nothing happened to its key in the blocks that the ledger keeps.");
    }
    let row = |record: &EventRecord| vec![Cell::number(record.block, None), Cell::text(words_of(&record.event))];
    table("What happened to its key, the newest first", &["Block", "What"], history.iter().map(row).collect())
}

fn again(uid: Uid, windows: &[(&WindowRecord, MinerView)]) -> Markup {
    let window = windows.last().map_or("WINDOW".to_owned(), |(view, _)| view.window.to_string());
    let text = format!("templar explain {window} {uid} --recompute\ntemplar ledger explain --uid {uid}");
    let lines = text.lines().map(|line| Markup::tag("pre", &[], Markup::with_text("code", line)));
    let lines: Markup = lines.collect();
    lines.then(note(
        "The first makes its rating again from the votes; the second every term of its pay. Both need only the ledger \
         and the validators' buckets.",
    ))
}
