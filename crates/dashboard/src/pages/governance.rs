//! What the token's holders decide.

use super::parts::{Cell, Page, facts, key, note, section, table, trouble};
use super::words::{self, UNKNOWN};
use crate::markup::Markup;
use crate::state::{GovernanceView, ProposalFacts, Snapshot};
use templar_base::{Alpha, PublicKey};
use templar_chain::governance::{Ballot, Status};

/// Proposals and settings.
pub(crate) fn governance(snapshot: &Snapshot) -> Page {
    let mut body = Markup::with_text("h1", "Governance").then(trouble(snapshot));
    match &snapshot.governance {
        None => body.push(section("proposals", "Proposals", note("The ledger has not shown any votes (yet)."))),
        Some(own) => {
            body.push(section("proposals", "Proposals", proposals(own)));
            body.push(section("settings", "Settings that were adopted", settings(own)));
        }
    }
    Page::new("Governance", "/governance", body)
}

fn proposals(own: &GovernanceView) -> Markup {
    if own.proposals.is_empty() {
        return note("No proposal was made yet; `templar governance propose` makes the first.");
    }
    own.proposals.iter().map(proposal).collect()
}

fn proposal(own: &ProposalFacts) -> Markup {
    let (proposal, outcome) = (&own.view.proposal, own.view.outcome);
    let title = if proposal.title.is_empty() { "without a title" } else { &proposal.title };
    let heading = Markup::with_text("h3", format!("{}: {title}", proposal.id));
    let standing = match proposal.status {
        Status::Open => {
            format!("open until block {}; so far: {}", proposal.closes_at, words::status(outcome))
        }
        decided => format!("{}, decided at block {}", words::status(decided), proposal.closes_at),
    };
    let tally = |amount: Alpha| {
        Markup::text(format!("{} ({} α)", words::part(amount, proposal.electorate), words::alpha(amount)))
    };
    let rows = vec![
        ("Would do", Markup::text(&own.action_text)),
        ("Status", Markup::text(standing)),
        ("Yes", tally(proposal.yes)),
        ("No", tally(proposal.no)),
        ("Abstain", tally(proposal.abstain)),
        ("All stake of the snapshot", Markup::text(format!("{} α", words::alpha(proposal.electorate)))),
        ("Stakes of block", Markup::text(proposal.snapshot_at)),
        ("Made by", key(&proposal.proposer)),
    ];
    Markup::tag("article", &[], heading.then(facts(rows)).then(votes(own)))
}

fn votes(own: &ProposalFacts) -> Markup {
    if own.view.votes.is_empty() {
        return note("No votes yet.");
    }
    let row = |(voter, ballot, weight): &(PublicKey, Ballot, Alpha)| {
        let ballot = match ballot {
            Ballot::Yes => "yes",
            Ballot::No => "no",
            Ballot::Abstain => "abstain",
        };
        let weight_text = words::alpha(*weight);
        vec![Cell::of(key(voter)), Cell::text(ballot), Cell::number(weight_text, Some(weight.as_rao() as f64))]
    };
    let rows: Vec<Vec<Cell>> = own.view.votes.iter().map(row).collect();
    let caption = format!("Votes on proposal {}, by key; {} at most", own.view.proposal.id, templar_chain::MAX_ENTRIES);
    let summary = Markup::with_text("summary", format!("{} votes", rows.len()));
    Markup::tag("details", &[], summary.then(table(&caption, &["Key", "Vote", "Weight, α"], rows)))
}

fn settings(own: &GovernanceView) -> Markup {
    if own.settings.is_empty() {
        return note("No setting was changed: the run follows its genesis document.");
    }
    let row = |own: &crate::state::SettingFacts| {
        vec![
            Cell::number(own.change.decided_at, None),
            Cell::text(if own.text.is_empty() { UNKNOWN } else { &own.text }),
        ]
    };
    let rows = own.settings.iter().map(row).collect();
    let rule = note("A setting holds from the first window that starts after the block that decided on it.");
    table("Settings, in the order of their adoption", &["Decided at block", "Setting"], rows).then(rule)
}
