//! Carries out calls to access.

use crate::state::{Escrow, State};
use templar_base::{Alpha, PublicKey};
use templar_chain::access::{AccessAccount, AccessCall, AccessEvent, AccountKey, MeteringRecord};
use templar_chain::{Event, Refusal};

/// Carries out a call of `signer`, or refuses it without a trace.
pub(crate) fn apply(
    state: &mut State,
    signer: &PublicKey,
    call: &AccessCall,
    events: &mut Vec<Event>,
) -> Result<(), Refusal> {
    match call {
        AccessCall::Open { gateway, key, hotkey, amount } => {
            let (account, payer) = ((*gateway, *key), (signer, hotkey));
            state.access.check_open(&account, payer, *amount)?;
            state.token_into_escrow((hotkey, signer), Escrow::Access, *amount)?;
            state.access.open(account, payer, *amount)?;
            let (gateway, key, amount) = (*gateway, *key, *amount);
            events.push(Event::Access(AccessEvent::Opened { gateway, key, payer: *signer, amount }));
        }
        AccessCall::Settle { records } => settle(state, records, events)?,
        AccessCall::Close { gateway, key } => {
            let account = (*gateway, *key);
            let closed = state.access.close(state.block, account, signer)?;
            match closed {
                Some(closed) => refund(state, account, &closed, events)?,
                None => {
                    let at = state.access.account(&account).and_then(|account| account.closes_at);
                    let (gateway, key, at) = (*gateway, *key, at.unwrap_or(state.block));
                    events.push(Event::Access(AccessEvent::Closing { gateway, key, at }));
                }
            }
        }
    }
    Ok(())
}

fn settle(state: &mut State, records: &[MeteringRecord], events: &mut Vec<Event>) -> Result<(), Refusal> {
    let genesis = state.genesis_hash();
    // Taken out and put back, so that it can look at the stakes beside it.
    let mut access = std::mem::take(&mut state.access);
    let settled = access.settle_records(&genesis, records, &|hotkey: &PublicKey, payer: &PublicKey| {
        state.covering_stake(hotkey, payer)
    });
    state.access = access;
    for ((gateway, key), charge) in settled? {
        // The escrow holds every account's balance, and a charge is at most that.
        state.burn_token(Escrow::Access, charge.burned)?;
        state.token_between_escrows(Escrow::Access, Escrow::Treasury, charge.treasury)?;
        let payer = state.access.account(&(gateway, key)).map_or(key, |account| account.payer);
        events.push(Event::Access(AccessEvent::Settled { gateway, key, payer, charge }));
    }
    Ok(())
}

fn refund(
    state: &mut State,
    (gateway, key): AccountKey,
    closed: &AccessAccount,
    events: &mut Vec<Event>,
) -> Result<(), Refusal> {
    let (payer, refunded) = (closed.payer, closed.balance);
    state.token_out_of_escrow((&closed.hotkey, &payer), Escrow::Access, refunded)?;
    events.push(Event::Access(AccessEvent::Closed { gateway, key, payer, refunded }));
    Ok(())
}

/// Before a block's calls: closes the accounts whose time has come.
pub(crate) fn begin_block(state: &mut State, events: &mut Vec<Event>) {
    for (key, closed) in state.access.close_due(state.block) {
        // The escrow holds every account's balance, so there is nothing to refuse.
        let refunded = refund(state, key, &closed, events);
        debug_assert!(refunded.is_ok(), "an account held more than the escrow: {refunded:?}");
    }
}

/// At an epoch's end: the revenue goes to the miners and validators of the epoch.
pub(crate) fn end_epoch(state: &mut State, events: &mut Vec<Event>) {
    let rewards = state.access.end_epoch();
    if rewards == Alpha::ZERO {
        return;
    }
    let left = state.token_to_nodes(Escrow::Access, rewards);
    if left != Alpha::ZERO {
        state.access.keep_rewards(left);
    }
    if left != rewards {
        events.push(Event::Access(AccessEvent::Shared { amount: rewards.minus_within(left) }));
    }
}
