//! What can be checked, and how.

use super::parts::{Cell, Page, key, note, section, table, trouble, uid_link, window_link};
use super::words;
use crate::markup::Markup;
use crate::state::{EvidenceItem, RunFacts, Snapshot};

/// Audits, and the commands that make everything again.
pub(crate) fn evidence(facts: &RunFacts, snapshot: &Snapshot) -> Page {
    let body = Markup::with_text("h1", "Evidence")
        .then(trouble(snapshot))
        .then(section("audits", "Audits by replay", audits(facts, snapshot)))
        .then(section("again", "Recompute this", again(snapshot)));
    Page::new("Evidence", "/evidence", body)
}

fn audits(facts: &RunFacts, snapshot: &Snapshot) -> Markup {
    if facts.audit_rate_per_mille == 0 {
        return note("The genesis document turns audits off: no payload of this run is replayed.");
    }
    let own = &snapshot.evidence;
    let Some(from) = own.from else { return note("The auditors' buckets have not been looked through yet.") };
    let rate = words::percent(f64::from(facts.audit_rate_per_mille) / 1e3);
    let mut text = format!(
        "Of the payloads {rate} are drawn and trained again by two validators. Looked through for evidence: the \
         validators' buckets from window {from} on. An auditor that finds nothing wrong publishes nothing."
    );
    if own.silent > 0 {
        text += &format!(" {} buckets did not answer.", own.silent);
    }
    if own.items.is_empty() {
        return note(&text).then(note("No evidence of fraud was published."));
    }
    let row = |item: &EvidenceItem| {
        let name = format!("evidence.{}.{}", item.window, item.uid);
        let command = format!("templar audit verify {name} --genesis genesis.json --corpus corpus");
        vec![
            Cell::of(window_link(item.window)),
            Cell::of(uid_link(item.uid)),
            Cell::of(key(&item.auditor)),
            Cell::number(words::size(item.bytes), Some(item.bytes as f64)),
            Cell::of(Markup::with_text("code", &item.key)),
            Cell::of(Markup::with_text("code", command)),
        ]
    };
    let heads = ["Window", "uid", "Auditor", "Size", "Object in its bucket", "Verify by"];
    note(&text).then(table("Evidence that was published", &heads, own.items.iter().map(row).collect())).then(note(
        "It is the auditor's word until it is verified: the command does the one step that the evidence is about.",
    ))
}

fn again(snapshot: &Snapshot) -> Markup {
    let newest = snapshot.finished.values().next_back();
    let window = newest.map_or("WINDOW".to_owned(), |view| view.window.to_string());
    let uid = newest.and_then(|view| view.miners.first()).map_or("UID".to_owned(), |miner| miner.uid.to_string());
    let row = |(command, what): (String, &str)| vec![Cell::of(Markup::with_text("code", command)), Cell::text(what)];
    let rows = [
        (
            format!("templar explain {window} {uid} --recompute"),
            "a miner's standing and rating from the votes, compared with what most of the stake reported",
        ),
        (
            format!("templar ledger explain --uid {uid}"),
            "every term of a slot's pay, compared with what the ledger paid",
        ),
        ("templar ledger follow".to_owned(), "all blocks of the ledger replayed, and their state roots compared"),
        (
            "templar checkpoint fetch --out trained".to_owned(),
            "the model that most of the stake agrees on, checked against its state root",
        ),
        (
            format!("templar checkpoint verify trained --window {window}"),
            "the state root of a model folder, compared with what most of the stake applied",
        ),
    ];
    let rows = rows.into_iter().map(row).collect();
    let needs =
        note("With --genesis FILE and --ledger URL for a network that is not on this machine. No key is needed.");
    table("Commands that make everything again", &["Command", "What it checks"], rows).then(needs)
}
