//! The run at a glance, and its windows.

use super::evaluation::evaluation;
use super::parts::{Cell, Page, facts as fact_list, hash, note, section, table, trouble, uid_links, window_link};
use super::words::{self, UNKNOWN, count, or_unknown};
use crate::chart::{Chart, Point, Series};
use crate::markup::Markup;
use crate::state::{RunFacts, RunTotals, Snapshot};
use templar_record::{Stage, WindowRecord};

/// Windows in the run's own table; all are on their page.
const NEWEST: usize = 12;

/// The run.
pub(crate) fn run(facts: &RunFacts, snapshot: &Snapshot) -> Page {
    let totals = snapshot.totals();
    let name = if facts.name.is_empty() { "Run".to_owned() } else { format!("Run {}", facts.name) };
    let body = Markup::with_text("h1", name)
        .then(trouble(snapshot))
        .then(file(facts))
        .then(section("now", "Now", now(snapshot, &totals)))
        .then(section("learning", "Learning", charts(snapshot)))
        .then(section("evaluation", "Tasks", evaluation(facts, snapshot)))
        .then(section("newest", "Newest windows", newest(snapshot)))
        .then(section("nulls", "Null windows", nulls(&totals)))
        .then(section("about", "What it is", about(facts, snapshot)));
    Page::new("Run", "/", body)
}

/// Where the run is shown out of a file, which, and what it lacks.
fn file(facts: &RunFacts) -> Markup {
    let Some(file) = &facts.record_file else { return Markup::default() };
    let what = format!(
        "This is a record file, packed by {} at block {}: nothing here is live. Its content is {}.",
        file.made_by,
        count(file.block.get()),
        file.record
    );
    let gap = |gap: &templar_record::Gap| Markup::with_text("li", format!("{}: {}", gap.what, gap.why));
    let gaps = Markup::tag("ul", &[], file.gaps.iter().map(gap).collect());
    let missing = if file.gaps.is_empty() { Markup::default() } else { note("It lacks:").then(gaps) };
    section("file", "Record file", note(&what).then(missing))
}

fn now(snapshot: &Snapshot, totals: &RunTotals) -> Markup {
    let window = snapshot.head.and_then(|head| head.window);
    let current = match window {
        Some(window) => window_link(window).then(Markup::text(progress(snapshot))),
        None => Markup::text("before its first window"),
    };
    let losses = match (totals.first_loss, totals.last_loss) {
        (Some(first), Some(last)) => format!("{} → {}", words::loss(first), words::loss(last)),
        _ => "not measured yet".to_owned(),
    };
    let speed = or_unknown(totals.tokens_per_second, |speed| format!("{} tokens/s", count(speed as u64)));
    let sync = match totals.reports {
        0 => UNKNOWN.to_owned(),
        reports => format!("{} of {reports} that reported", totals.in_sync),
    };
    let nulls = format!("{} ({} null)", count(totals.windows as u64), totals.null_windows);
    let rows = vec![
        ("Window", current),
        ("Loss on the text of judgement, nats per token", Markup::text(losses)),
        ("Merged tokens", Markup::text(count(totals.tokens))),
        ("Speed of the newest window", Markup::text(speed)),
        ("In sync, by state root", Markup::text(sync)),
        ("Windows read", Markup::text(nulls)),
        ("Sealed payloads", Markup::text(words::size(totals.sealed_bytes))),
        ("Miners' utilisation", Markup::text("not in the public record")),
    ];
    fact_list(rows)
}

/// How far the window at hand is.
fn progress(snapshot: &Snapshot) -> String {
    let Some((view, timeline)) = snapshot.current_timeline() else { return String::new() };
    let done = timeline.iter().rev().find(|moment| moment.time_ms.is_some());
    let sealed = view.miners.iter().filter(|miner| miner.sealed.is_some()).count();
    match done {
        Some(moment) => format!(": {}; {sealed} sealed so far", moment.what),
        None => String::new(),
    }
}

fn charts(snapshot: &Snapshot) -> Markup {
    let windows: Vec<&WindowRecord> = snapshot.finished.values().map(AsRef::as_ref).collect();
    let points = |value: &dyn Fn(&WindowRecord) -> Option<f64>| -> Vec<Point> {
        let point = |view: &&WindowRecord| Some(Point { x: view.window.get() as f64, y: value(view)?, error: None });
        windows.iter().filter_map(point).collect()
    };
    let mut tokens = 0u64;
    let by_tokens = windows.iter().filter_map(|view| {
        let at = tokens;
        tokens = tokens.saturating_add(view.tokens.unwrap_or(0));
        Some(Point { x: at as f64, y: view.loss_before?, error: None })
    });
    let by_tokens: Vec<Point> = by_tokens.collect();
    let loss = vec![Series { name: "loss at the window's start".into(), points: points(&|view| view.loss_before) }];
    let speed = vec![Series { name: "tokens a second".into(), points: points(&|view| view.tokens_per_second()) }];
    let bytes = vec![Series { name: "sealed bytes".into(), points: points(&|view| Some(view.sealed_bytes as f64)) }];
    let by_tokens = vec![Series { name: "loss at the window's start".into(), points: by_tokens }];
    let chart = |id, title: &str, x, y, series| Chart { id, title: title.to_owned(), x, y, series, bars: Vec::new() };
    let all = [
        chart("loss-by-window", "Loss by window", "window", "nats per token", loss),
        chart("loss-by-tokens", "Loss by merged tokens", "tokens merged before", "nats per token", by_tokens),
        chart("speed", "Merged tokens a second", "window", "tokens a second", speed),
        chart("bytes", "Sealed payloads", "window", "bytes", bytes),
    ];
    let drawn = Markup::tag("div", &[("class", &"charts")], all.iter().map(Chart::draw).collect());
    drawn.then(note(
        "The loss is that of the leading verdict: the mean on the text that is drawn to judge each window, with the \
         parameters at its start. Each window has another text, so the line is not smooth. Losses on the held-out text \
         are in the nodes' own journals and not in the public record.",
    ))
}

fn newest(snapshot: &Snapshot) -> Markup {
    let all = lines(snapshot, NEWEST);
    all.then(Markup::tag("p", &[], Markup::link("/windows", "All windows that were read")))
}

/// A table of the newest windows, the newest first.
fn lines(snapshot: &Snapshot, most: usize) -> Markup {
    let open = snapshot.open.iter().rev().filter(|view| !snapshot.finished.contains_key(&view.window));
    let rows: Vec<Vec<Cell>> = open.chain(snapshot.finished.values().rev()).take(most).map(|view| line(view)).collect();
    if rows.is_empty() {
        return note("No window has been read yet.");
    }
    let heads =
        ["Window", "Merged", "Loss before", "Loss after", "Tokens", "Tokens/s", "Length", "Sealed", "In sync", "State"];
    table("Windows, the newest first", &heads, rows)
}

fn line(view: &WindowRecord) -> Vec<Cell> {
    let (in_sync, reports) = view.in_sync();
    let merged = match (view.stage, view.is_null, &view.null_reason) {
        (Stage::Training, ..) => Cell::text("being trained"),
        (_, true, reason) => {
            let reason = reason.as_deref().unwrap_or_default();
            Cell::of(Markup::tag("span", &[("class", &"null")], Markup::text(format!("null: {reason}"))))
        }
        _ if view.selected.is_empty() => Cell::text("being judged"),
        _ => Cell::of(uid_links(&view.selected)),
    };
    let state = view.agreed.as_ref().map_or(Markup::text(UNKNOWN), |agreed| hash(&agreed.state, None));
    let sync = if reports == 0 { UNKNOWN.to_owned() } else { format!("{in_sync}/{reports}") };
    vec![
        Cell::of(window_link(view.window)),
        merged,
        Cell::number(or_unknown(view.loss_before, words::loss), view.loss_before),
        Cell::number(or_unknown(view.loss_after, words::loss), view.loss_after),
        Cell::number(or_unknown(view.tokens, count), view.tokens.map(|tokens| tokens as f64)),
        Cell::number(or_unknown(view.tokens_per_second(), |speed| count(speed as u64)), view.tokens_per_second()),
        Cell::number(or_unknown(view.seconds, words::seconds), view.seconds),
        Cell::number(words::size(view.sealed_bytes), Some(view.sealed_bytes as f64)),
        Cell::number(sync, Some(in_sync as f64)),
        Cell::of(state),
    ]
}

fn nulls(totals: &RunTotals) -> Markup {
    if totals.windows == 0 {
        return note("No window has been read yet.");
    }
    if totals.null_reasons.is_empty() {
        return note("Something was merged in every window that was read.");
    }
    let row = |(reason, times): &(String, usize)| vec![Cell::text(reason), Cell::number(times, Some(*times as f64))];
    let rows = totals.null_reasons.iter().map(row).collect();
    let meaning = "A null window leaves the model as it is: what the miners learned waits for the next one.";
    table("Why nothing was merged", &["Reason", "Windows"], rows).then(note(meaning))
}

fn about(facts: &RunFacts, snapshot: &Snapshot) -> Markup {
    let block = or_unknown(snapshot.block_time_ms, |time| words::seconds(time as f64 / 1e3));
    let rate = match facts.audit_rate_per_mille {
        0 => "off".to_owned(),
        rate => words::percent(f64::from(rate) / 1e3),
    };
    let rows = vec![
        ("Run", super::parts::full_hash(&facts.run, None)),
        ("Name", Markup::text(if facts.name.is_empty() { UNKNOWN } else { &facts.name })),
        ("Subnet", Markup::text(facts.netuid)),
        ("Parameters", Markup::text(count(facts.parameters))),
        ("Window", Markup::text(format!("{} blocks of {block}", facts.blocks_per_window))),
        ("Objects are kept for", Markup::text(format!("{} windows", facts.retention_windows))),
        ("Checkpoint every", Markup::text(format!("{} windows", facts.checkpoint_windows))),
        ("Payloads audited", Markup::text(rate)),
        ("First state", super::parts::full_hash(&facts.first_state, None)),
    ];
    fact_list(rows)
}

/// All windows that were read.
pub(crate) fn windows(snapshot: &Snapshot) -> Page {
    let body = Markup::with_text("h1", "Windows").then(trouble(snapshot)).then(section(
        "windows",
        "Windows that were read",
        lines(snapshot, usize::MAX),
    ));
    Page::new("Windows", "/windows", body)
}
