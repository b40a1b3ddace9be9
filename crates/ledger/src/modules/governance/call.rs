//! Carries out calls to governance, and what was adopted.

use crate::state::{Escrow, State};
use templar_base::{Alpha, PublicKey};
use templar_chain::governance::{Action, GovernanceCall, GovernanceEvent, GovernanceRefusal, Status};
use templar_chain::{Event, Refusal};

/// Carries out a call of `signer`, or refuses it without a trace.
pub(crate) fn apply(state: &mut State, signer: &PublicKey, call: &GovernanceCall) -> Result<Event, Refusal> {
    let profile = state.profile.clone();
    let event = match call {
        GovernanceCall::Propose { title, action } => {
            let (cost, available) = (profile.governance.proposal_cost, state.account(signer).balance);
            if available < cost {
                return Err(Refusal::InsufficientBalance { needed: cost, available });
            }
            let proposed = (title.as_str(), action);
            let own = state.lasting(signer, profile.governance.lasting_epochs);
            state.governance.admit(&profile.governance, (signer, own), proposed)?;
            // Only what is admitted, and paid for, is worth a walk through all holders.
            let epochs = profile.governance.lasting_epochs;
            let lasting = |holder: &PublicKey| (*holder, state.lasting(holder, epochs));
            let stakes: Vec<(PublicKey, Alpha)> = state.positions_of.keys().map(lasting).collect();
            let now = state.block;
            let proposal = state.governance.propose(&profile.governance, now, signer, proposed, stakes.into_iter());
            state.debit(signer, cost, |needed, available| Refusal::InsufficientBalance { needed, available })?;
            state.set_totals(|totals| totals.burned = totals.burned.saturating_add(cost));
            GovernanceEvent::Proposed { proposal, proposer: *signer, action: action.clone(), burned: cost }
        }
        GovernanceCall::Vote { proposal, ballot } => {
            let weight = state.governance.vote(*proposal, signer, *ballot)?;
            GovernanceEvent::Voted { proposal: *proposal, voter: *signer, ballot: *ballot, weight }
        }
    };
    Ok(Event::Governance(event))
}

/// That `holder` keeps the stake that it has voted with, when `amount` of it goes.
pub(crate) fn check_unlocked(state: &State, holder: &PublicKey, amount: Alpha) -> Result<(), Refusal> {
    let Some((id, locked, until)) = state.governance.locked(holder) else { return Ok(()) };
    let left = state.held(holder).saturating_sub(amount);
    if left >= locked {
        return Ok(());
    }
    Err(GovernanceRefusal::StakeLocked { id, locked, left, until }.into())
}

/// Before a block's calls: decides what is due, and carries out what was adopted.
pub(crate) fn begin_block(state: &mut State, events: &mut Vec<Event>) {
    let profile = state.profile.clone();
    for decided in state.governance.close_due(&profile.governance, state.block) {
        let mut status = decided.status;
        if status == Status::Adopted && enact(state, &decided.action).is_err() {
            status = Status::Failed;
            state.governance.fail(decided.id);
        }
        events.push(Event::Governance(GovernanceEvent::Decided {
            proposal: decided.id,
            status,
            action: decided.action,
        }));
    }
}

/// Run settings are enacted by being listed; they hold from the next window on.
fn enact(state: &mut State, action: &Action) -> Result<(), Refusal> {
    match action {
        Action::Setting(_) => {}
        Action::Revenue { burned_per_mille, treasury_per_mille } => {
            state.access.set_split(*burned_per_mille, *treasury_per_mille);
        }
        Action::Price { service, per_thousand } => state.access.set_price(*service, *per_thousand),
        Action::Spend { to, hotkey, amount } => {
            if state.owner_of(hotkey).is_none() {
                return Err(Refusal::HotKeyAccountNotExists { hotkey: *hotkey });
            }
            state.token_out_of_escrow((hotkey, to), Escrow::Treasury, *amount)?;
        }
    }
    Ok(())
}
