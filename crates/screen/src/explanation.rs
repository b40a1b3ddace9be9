//! The terms of a slot's pay.

use crate::table::{Paint, facts_table, table};
use templar_chain::{Explanation, MinerTerm, ValidatorTerm};

/// A slot's pay with every term, and the recomputed amounts beside the paid ones.
pub fn text(paint: Paint, of: &Explanation) -> String {
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let title = paint.bold(&format!("slot {} in the epoch that ended with block {}", of.uid, of.block));
    let (input, terms, payout) = (&of.input, &of.terms, &of.payout);
    let facts = [
        ("hotkey", payout.hotkey.to_string()),
        ("stake counts for", format!("{} alpha", input.stake)),
        ("permit before, after", format!("{}, {}", yes(input.permit), yes(terms.permit))),
        ("active", format!("{} (last weights at block {})", yes(terms.active), input.last_update)),
        ("S share of all stake", terms.stake_share.clone()),
        ("A share of active stake", terms.active_stake.clone()),
        ("C consensus weight", terms.consensus.clone()),
        ("T validator trust", terms.validator_trust.clone()),
        ("R rank", terms.rank.clone()),
        ("I incentive", terms.incentive.clone()),
        ("D dividends", terms.dividends.clone()),
        ("shared out", format!("{} alpha, after {} for the owner", of.emission, of.owner_cut)),
        ("paid as miner", format!("{} alpha{}", payout.incentive, if payout.is_burned { ", burned" } else { "" })),
        ("paid as validator", format!("{} alpha", payout.dividends)),
        ("  its own take", format!("{} alpha", payout.take)),
        ("  to alpha stakers", format!("{} alpha", payout.to_alpha_stakers)),
        ("  to root stakers", format!("{} alpha, sold for {} TAO", payout.to_root_stakers, payout.root_tao)),
    ];
    let mut pieces = vec![format!("{title}\n{}", facts_table(&facts))];
    pieces.extend(section(
        paint,
        "R, by validator",
        &["validator", "A", "W", "min(W, C)", "A · min(W, C)"],
        &miner_rows(of),
    ));
    pieces.extend(section(paint, "D, by miner", &["miner", "share of bonds", "I", "product"], &validator_rows(of)));
    let checks: Vec<Vec<String>> = (of.checks.iter())
        .map(|check| {
            let mark = if check.recomputed == check.paid { paint.green("equal") } else { paint.red("DIFFERENT") };
            vec![check.what.clone(), check.recomputed.to_string(), check.paid.to_string(), mark]
        })
        .collect();
    pieces.extend(section(paint, "recomputed and paid, in alpha", &["amount", "recomputed", "paid", ""], &checks));
    pieces.join("\n\n")
}

fn section(paint: Paint, title: &str, head: &[&str], rows: &[Vec<String>]) -> Option<String> {
    (!rows.is_empty()).then(|| format!("{}\n{}", paint.bold(title), table(paint, Some(head), rows)))
}

fn miner_rows(of: &Explanation) -> Vec<Vec<String>> {
    let row = |term: &MinerTerm| {
        let (active, weight) = (term.active_stake.clone(), term.weight.clone());
        vec![term.validator.to_string(), active, weight, term.clipped.clone(), term.product.clone()]
    };
    of.as_miner.iter().map(row).collect()
}

fn validator_rows(of: &Explanation) -> Vec<Vec<String>> {
    let row = |term: &ValidatorTerm| {
        vec![term.miner.to_string(), term.bond_share.clone(), term.incentive.clone(), term.product.clone()]
    };
    of.as_validator.iter().map(row).collect()
}
