//! Proposals, votes and adopted settings.

use crate::table::{Paint, table};
use templar_base::{Alpha, SettingChange};
use templar_chain::governance::{Proposal, ProposalView, Status};

/// Proposals, a line each.
pub fn proposals(paint: Paint, proposals: &[Proposal]) -> String {
    if proposals.is_empty() {
        return "no proposals yet: make the first with `templar governance propose`".to_owned();
    }
    let row = |proposal: &Proposal| {
        vec![
            proposal.id.to_string(),
            status(proposal.status).to_owned(),
            percent(proposal.yes, proposal.electorate),
            percent(proposal.no, proposal.electorate),
            proposal.closes_at.to_string(),
            proposal.action.to_string(),
            plain(&proposal.title),
        ]
    };
    let rows: Vec<_> = proposals.iter().map(row).collect();
    table(paint, Some(&["id", "status", "yes", "no", "closes", "action", "title"]), &rows)
}

/// A proposal with its tally and every vote.
pub fn proposal(paint: Paint, view: &ProposalView) -> String {
    let proposal = &view.proposal;
    let now = match (proposal.status, view.outcome) {
        (Status::Open, outcome) => {
            format!("open until block {}; result so far: {}", proposal.closes_at, status(outcome))
        }
        (decided, _) => format!("{}, decided at block {}", status(decided), proposal.closes_at),
    };
    let part = |name: &str, amount: Alpha| {
        vec![name.to_owned(), format!("{amount} alpha"), percent(amount, proposal.electorate)]
    };
    let tally = [
        part("yes", proposal.yes),
        part("no", proposal.no),
        part("abstain", proposal.abstain),
        part("electorate", proposal.electorate),
    ];
    let title = paint.bold(&format!("proposal {}: {}", proposal.id, proposal.action));
    let votes: Vec<_> = view
        .votes
        .iter()
        .map(|(key, ballot, weight)| {
            vec![key.to_string(), format!("{ballot:?}").to_lowercase(), format!("{weight} alpha")]
        })
        .collect();
    let text = format!(
        "{title}\n{}\nby {}, stakes of block {}\n{now}\n",
        plain(&proposal.title),
        proposal.proposer,
        proposal.snapshot_at
    );
    let votes = if votes.is_empty() {
        "no votes yet".to_owned()
    } else {
        table(paint, Some(&["key", "vote", "weight"]), &votes)
    };
    format!("{text}{}\n{votes}", table(paint, None, &tally))
}

/// The settings of a run that were adopted, in their order.
pub fn settings(paint: Paint, changes: &[SettingChange]) -> String {
    if changes.is_empty() {
        return "no setting was changed: the run follows its genesis".to_owned();
    }
    let row = |change: &SettingChange| vec![change.decided_at.to_string(), change.setting.to_string()];
    let rows: Vec<_> = changes.iter().map(row).collect();
    table(paint, Some(&["decided at block", "setting"]), &rows)
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Open => "open",
        Status::Adopted => "adopted",
        Status::NoQuorum => "no quorum",
        Status::NoMajority => "no majority",
        Status::Failed => "failed",
    }
}

fn percent(part: Alpha, whole: Alpha) -> String {
    format!("{:.1} %", part.as_rao() as f64 * 100.0 / whole.as_rao().max(1) as f64)
}

/// Foreign text for a terminal: one line, no control characters.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
