//! Stake: TAO for the subnet's token through the pool, behind a hotkey; or TAO as it is, on the root.

use crate::rules::pool::Charge;
use crate::rules::s425;
use crate::state::{ROOT, State};
use templar_base::{Alpha, BlockNumber, Netuid, PublicKey, Rao};
use templar_chain::{Event, PoolError, PriceLimit, Refusal};

/// Who stakes where.
#[derive(Clone, Copy)]
pub(crate) struct Position<'a> {
    pub netuid: Netuid,
    pub hotkey: &'a PublicKey,
    pub coldkey: &'a PublicKey,
}

/// Buys stake for `tao` of the coldkey's free balance.
pub(crate) fn add(
    state: &mut State,
    position: Position<'_>,
    tao: Rao,
    limit: Option<PriceLimit>,
    events: &mut Vec<Event>,
) -> Result<(), Refusal> {
    let Position { netuid, hotkey, coldkey } = position;
    check_known(state, hotkey)?;
    let (minimum, available) = (state.profile.minimum_stake, state.account(coldkey).balance);
    if tao < minimum {
        return Err(Refusal::AmountTooLow { amount: tao, minimum });
    }
    if tao > available {
        return Err(Refusal::NotEnoughBalanceToStake { needed: tao, available });
    }
    let (hotkey_owned, coldkey_owned) = (*hotkey, *coldkey);
    if netuid == ROOT {
        state.debit(coldkey, tao, |needed, available| Refusal::NotEnoughBalanceToStake { needed, available })?;
        state.add_stake(ROOT, hotkey, coldkey, tao.as_rao());
        events.push(Event::RootStakeAdded { hotkey: hotkey_owned, coldkey: coldkey_owned, amount: tao });
        return Ok(());
    }
    let (paid, alpha) = buy(state, tao, limit, Charge::Fee, events)?;
    // The balance was compared with the whole amount, of which this is a part.
    state.debit(coldkey, paid, |needed, available| Refusal::NotEnoughBalanceToStake { needed, available })?;
    state.add_stake(netuid, hotkey, coldkey, alpha.as_rao());
    events.push(Event::StakeAdded { hotkey: hotkey_owned, coldkey: coldkey_owned, paid, alpha });
    Ok(())
}

/// Sells `amount` of a position. What remains is nothing, or worth the minimum at least.
pub(crate) fn remove(
    state: &mut State,
    position: Position<'_>,
    amount: u64,
    limit: Option<PriceLimit>,
    events: &mut Vec<Event>,
) -> Result<(), Refusal> {
    let Position { netuid, hotkey, coldkey } = position;
    check_known(state, hotkey)?;
    check_rest(state, position, amount)?;
    let (hotkey_owned, coldkey_owned) = (*hotkey, *coldkey);
    if netuid == ROOT {
        take(state, position, amount)?;
        state.credit(coldkey, Rao::from_rao(amount));
        events.push(Event::RootStakeRemoved {
            hotkey: hotkey_owned,
            coldkey: coldkey_owned,
            amount: Rao::from_rao(amount),
        });
        return Ok(());
    }
    let (alpha, received) = sell(state, Alpha::from_rao(amount), limit, Charge::Fee, events)?;
    take(state, position, alpha.as_rao())?;
    state.credit(coldkey, received);
    events.push(Event::StakeRemoved { hotkey: hotkey_owned, coldkey: coldkey_owned, alpha, received });
    Ok(())
}

/// Moves stake of a coldkey from one hotkey to another, in the same subnet and without the pool.
pub(crate) fn move_between(
    state: &mut State,
    from: Position<'_>,
    to: &PublicKey,
    amount: u64,
    events: &mut Vec<Event>,
) -> Result<(), Refusal> {
    check_known(state, from.hotkey)?;
    check_known(state, to)?;
    if from.hotkey == to {
        return Err(Refusal::SameHotkey { hotkey: *to });
    }
    check_rest(state, from, amount)?;
    take(state, from, amount)?;
    state.add_stake(from.netuid, to, from.coldkey, amount);
    let (coldkey, netuid) = (*from.coldkey, from.netuid);
    events.push(Event::StakeMoved { netuid, from: *from.hotkey, to: *to, coldkey, amount: Alpha::from_rao(amount) });
    Ok(())
}

fn take(state: &mut State, position: Position<'_>, amount: u64) -> Result<(), Refusal> {
    let Position { netuid, hotkey, coldkey } = position;
    if state.take_stake(netuid, hotkey, coldkey, amount) {
        return Ok(());
    }
    let available = Alpha::from_rao(state.staked(netuid, hotkey, coldkey));
    Err(Refusal::NotEnoughStakeToWithdraw { needed: Alpha::from_rao(amount), available })
}

/// That a position holds `amount`, and that the rest is nothing or enough.
fn check_rest(state: &State, position: Position<'_>, amount: u64) -> Result<(), Refusal> {
    let held = state.staked(position.netuid, position.hotkey, position.coldkey);
    let left = held.checked_sub(amount);
    let left = left.ok_or(Refusal::NotEnoughStakeToWithdraw {
        needed: Alpha::from_rao(amount),
        available: Alpha::from_rao(held),
    })?;
    let worth = |amount: u64| {
        if position.netuid == ROOT {
            Rao::from_rao(amount)
        } else {
            state.subnet().pool.price().value_of(Alpha::from_rao(amount))
        }
    };
    let minimum = state.profile.minimum_stake;
    if amount == 0 || left > 0 && worth(left) < minimum {
        return Err(Refusal::AmountTooLow { amount: worth(left.min(amount)), minimum });
    }
    Ok(())
}

fn check_known(state: &State, hotkey: &PublicKey) -> Result<(), Refusal> {
    let is_known = state.owner_of(hotkey).is_some();
    if is_known { Ok(()) } else { Err(Refusal::HotKeyAccountNotExists { hotkey: *hotkey }) }
}

/// Buys from the pool; what was paid, and what came out.
pub(crate) fn buy(
    state: &mut State,
    tao: Rao,
    limit: Option<PriceLimit>,
    charge: Charge,
    events: &mut Vec<Event>,
) -> Result<(Rao, Alpha), Refusal> {
    let mut subnet = state.subnet().clone();
    let before = subnet.pool.price().rao_per_alpha();
    let swap = subnet.pool.buy(tao, limit, charge)?;
    if swap.received == Alpha::ZERO {
        return Err(PoolError::InsufficientLiquidity.into());
    }
    let after = subnet.pool.price().rao_per_alpha();
    state.set_subnet(subnet);
    let (tao, alpha, fee) = (swap.paid, swap.received, swap.fee);
    events.push(Event::Bought { tao, alpha, fee, price_before: before, price_after: after });
    Ok((tao, alpha))
}

/// Sells to the pool; what was paid, and what came out.
pub(crate) fn sell(
    state: &mut State,
    alpha: Alpha,
    limit: Option<PriceLimit>,
    charge: Charge,
    events: &mut Vec<Event>,
) -> Result<(Alpha, Rao), Refusal> {
    let mut subnet = state.subnet().clone();
    let before = subnet.pool.price().rao_per_alpha();
    let swap = subnet.pool.sell(alpha, limit, charge)?;
    if swap.received == Rao::ZERO {
        return Err(PoolError::InsufficientLiquidity.into());
    }
    let after = subnet.pool.price().rao_per_alpha();
    state.set_subnet(subnet);
    let (alpha, tao, fee) = (swap.paid, swap.received, swap.fee);
    events.push(Event::Sold { alpha, tao, fee, price_before: before, price_after: after });
    Ok((alpha, tao))
}

/// Sets what a validator keeps of its stakers' dividends. It may fall at any time, and rise once in a while.
pub(crate) fn set_take(
    state: &mut State,
    coldkey: &PublicKey,
    hotkey: &PublicKey,
    take: u16,
) -> Result<Event, Refusal> {
    let owner = state.owner_of(hotkey).ok_or(Refusal::HotKeyAccountNotExists { hotkey: *hotkey })?;
    if owner != *coldkey {
        return Err(Refusal::NonAssociatedColdKey { hotkey: *hotkey, owner });
    }
    if take > s425::DELEGATE_TAKE {
        return Err(Refusal::DelegateTakeTooHigh { given: take, most: s425::DELEGATE_TAKE });
    }
    let (former, raised_at) = state.takes.get(hotkey).copied().unwrap_or((s425::DELEGATE_TAKE, BlockNumber(0)));
    let mut raised_at = raised_at;
    if take > former {
        let next_block = raised_at.plus(s425::TAKE_RATE_LIMIT_BLOCKS);
        if raised_at != BlockNumber(0) && state.block < next_block {
            return Err(Refusal::DelegateTxRateLimitExceeded { next_block });
        }
        raised_at = state.block;
    }
    state.takes.insert(*hotkey, (take, raised_at));
    Ok(Event::TakeSet { hotkey: *hotkey, take })
}

impl State {
    /// What a validator keeps of its stakers' dividends, in 1/65535.
    pub fn take_of(&self, hotkey: &PublicKey) -> u16 {
        self.takes.get(hotkey).map_or(s425::DELEGATE_TAKE, |(take, _)| *take)
    }
}
