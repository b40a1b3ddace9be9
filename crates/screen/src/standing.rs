//! Why a miner stands where it stands, as a page of text.

use crate::table::Paint;
use templar_base::{Mark, Share};
use templar_gauntlet::Rating;
use templar_record::{Ballot, Explanation, HeldFact, PayFact, Recomputed, VerdictFact};

/// The explanation in words: what was committed, what each validator found, what is agreed, and what that pays.
pub fn text(explained: &Explanation, paint: Paint) -> String {
    let Explanation { window, uid, .. } = explained;
    let hotkey = explained.hotkey.map_or("free at the window's end".to_owned(), |hotkey| hotkey.to_string());
    let mut lines = vec![paint.bold(&format!("window {window}, uid {uid}")), format!("  {hotkey}")];
    lines.push(match &explained.sealed {
        Some(own) => format!(
            "  committed {} bytes in block {}, in time before block {}: {}",
            own.bytes, own.block, own.end, own.digest
        ),
        None => "  committed nothing in time".to_owned(),
    });
    lines.extend(explained.held.as_ref().map(held));
    lines.push(paint.bold("votes"));
    lines.extend(explained.ballots.iter().map(ballot));
    if explained.ballots.is_empty() {
        lines.push("  nobody voted".to_owned());
    }
    if explained.counts_all_permits {
        lines.push(
            "  nobody has the ratings of that time any more: all permit holders are counted here, whether they had judged or not"
                .to_owned(),
        );
    }
    lines.push(paint.bold("agreed, by more than half of the electors' stake"));
    lines.push(match &explained.agreed {
        Some(own) => format!("  {}{}", mark(own.mark), share(own.share)),
        None => "  nothing on this miner: it was not judged".to_owned(),
    });
    lines.push(match explained.step {
        Some(step) => format!("  {step} of the step was taken"),
        None => "  the window is null: nobody was merged, ratings and pay stay".to_owned(),
    });
    if let Some(verdict) = &explained.verdict {
        lines.push(paint.bold("verdict"));
        lines.extend(verdict_lines(verdict));
    }
    if let Some(own) = &explained.recomputed {
        lines.push(paint.bold("recomputed from the votes"));
        lines.extend(recomputed_lines(own));
    }
    if let Some(PayFact { block, incentive, emission }) = explained.pay {
        lines.push(paint.bold("pay"));
        lines.push(format!(
            "  at block {block}: incentive {:.4}, {emission} alpha for the last epoch; `templar ledger explain` shows how",
            f64::from(incentive) / 65_535.0
        ));
    }
    lines.join("\n")
}

fn held(held: &HeldFact) -> String {
    let HeldFact { is_in_pool, holders, stake, of } = held;
    let by: Vec<String> = holders.iter().map(ToString::to_string).collect();
    let by = if by.is_empty() { String::new() } else { format!(" (validators {})", by.join(", ")) };
    match (is_in_pool, held.is_candidate()) {
        (false, _) => "  not in the window's pool, which is full".to_owned(),
        (true, true) => format!("  held by {stake} of {of} alpha in time{by}: a candidate"),
        (true, false) => {
            format!("  held by {stake} of {of} alpha in time{by}, not more than half: as if it had not come")
        }
    }
}

fn ballot(ballot: &Ballot) -> String {
    let found = match &ballot.finding {
        Some(own) => format!("{}{}{}", mark(own.mark), share(own.share), if own.is_sure { ", surely" } else { "" }),
        None => "did not see it among the candidates".to_owned(),
    };
    let right = ballot.right_votes.map_or(String::new(), |count| format!(", {count} right votes before"));
    format!("  validator {} with {} alpha{right}, block {}: {found}", ballot.validator, ballot.stake, ballot.block)
}

fn mark(mark: Mark) -> &'static str {
    match mark {
        Mark::NotAdmitted => "not admitted",
        Mark::Admitted => "admitted, not merged",
        Mark::Selected => "merged",
        Mark::Dropped => "left out by the confirmation",
        Mark::Harmful => "harmful",
        Mark::Copy => "a copy",
        Mark::Fraud => "fraud, proven by an audit",
        Mark::Silent => "silent: it owes an answer to an audit",
    }
}

fn share(share: Option<Share>) -> String {
    share.map_or(String::new(), |share| format!(", share {:.2} ± {:.2}", share.part(), share.error()))
}

fn verdict_lines(verdict: &VerdictFact) -> Vec<String> {
    let mut lines = vec![format!("  {}: {}", verdict.hash, verdict.standing)];
    if let Some(payload) = verdict.payload {
        lines.push(format!("  payload {payload}, which states {} tokens", verdict.tokens));
    }
    if let Some((mean, error)) = verdict.contribution {
        lines.push(format!("  brings {:.3} ± {:.3} mnat (φ)", 1e3 * mean, 1e3 * error));
    }
    if verdict.rating_before.is_some() || verdict.rating_after.is_some() {
        lines.push(format!("  rating {} → {}", rating(verdict.rating_before), rating(verdict.rating_after)));
    }
    lines
}

fn rating(rating: Option<Rating>) -> String {
    rating.map_or("none".to_owned(), |own| format!("{:.3} ± {:.3}", own.mean, own.variance.sqrt()))
}

fn recomputed_lines(own: &Recomputed) -> Vec<String> {
    let rank = own.rank.map_or(String::new(), |rank| format!(", rank {rank}"));
    let agrees = match own.agrees() {
        Some(true) => "which most of the stake reported too".to_owned(),
        Some(false) => format!("but most of the stake reported {}", own.agreed_root.unwrap_or_default()),
        None => "on which no majority has reported yet".to_owned(),
    };
    vec![
        format!("  from window {} on: rating {}{rank} → {}", own.from, rating(own.before), rating(own.after)),
        format!("  {}, weight {} of 65535", if own.is_paid { "paid" } else { "not paid" }, own.weight),
        format!("  root of all ratings {}, {agrees}", own.root),
    ]
}
