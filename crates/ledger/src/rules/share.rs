//! Stake as shares: what is behind a hotkey grows for everybody at once.
//!
//! For each subnet and hotkey there is one amount and a number of shares of it; a coldkey holds some of the shares.
//! Pay to all stakers is one addition to the amount: `amount of a holder = floor(shares · total / all shares)`. What
//! rounding leaves belongs to the rest of the holders, so the totals alone are the law of conservation.

use crate::arithmetic::wide::{multiply_divide, multiply_divide_up};
use crate::state::{ROOT, StakeTotal, State};
use templar_base::{Alpha, Netuid, PublicKey, Rao};

/// Shares of the first unit: so many that the growth of ages costs no precision.
const SHARES_PER_UNIT: u128 = 1 << 32;

impl StakeTotal {
    fn worth(&self, shares: u128) -> u64 {
        // No holder has more than all shares, so the quotient is at most the amount.
        multiply_divide(shares, self.amount.into(), self.shares).map_or(0, |worth| worth as u64)
    }
}

impl State {
    fn stake_total(&self, netuid: Netuid, hotkey: &PublicKey) -> StakeTotal {
        self.stake_totals.get(&(netuid, *hotkey)).copied().unwrap_or_default()
    }

    /// The subnet's token behind `hotkey`.
    pub fn alpha_behind(&self, hotkey: &PublicKey) -> Alpha {
        Alpha::from_rao(self.stake_total(self.profile.netuid, hotkey).amount)
    }

    /// TAO behind `hotkey` on the root.
    pub fn root_behind(&self, hotkey: &PublicKey) -> Rao {
        Rao::from_rao(self.stake_total(ROOT, hotkey).amount)
    }

    /// What `coldkey` has behind `hotkey`, in the subnet's token.
    pub fn stake(&self, hotkey: &PublicKey, coldkey: &PublicKey) -> Alpha {
        Alpha::from_rao(self.staked(self.profile.netuid, hotkey, coldkey))
    }

    /// What `coldkey` has behind `hotkey` on the root, in TAO.
    pub fn root_stake(&self, hotkey: &PublicKey, coldkey: &PublicKey) -> Rao {
        Rao::from_rao(self.staked(ROOT, hotkey, coldkey))
    }

    /// What `coldkey` has behind `hotkey` in a subnet, in the smallest unit.
    pub(crate) fn staked(&self, netuid: Netuid, hotkey: &PublicKey, coldkey: &PublicKey) -> u64 {
        let shares = self.stake_shares.get(&(netuid, *hotkey, *coldkey)).copied().unwrap_or_default();
        self.stake_total(netuid, hotkey).worth(shares)
    }

    /// Every position in the subnet's token: hotkey, coldkey, amount.
    #[cfg(test)]
    pub(crate) fn positions(&self) -> impl Iterator<Item = (PublicKey, PublicKey, Alpha)> {
        let netuid = self.profile.netuid;
        let of_subnet = self.stake_shares.iter().filter(move |((subnet, ..), _)| *subnet == netuid);
        of_subnet.map(move |((_, hotkey, coldkey), shares)| {
            (*hotkey, *coldkey, Alpha::from_rao(self.stake_total(netuid, hotkey).worth(*shares)))
        })
    }

    /// All that `coldkey` has in the subnet's token, in time linear in its own positions.
    pub(crate) fn held(&self, coldkey: &PublicKey) -> Alpha {
        let hotkeys = self.positions_of.get(coldkey).into_iter().flatten();
        Alpha::saturating_sum(hotkeys.map(|hotkey| self.stake(hotkey, coldkey)))
    }

    /// Adds to a position; the caller has taken the amount from elsewhere.
    pub(crate) fn add_stake(&mut self, netuid: Netuid, hotkey: &PublicKey, coldkey: &PublicKey, amount: u64) {
        if amount == 0 {
            return;
        }
        let total = self.stake_total(netuid, hotkey);
        let bought = if total.shares == 0 || total.amount == 0 {
            u128::from(amount) * SHARES_PER_UNIT
        } else {
            // Rounded down: what is lost goes to those who hold already.
            multiply_divide(amount.into(), total.shares, total.amount.into()).unwrap_or(0)
        };
        let key = (netuid, *hotkey, *coldkey);
        let held = self.stake_shares.get(&key).copied();
        if held.is_none() {
            self.note_position(netuid, hotkey, coldkey);
        }
        self.stake_shares.insert(key, held.unwrap_or_default().saturating_add(bought));
        // The supply bounds the amount; shares are 2^32 for a unit, so both fit.
        let (amount, shares) = (total.amount.saturating_add(amount), total.shares.saturating_add(bought));
        self.stake_totals.insert((netuid, *hotkey), StakeTotal { amount, shares });
    }

    /// Takes from a position; false, and nothing taken, where less is there. The caller puts the amount elsewhere.
    #[must_use]
    pub(crate) fn take_stake(&mut self, netuid: Netuid, hotkey: &PublicKey, coldkey: &PublicKey, amount: u64) -> bool {
        let total = self.stake_total(netuid, hotkey);
        let key = (netuid, *hotkey, *coldkey);
        let held = self.stake_shares.get(&key).copied().unwrap_or_default();
        let worth = total.worth(held);
        if amount > worth {
            return false;
        }
        // Rounded up, against who leaves; all of them where everything is taken.
        let sold = if amount == worth {
            held
        } else {
            multiply_divide_up(amount.into(), total.shares, total.amount.into()).unwrap_or(held).min(held)
        };
        if held == sold {
            if self.stake_shares.remove(&key).is_some() {
                self.note_position_closed(netuid, hotkey, coldkey);
            }
        } else {
            self.stake_shares.insert(key, held - sold);
        }
        let left = StakeTotal { amount: total.amount - amount, shares: total.shares - sold };
        if left == StakeTotal::default() {
            self.stake_totals.remove(&(netuid, *hotkey));
        } else {
            self.stake_totals.insert((netuid, *hotkey), left);
        }
        true
    }

    /// Adds to everything behind a hotkey, for all its stakers in proportion; to `heir` where there is nobody.
    pub(crate) fn grow_stake(&mut self, netuid: Netuid, hotkey: &PublicKey, heir: &PublicKey, amount: u64) {
        let total = self.stake_total(netuid, hotkey);
        if total.shares == 0 {
            self.add_stake(netuid, hotkey, heir, amount);
        } else if amount > 0 {
            let amount = total.amount.saturating_add(amount);
            self.stake_totals.insert((netuid, *hotkey), StakeTotal { amount, ..total });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;
    use proptest::prelude::*;

    fn key(byte: u8) -> PublicKey {
        PublicKey::new([byte; 32])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn holders_never_have_more_than_there_is(
            steps in proptest::collection::vec((0u8..4, 0u8..3, 0u64..1 << 50), 1..40),
        ) {
            let mut state = State::genesis(Profile::local(key(9), &[])).unwrap();
            let netuid = state.profile.netuid;
            let mut expected = 0u64;
            for (kind, holder, amount) in steps {
                match kind {
                    0 => { state.add_stake(netuid, &key(1), &key(holder), amount); expected += amount; }
                    1 => { if state.take_stake(netuid, &key(1), &key(holder), amount) { expected -= amount; } }
                    2 => { state.grow_stake(netuid, &key(1), &key(7), amount); expected += amount; }
                    _ => state.add_stake(netuid, &key(2), &key(holder), amount),
                }
                prop_assert_eq!(state.alpha_behind(&key(1)).as_rao(), expected);
                let held = |behind: u8| -> u64 {
                    state.positions().filter(|(hotkey, ..)| *hotkey == key(behind)).map(|(_, _, amount)| amount.as_rao()).sum()
                };
                prop_assert!(held(1) <= expected);
                let all: u64 = state.positions_of.keys().map(|holder| state.held(holder).as_rao()).sum();
                prop_assert_eq!(all, held(1) + held(2));
                let counted = state.positions_of.clone();
                state.index_holders();
                prop_assert_eq!(&counted, &state.positions_of);
            }
            for (hotkey, holder, amount) in state.positions().collect::<Vec<_>>() {
                prop_assert!(state.take_stake(netuid, &hotkey, &holder, amount.as_rao()));
            }
            prop_assert!(state.alpha_behind(&key(1)).as_rao() < 64, "only dust stays");
        }
    }

    #[test]
    fn growth_is_shared_in_proportion() {
        let mut state = State::genesis(Profile::local(key(9), &[])).unwrap();
        let netuid = state.profile.netuid;
        state.add_stake(netuid, &key(1), &key(2), 3_000);
        state.add_stake(netuid, &key(1), &key(3), 1_000);
        state.grow_stake(netuid, &key(1), &key(9), 400);
        assert_eq!(state.stake(&key(1), &key(2)), Alpha::from_rao(3_300));
        assert_eq!(state.stake(&key(1), &key(3)), Alpha::from_rao(1_100));
        assert_eq!(state.root_behind(&key(1)), Rao::from_rao(0));
    }
}
