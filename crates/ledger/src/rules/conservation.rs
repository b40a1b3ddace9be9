//! The law that holds after every block: nothing is made but by emission, nothing lost but by burning.

use crate::state::{ROOT, State};

/// Money was created or lost: a bug of the ledger, never of its users.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the ledger does not conserve {token}: held {held:?}, together {sum}, are not the issued {issued}; this is a bug of \
     the ledger, keep its folder and report it"
)]
pub struct ConservationError {
    /// TAO or alpha.
    pub token: &'static str,
    /// Where how much is, in the smallest unit.
    pub held: Vec<(&'static str, u128)>,
    /// The sum of these.
    pub sum: u128,
    /// What was issued.
    pub issued: u128,
}

/// Checks that no TAO and no alpha was created or lost.
///
/// ```text
/// TAO:    balances + root stake + pool + escrows + burned = issued
/// alpha:  stakes + pool + pending + escrows + burned = issued
/// ```
pub fn check_conservation(state: &State) -> Result<(), ConservationError> {
    let (totals, subnet) = (state.totals(), state.subnet());
    let (pool_tao, pool_alpha) = subnet.pool.holdings();
    let staked = |is_root: bool| {
        let totals = state.stake_totals.iter().filter(|((netuid, _), _)| (*netuid == ROOT) == is_root);
        totals.map(|(_, total)| u128::from(total.amount)).sum::<u128>()
    };
    let escrows = |amount: fn(&crate::Holding) -> u64| {
        state.escrows.iter().map(|(_, holding)| u128::from(amount(holding))).sum::<u128>()
    };
    let tao = vec![
        ("balances", state.accounts.iter().map(|(_, account)| u128::from(account.balance.as_rao())).sum()),
        ("root stake", staked(true)),
        ("pool", pool_tao.as_rao().into()),
        ("escrows", escrows(|holding| holding.tao.as_rao())),
        ("burned", totals.burned.as_rao().into()),
    ];
    let alpha = vec![
        ("stakes", staked(false)),
        ("pool", pool_alpha.as_rao().into()),
        ("pending", u128::from(subnet.pending_owner.as_rao()) + u128::from(subnet.pending_emission.as_rao())),
        ("escrows", escrows(|holding| holding.alpha.as_rao())),
        ("burned", subnet.alpha_burned.as_rao().into()),
    ];
    compare("TAO", tao, totals.issued.as_rao().into())?;
    compare("alpha", alpha, subnet.alpha_issued.as_rao().into())
}

fn compare(token: &'static str, held: Vec<(&'static str, u128)>, issued: u128) -> Result<(), ConservationError> {
    let sum = held.iter().map(|(_, amount)| amount).sum();
    if sum == issued { Ok(()) } else { Err(ConservationError { token, held, sum, issued }) }
}
