//! Plain stake: one TAO for one TAO, no pool, no share price. Replaced by the token pool.

use crate::state::State;
use crate::{Event, Refusal};
use templar_base::{PublicKey, Rao};

/// Puts `amount` of `coldkey`'s free balance behind `hotkey`.
pub(crate) fn add(state: &mut State, coldkey: &PublicKey, hotkey: &PublicKey, amount: Rao) -> Result<Event, Refusal> {
    if state.owner_of(hotkey).is_none() {
        return Err(Refusal::HotKeyAccountNotExists { hotkey: *hotkey });
    }
    let minimum = state.profile.minimum_stake;
    if amount < minimum {
        return Err(Refusal::AmountTooLow { amount, minimum });
    }
    state.debit(coldkey, amount, |needed, available| Refusal::NotEnoughBalanceToStake { needed, available })?;
    let staked = state.stake(hotkey, coldkey);
    state.set_stake(hotkey, coldkey, Rao(staked.0.saturating_add(amount.0)));
    Ok(Event::StakeAdded { hotkey: *hotkey, coldkey: *coldkey, amount })
}

/// Takes `amount` of `coldkey`'s stake back from `hotkey`. What remains is nothing or the minimum at least.
pub(crate) fn remove(
    state: &mut State,
    coldkey: &PublicKey,
    hotkey: &PublicKey,
    amount: Rao,
) -> Result<Event, Refusal> {
    if state.owner_of(hotkey).is_none() {
        return Err(Refusal::HotKeyAccountNotExists { hotkey: *hotkey });
    }
    let available = state.stake(hotkey, coldkey);
    let minimum = state.profile.minimum_stake;
    let left =
        available.checked_sub(amount).map_err(|_| Refusal::NotEnoughStakeToWithdraw { needed: amount, available })?;
    if amount == Rao::ZERO || (left != Rao::ZERO && left < minimum) {
        return Err(Refusal::AmountTooLow { amount: left.min(amount), minimum });
    }
    state.set_stake(hotkey, coldkey, left);
    state.credit(coldkey, amount);
    Ok(Event::StakeRemoved { hotkey: *hotkey, coldkey: *coldkey, amount })
}
