//! One window: when what happened, who said what, and what came of it.

use super::parts::{
    Cell, Page, facts, full_hash, hash, key, live, note, section, table, trouble, uid_link, uid_links, window_link,
};
use super::words::{self, UNKNOWN, count, or_unknown};
use crate::markup::Markup;
use crate::state::Snapshot;
use templar_base::{Alpha, Window};
use templar_record::{ElectorView, MinerView, Stage, WindowMoment, WindowRecord};

/// A window; none where it is not known.
pub(crate) fn window(snapshot: &Snapshot, window: Window) -> Option<Page> {
    let view = snapshot.window(window)?;
    let stage = match view.stage {
        Stage::Training => "is being trained",
        Stage::Judging => "is being judged",
        Stage::Finished => "is finished",
    };
    let body = Markup::with_text("h1", format!("Window {window} {stage}"))
        .then(trouble(snapshot))
        .then(live("steps", steps(snapshot, window)))
        .then(section("outcome", "Outcome", outcome(view)))
        .then(section("timeline", "Timeline", timeline(&view.timeline)))
        .then(section("votes", "Votes and reports by stake", votes(view)))
        .then(section("miners", "Miners", miners(view)))
        .then(section("again", "Recompute this", again(view)));
    Some(Page::new(format!("Window {window}"), "/windows", body))
}

/// The windows before and after, as far as they are known.
fn steps(snapshot: &Snapshot, window: Window) -> Markup {
    let known = |other: Option<Window>| other.filter(|other| snapshot.window(*other).is_some());
    let before = known(window.previous()).map(|other| {
        Markup::tag(
            "a",
            &[("href", &format!("/windows/{other}")), ("rel", &"prev")],
            Markup::text(format!("← Window {other}")),
        )
    });
    let after = known(Some(window.next())).map(|other| {
        Markup::tag(
            "a",
            &[("href", &format!("/windows/{other}")), ("rel", &"next")],
            Markup::text(format!("Window {other} →")),
        )
    });
    let inside: Markup = [before, after].into_iter().flatten().collect();
    Markup::tag("nav", &[("class", &"steps"), ("aria-label", &"Windows before and after")], inside)
}

fn outcome(view: &WindowRecord) -> Markup {
    let merged = match (&view.null_reason, view.selected.is_empty()) {
        (Some(reason), _) => Markup::text(format!("nothing: {reason}")),
        (None, true) => Markup::text("not decided yet"),
        (None, false) => uid_links(&view.selected),
    };
    let loss = |loss: Option<f64>| Markup::text(or_unknown(loss, words::loss));
    let agreed = view.agreed.as_ref();
    let state = agreed.map_or(Markup::text("no majority reported one"), |agreed| full_hash(&agreed.state, None));
    let aggregate = agreed.and_then(|agreed| Some(full_hash(&agreed.aggregate?, agreed.url.as_ref())));
    let ratings = agreed.map(|agreed| full_hash(&agreed.ratings, None));
    let verdict = match &view.verdict {
        None => Markup::text(UNKNOWN),
        Some(verdict) => match &verdict.missing {
            None => full_hash(&verdict.hash, verdict.url.as_ref()),
            Some(why) => full_hash(&verdict.hash, None).then(Markup::text(format!(" could not be read: {why}"))),
        },
    };
    let (in_sync, reports) = view.in_sync();
    facts(vec![
        ("Merged", merged),
        ("Step taken", Markup::text(or_unknown(view.step, words::step))),
        ("Loss at its start, nats per token", loss(view.loss_before)),
        ("Loss after its step", loss(view.loss_after)),
        ("Merged tokens", Markup::text(or_unknown(view.tokens, count))),
        ("Length", Markup::text(or_unknown(view.seconds, words::seconds))),
        ("Sealed payloads", Markup::text(words::size(view.sealed_bytes))),
        ("In sync", Markup::text(format!("{in_sync} of {reports} that reported"))),
        ("State root after it", state),
        ("Aggregate", aggregate.unwrap_or_else(|| Markup::text(UNKNOWN))),
        ("Root of the ratings", ratings.unwrap_or_else(|| Markup::text(UNKNOWN))),
        ("Leading verdict", verdict),
    ])
}

fn timeline(moments: &[WindowMoment]) -> Markup {
    let start = moments.first().and_then(|moment| moment.time_ms);
    let moment = |moment: &WindowMoment| {
        let since = moment.time_ms.zip(start).map(|(time, start)| time.saturating_sub(start) as f64 / 1e3);
        let class = if moment.time_ms.is_some() { "past" } else { "to-come" };
        let when = match since {
            Some(seconds) => format!("block {}, after {}", moment.block, words::seconds(seconds)),
            None => format!("block {}, to come", moment.block),
        };
        let inside = Markup::with_text("strong", moment.what).then(Markup::with_text("span", when));
        Markup::tag("li", &[("class", &class)], inside)
    };
    let list = Markup::tag("ol", &[("class", &"timeline")], moments.iter().map(moment).collect());
    let begun = start.map(|start| note(&format!("The window began {}.", words::time(start))));
    list.then(begun.unwrap_or_default())
}

fn votes(view: &WindowRecord) -> Markup {
    if view.electors.is_empty() {
        return note("Whose stake counts is known at the window's end.");
    }
    let all = Alpha::saturating_sum(view.electors.iter().map(|elector| elector.stake_rao));
    let row = |elector: &ElectorView| {
        let step = or_unknown(elector.step, |step| step.to_string());
        let code = |hash_of: Option<String>| hash_of.map_or(Markup::text(UNKNOWN), |whole| hash(&whole, None));
        vec![
            Cell::of(uid_link(elector.uid)),
            Cell::of(key(&elector.hotkey)),
            Cell::number(words::part(elector.stake_rao, all), Some(elector.stake_rao.as_rao() as f64)),
            Cell::number(or_unknown(elector.right_votes, |count| count.to_string()), None),
            Cell::number(or_unknown(elector.voted_at, |block| block.to_string()), None),
            Cell::of(uid_links(&elector.selected)),
            Cell::text(step),
            Cell::of(code(elector.verdict.map(|own| own.to_string()))),
            Cell::of(code(elector.state.map(|own| own.to_string()))),
            Cell::of(code(elector.aggregate.map(|own| own.to_string()))),
            Cell::of(code(elector.ratings.map(|own| own.to_string()))),
        ]
    };
    let heads = [
        "uid",
        "Key",
        "Stake",
        "Right votes before",
        "Voted in",
        "Would merge",
        "Step",
        "Verdict",
        "State",
        "Aggregate",
        "Ratings",
    ];
    let rows = view.electors.iter().map(row).collect();
    let rule = note(
        "Agreed is what more than half of this stake says, voting or not. A validator's verdict explains its vote and \
         decides nothing.",
    );
    let unknown = "All permit holders are counted here: the ratings before the window, which say who had judged of late, could not \
                   be read.";
    let unknown = if view.counts_all_permits { note(unknown) } else { Markup::default() };
    table("Validators, their votes and what they reported", &heads, rows).then(rule).then(unknown)
}

fn miners(view: &WindowRecord) -> Markup {
    if view.miners.is_empty() {
        return note("No miner has committed anything.");
    }
    let heads = ["uid", "Key", "Agreed", "Verdict says", "φ, mnat", "Share", "Rating", "Tokens", "Sealed", "Object"];
    let rows = view.miners.iter().map(|miner| row(view, miner)).collect();
    let what = note(
        "φ is what the payload brought, in thousandths of a nat with its standard error; the share compares it with a \
         typical payload of the window.",
    );
    table("Miners that committed something or are named in a vote", &heads, rows).then(what)
}

/// A miner's standing in words: what is agreed, or what can be said before.
pub(super) fn agreed_words(miner: &MinerView) -> String {
    match (miner.mark, miner.is_malformed, &miner.sealed) {
        (Some(mark), ..) => words::mark(mark).to_owned(),
        (None, true, _) => "malformed commitment".to_owned(),
        (None, false, Some(_)) => "no candidate".to_owned(),
        (None, false, None) => UNKNOWN.to_owned(),
    }
}

fn row(view: &WindowRecord, miner: &MinerView) -> Vec<Cell> {
    let mean = |own: Option<templar_record::Measured>| own.map(|own| own.mean);
    let rating = miner.rating_after.or(miner.rating_before);
    let sealed = miner.sealed.as_ref();
    let agreed = match (view.stage, miner.sealed.is_some()) {
        (Stage::Training, true) => "sealed".to_owned(),
        _ => agreed_words(miner),
    };
    let class = if miner.is_refused { "refused" } else { "standing" };
    let standing = miner.standing.as_deref().unwrap_or(UNKNOWN);
    vec![
        Cell::of(uid_link(miner.uid)),
        Cell::of(miner.hotkey.as_ref().map_or(Markup::text(UNKNOWN), key)),
        Cell::text(agreed),
        Cell::of(Markup::tag("span", &[("class", &class)], Markup::text(standing))),
        Cell::number(or_unknown(miner.contribution, words::millinats), mean(miner.contribution)),
        Cell::number(or_unknown(miner.share, words::share), mean(miner.share)),
        Cell::number(or_unknown(rating, words::share), mean(rating)),
        Cell::number(or_unknown(miner.tokens, count), miner.tokens.map(|tokens| tokens as f64)),
        Cell::number(
            or_unknown(sealed, |own| words::size(u64::from(own.bytes))),
            sealed.map(|own| f64::from(own.bytes)),
        ),
        Cell::of(sealed.map_or(Markup::text(UNKNOWN), |own| hash(&own.digest, own.url.as_ref()))),
    ]
}

fn again(view: &WindowRecord) -> Markup {
    let uid = view.miners.first().map_or("UID".to_owned(), |miner| miner.uid.to_string());
    let command = format!("templar explain {} {uid} --recompute", view.window);
    let command = Markup::tag("pre", &[], Markup::with_text("code", command));
    let what = Markup::text(
        "Every number here follows from the ledger's votes. This makes the ratings again from them, \
                             and compares the root with what most of the stake reported; see ",
    );
    let what = what.then(Markup::link("/evidence", "evidence")).then(Markup::text(". Window "));
    let what = what.then(window_link(view.window)).then(Markup::text(" as JSON: "));
    let address = format!("/api/v1/windows/{}", view.window);
    let what = what.then(Markup::link(&address, &address)).then(Markup::text("."));
    command.then(Markup::tag("p", &[], what))
}
