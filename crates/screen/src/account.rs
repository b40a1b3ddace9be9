//! What happened to an account.

use crate::table::{Paint, table};
use templar_base::PublicKey;
use templar_chain::access::AccessEvent;
use templar_chain::governance::GovernanceEvent;
use templar_chain::{Event, EventRecord};

/// The events of an account, a line each.
pub fn history(paint: Paint, own: &PublicKey, events: &[EventRecord]) -> String {
    if events.is_empty() {
        return format!("nothing happened to {own} in the blocks that the ledger keeps");
    }
    let rows: Vec<_> = events.iter().map(|record| row(own, record)).collect();
    format!("{own}\n{}", table(paint, Some(&["block", "what", "amount", "with"]), &rows))
}

fn row(own: &PublicKey, record: &EventRecord) -> Vec<String> {
    let [what, amount, with] = words(own, &record.event);
    vec![record.block.to_string(), what, amount, with]
}

/// What happened, how much, and who was the other side.
fn words(own: &PublicKey, event: &Event) -> [String; 3] {
    let line = |what: &str, amount: String, with: String| [what.to_owned(), amount, with];
    match event {
        Event::Transferred { from, to, amount } if from == own => {
            line("sent", format!("-{amount} TAO"), format!("to {to}"))
        }
        Event::Transferred { from, amount, .. } => line("received", format!("+{amount} TAO"), format!("from {from}")),
        Event::Registered { uid, hotkey, burned, replaced, .. } => match replaced {
            Some(key) if key == own => line("lost a slot", String::new(), format!("slot {uid} to {hotkey}")),
            _ => line("registered", format!("-{burned} TAO"), format!("slot {uid} for {hotkey}")),
        },
        Event::StakeAdded { hotkey, paid, alpha, .. } => {
            line("bought stake", format!("-{paid} TAO"), format!("{alpha} alpha behind {hotkey}"))
        }
        Event::StakeRemoved { hotkey, alpha, received, .. } => {
            line("sold stake", format!("+{received} TAO"), format!("{alpha} alpha behind {hotkey}"))
        }
        Event::RootStakeAdded { hotkey, amount, .. } => {
            line("staked on the root", format!("-{amount} TAO"), format!("behind {hotkey}"))
        }
        Event::RootStakeRemoved { hotkey, amount, .. } => {
            line("took from the root", format!("+{amount} TAO"), format!("behind {hotkey}"))
        }
        Event::StakeMoved { from, to, amount, .. } => {
            line("moved stake", format!("{amount}"), format!("from {} to {}", from.short(), to.short()))
        }
        Event::TakeSet { take, .. } => {
            line("set its take", format!("{:.2} %", f64::from(*take) / 655.35), String::new())
        }
        Event::Emitted { uid, incentive, dividends, .. } => {
            let sum = incentive.saturating_add(*dividends);
            line("was paid", format!("+{sum} alpha"), format!("slot {uid}: mining {incentive}, judging {dividends}"))
        }
        Event::Governance(event) => governance(event),
        Event::Access(event) => access(event),
        _ => line("took part in", String::new(), String::new()),
    }
}

fn governance(event: &GovernanceEvent) -> [String; 3] {
    match event {
        GovernanceEvent::Proposed { proposal, action, burned, .. } => {
            [format!("proposed {proposal}"), format!("-{burned} TAO"), action.to_string()]
        }
        GovernanceEvent::Voted { proposal, ballot, weight, .. } => {
            [format!("voted on {proposal}"), format!("{weight} alpha"), format!("{ballot:?}").to_lowercase()]
        }
        GovernanceEvent::Decided { proposal, action, .. } => {
            [format!("proposal {proposal} decided"), String::new(), action.to_string()]
        }
    }
}

fn access(event: &AccessEvent) -> [String; 3] {
    match event {
        AccessEvent::Opened { gateway, amount, .. } => {
            ["prepaid".to_owned(), format!("-{amount} alpha"), format!("at gateway {gateway}")]
        }
        AccessEvent::Settled { gateway, charge, .. } => {
            ["was charged".to_owned(), format!("{} alpha", charge.charged), format!("by gateway {gateway}")]
        }
        AccessEvent::Closing { gateway, at, .. } => {
            ["closes its account".to_owned(), String::new(), format!("at gateway {gateway}, block {at}")]
        }
        AccessEvent::Closed { gateway, refunded, .. } => {
            ["closed its account".to_owned(), format!("+{refunded} alpha"), format!("at gateway {gateway}")]
        }
        AccessEvent::Shared { amount } => ["shared revenue".to_owned(), format!("{amount} alpha"), String::new()],
    }
}
