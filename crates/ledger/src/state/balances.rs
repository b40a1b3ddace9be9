//! Moving amounts between the state's rows: balances, escrows, the subnet's sums. Each caller puts what it takes
//! somewhere else, or has taken from elsewhere what it adds.

use super::escrow::{Escrow, Holding};
use super::rows::Subnet;
use super::whole::State;
use templar_base::{Alpha, PublicKey, Rao};
use templar_chain::{Account, Refusal, Totals};

impl State {
    pub(crate) fn set_totals(&mut self, change: impl FnOnce(&mut Totals)) {
        let mut totals = self.totals();
        change(&mut totals);
        self.totals.insert((), totals);
    }

    /// Adds to a free balance. No sum can overflow: all of them together are under 21 million TAO.
    pub(crate) fn credit(&mut self, key: &PublicKey, amount: Rao) {
        let account = self.account(key);
        let balance = account.balance.saturating_add(amount);
        self.accounts.insert(*key, Account { balance, ..account });
    }

    /// Takes from a free balance; `refusal` names the lack.
    pub(crate) fn debit(
        &mut self,
        key: &PublicKey,
        amount: Rao,
        refusal: impl FnOnce(Rao, Rao) -> Refusal,
    ) -> Result<(), Refusal> {
        let account = self.account(key);
        let balance = account.balance.checked_sub(amount).map_err(|_| refusal(amount, account.balance))?;
        self.accounts.insert(*key, Account { balance, ..account });
        Ok(())
    }

    /// Takes a fee from a free balance, and out of what is issued: the curve issues it again.
    pub(crate) fn pay_fee(&mut self, key: &PublicKey, fee: Rao) -> Result<(), Refusal> {
        if fee == Rao::ZERO {
            return Ok(());
        }
        self.debit(key, fee, |needed, available| Refusal::FeeNotCovered { needed, available })?;
        self.set_totals(|totals| {
            // A balance is a part of what is issued, so the fee is within it.
            totals.issued = totals.issued.saturating_sub(fee);
            totals.recycled = totals.recycled.saturating_add(fee);
        });
        Ok(())
    }

    /// Moves a free balance, to nobody's account under the existential deposit.
    pub(crate) fn transfer(&mut self, from: &PublicKey, to: &PublicKey, amount: Rao) -> Result<(), Refusal> {
        let available = self.account(from).balance;
        let left =
            available.checked_sub(amount).map_err(|_| Refusal::InsufficientBalance { needed: amount, available })?;
        if from == to || amount == Rao::ZERO {
            return Ok(());
        }
        let minimum = self.profile.load.existential_deposit;
        if left != Rao::ZERO && left < minimum {
            return Err(Refusal::ExistentialDeposit { account: *from, left, minimum });
        }
        let received = self.account(to).balance.saturating_add(amount);
        if received < minimum {
            return Err(Refusal::ExistentialDeposit { account: *to, left: received, minimum });
        }
        self.debit(from, amount, |needed, available| Refusal::InsufficientBalance { needed, available })?;
        self.credit(to, amount);
        Ok(())
    }

    /// Bytes of the lane that `hotkey` has used in the running tempo.
    pub(crate) fn lane_used(&self, hotkey: &PublicKey) -> u32 {
        self.lanes.get(hotkey).copied().unwrap_or(0)
    }

    pub(crate) fn advance_nonce(&mut self, key: &PublicKey) {
        let account = self.account(key);
        self.accounts.insert(*key, Account { nonce: account.nonce.saturating_add(1), ..account });
    }

    /// The subnet's row.
    pub fn subnet(&self) -> &Subnet {
        // `State::genesis` writes the row and nothing removes it; `State::restore` refuses a state without it.
        self.subnets.get(&()).expect("the subnet's row exists from genesis on")
    }

    /// Writes the subnet's row, and the sums that follow from it.
    pub(crate) fn set_subnet(&mut self, subnet: Subnet) {
        let pooled = subnet.pool.holdings().0;
        if self.totals().pooled != pooled {
            self.set_totals(|totals| totals.pooled = pooled);
        }
        self.subnets.insert((), subnet);
    }

    /// Destroys tokens that the caller has taken from elsewhere.
    pub(crate) fn burn_alpha(&mut self, amount: Alpha) {
        let mut subnet = self.subnet().clone();
        subnet.alpha_burned = subnet.alpha_burned.saturating_add(amount);
        self.set_subnet(subnet);
    }

    /// What `escrow` holds.
    pub fn escrow(&self, escrow: Escrow) -> Holding {
        self.escrows.get(&escrow).copied().unwrap_or_default()
    }

    /// Puts into a escrow what the caller has taken from elsewhere. No sum overflows: all amounts together are bounded
    /// by the supply.
    pub(crate) fn fill_escrow(&mut self, escrow: Escrow, amount: Holding) {
        let held = self.escrow(escrow);
        let tao = held.tao.saturating_add(amount.tao);
        let alpha = held.alpha.saturating_add(amount.alpha);
        self.set_escrow(escrow, Holding { tao, alpha });
    }

    /// Takes out of a escrow; the caller must put it elsewhere. Nothing is taken where one of the two is not there.
    pub(crate) fn draw_escrow(&mut self, escrow: Escrow, amount: Holding) -> Result<(), Refusal> {
        let held = self.escrow(escrow);
        let tao = held
            .tao
            .checked_sub(amount.tao)
            .map_err(|_| Refusal::InsufficientBalance { needed: amount.tao, available: held.tao })?;
        let alpha = held
            .alpha
            .checked_sub(amount.alpha)
            .map_err(|_| Refusal::InsufficientAlpha { needed: amount.alpha, available: held.alpha })?;
        self.set_escrow(escrow, Holding { tao, alpha });
        Ok(())
    }

    fn set_escrow(&mut self, escrow: Escrow, holding: Holding) {
        if holding == Holding::default() {
            self.escrows.remove(&escrow);
        } else {
            self.escrows.insert(escrow, holding);
        }
    }
}
