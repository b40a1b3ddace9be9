//! Prepaid access: terms and accounts.

use crate::table::{Paint, facts_table, table};
use templar_base::PublicKey;
use templar_chain::access::{AccessAccountView, AccessOverview, AccessTerms};

/// The terms of prepaid access, and the use of its revenue so far.
pub fn terms(overview: &AccessOverview) -> String {
    let AccessOverview { terms, totals, treasury } = overview;
    let AccessTerms { burned_per_mille, treasury_per_mille, closing_blocks, minimum_deposit, .. } = terms;
    let nodes = 1_000u16.saturating_sub(burned_per_mille.saturating_add(*treasury_per_mille));
    let mut rows = vec![
        ("a thousand tokens of text", format!("{} alpha", terms.generation_per_thousand)),
        ("a thousand seconds of a device", format!("{} alpha", terms.compute_per_thousand)),
        ("least deposit", format!("{minimum_deposit} alpha")),
        ("refund", format!("{closing_blocks} blocks after it is asked for")),
        (
            "revenue",
            format!("burned {burned_per_mille}, treasury {treasury_per_mille}, miners and validators {nodes} of 1000"),
        ),
        ("charged so far", format!("{} alpha, of which {} are burned", totals.revenue, totals.burned)),
        ("prepaid now", format!("{} alpha", totals.prepaid)),
        ("treasury", format!("{treasury} alpha")),
    ];
    for tier in &terms.tiers {
        let units = tier.units_per_epoch;
        let what = format!(
            "{} tokens and {} seconds an epoch, from {} alpha of stake on",
            units.generation, units.compute, tier.stake
        );
        rows.push(("with stake", what));
    }
    facts_table(&rows)
}

/// An account at a gateway.
pub fn account(view: &AccessAccountView) -> String {
    let account = &view.account;
    let mut rows = vec![
        ("gateway", view.gateway.to_string()),
        ("key", view.key.to_string()),
        ("paid by", account.payer.to_string()),
        ("left", format!("{} alpha", account.balance)),
        ("charged", format!("{} alpha", account.charged)),
        ("served", format!("{} tokens, {} seconds", account.settled.generation, account.settled.compute)),
        (
            "with stake",
            format!("{} tokens, {} seconds until the epoch's end", view.allowance.generation, view.allowance.compute),
        ),
    ];
    if let Some(at) = account.closes_at {
        rows.push(("closes", format!("at block {at}")));
    }
    facts_table(&rows)
}

/// The accounts at a gateway, a line each.
pub fn accounts(paint: Paint, gateway: &PublicKey, accounts: &[AccessAccountView]) -> String {
    if accounts.is_empty() {
        return format!("no account is prepaid at {gateway}");
    }
    let row = |view: &AccessAccountView| {
        let closes = view.account.closes_at.map_or("-".to_owned(), |at| at.to_string());
        vec![view.key.to_string(), view.account.balance.to_string(), view.account.charged.to_string(), closes]
    };
    let rows: Vec<_> = accounts.iter().map(row).collect();
    table(paint, Some(&["key", "balance", "charged", "closes at"]), &rows)
}
