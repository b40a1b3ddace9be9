//! Prepaid accounts as a part of the ledger's state. Pure: stakes and escrows are the caller's.
//!
//! ```text
//!  sum of balances + rewards = the access escrow, after every call
//! ```

use crate::state::AccessState;
use templar_base::{Alpha, BlockHash, BlockNumber, PublicKey};
use templar_chain::access::{
    AccessAccount, AccessAccountView, AccessRefusal, AccessTerms, AccessTotals, AccountKey, Charge, MAX_RECORDS,
    MeteringRecord, Service, Units,
};

/// The stakes of payers, which their tiers go by.
pub(crate) trait Payers {
    /// What a coldkey has staked behind a hotkey: `stake_of(hotkey, payer)`.
    fn stake_of(&self, hotkey: &PublicKey, payer: &PublicKey) -> Alpha;
}

impl<F: Fn(&PublicKey, &PublicKey) -> Alpha> Payers for F {
    fn stake_of(&self, hotkey: &PublicKey, payer: &PublicKey) -> Alpha {
        self(hotkey, payer)
    }
}

impl AccessState {
    /// The terms in force. They are there from genesis on.
    pub fn terms(&self) -> AccessTerms {
        self.terms.get(&()).cloned().unwrap_or_else(AccessTerms::mainnet_like)
    }

    /// The money side.
    pub fn totals(&self) -> AccessTotals {
        self.totals.get(&()).copied().unwrap_or_default()
    }

    /// One account.
    pub fn account(&self, key: &AccountKey) -> Option<&AccessAccount> {
        self.accounts.get(key)
    }

    /// One account, with what its payer's stake still covers.
    pub fn view(&self, key: &AccountKey, payers: &impl Payers) -> Option<AccessAccountView> {
        let account = self.accounts.get(key)?.clone();
        let allowance = self.allowance(&account, payers);
        Some(AccessAccountView { gateway: key.0, key: key.1, account, allowance })
    }

    /// The accounts at a gateway after the key `after`, `limit` at most.
    pub fn at_gateway(
        &self,
        gateway: &PublicKey,
        after: Option<PublicKey>,
        limit: usize,
        payers: &impl Payers,
    ) -> Vec<AccessAccountView> {
        let (first, last) = (after.unwrap_or(PublicKey::new([0; 32])), PublicKey::new([255; 32]));
        let found = self.accounts.range((*gateway, first)..=(*gateway, last)).filter(|(key, _)| Some(key.1) != after);
        found.take(limit).filter_map(|(key, _)| self.view(key, payers)).collect()
    }

    /// What the stake behind the account's hotkey still covers; a payer has it once, for all its accounts.
    fn allowance(&self, account: &AccessAccount, payers: &impl Payers) -> Units {
        let used = self.used.get(&account.payer).copied().unwrap_or_default();
        self.terms().allowance(payers.stake_of(&account.hotkey, &account.payer)).minus(used)
    }

    fn change_totals(&mut self, change: impl FnOnce(&mut AccessTotals)) {
        let mut totals = self.totals();
        change(&mut totals);
        self.totals.insert((), totals);
    }

    /// Opens an account, or adds to it. The caller has taken `amount` from the payer's stake into the access escrow.
    pub fn open(
        &mut self,
        key: AccountKey,
        (payer, hotkey): (&PublicKey, &PublicKey),
        amount: Alpha,
    ) -> Result<(), AccessRefusal> {
        let account = self.check_open(&key, (payer, hotkey), amount)?;
        let is_new = !self.accounts.contains(&key);
        // All balances together are bounded by the token's supply.
        let balance = account.balance.saturating_add(amount);
        self.accounts.insert(key, AccessAccount { balance, ..account });
        self.change_totals(|totals| {
            totals.prepaid = totals.prepaid.saturating_add(amount);
            totals.opened += u64::from(is_new);
        });
        Ok(())
    }

    /// Whether [`AccessState::open`] would succeed; the account as it stands, or a new one.
    pub fn check_open(
        &self,
        key: &AccountKey,
        (payer, hotkey): (&PublicKey, &PublicKey),
        amount: Alpha,
    ) -> Result<AccessAccount, AccessRefusal> {
        let minimum = self.terms().minimum_deposit;
        if amount < minimum {
            return Err(AccessRefusal::DepositTooLow { amount, minimum });
        }
        let Some(account) = self.accounts.get(key) else {
            return Ok(AccessAccount {
                payer: *payer,
                hotkey: *hotkey,
                serial: self.totals().opened,
                balance: Alpha::ZERO,
                charged: Alpha::ZERO,
                settled: Units::default(),
                remainder: 0,
                closes_at: None,
            });
        };
        match account {
            _ if account.payer != *payer => Err(AccessRefusal::AccountOfAnother { payer: account.payer }),
            _ if account.hotkey != *hotkey => Err(AccessRefusal::AccountOfOtherHotkey { hotkey: account.hotkey }),
            AccessAccount { closes_at: Some(at), .. } => Err(AccessRefusal::AccountCloses { at: *at }),
            _ => Ok(account.clone()),
        }
    }

    /// Settles records: charges what each says beyond the one before. Records of accounts that are gone, or that say
    /// nothing new, are passed over, so that sending them again does no harm.
    ///
    /// The caller moves the sums: `burned` and `treasury` leave the access escrow, `rewards` stay in it.
    pub fn settle_records(
        &mut self,
        genesis: &BlockHash,
        records: &[MeteringRecord],
        payers: &impl Payers,
    ) -> Result<Vec<(AccountKey, Charge)>, AccessRefusal> {
        if records.len() > MAX_RECORDS {
            let (actual, limit) = (records.len() as u32, MAX_RECORDS as u32);
            return Err(AccessRefusal::TooManyRecords { actual, limit });
        }
        if let Some(position) = records.iter().position(|record| !record.is_authentic(genesis)) {
            return Err(AccessRefusal::ForgedRecord { position: position as u32 });
        }
        let charged = records.iter().filter_map(|record| Some((record.account(), self.settle_one(record, payers)?)));
        Ok(charged.collect())
    }

    fn settle_one(&mut self, record: &MeteringRecord, payers: &impl Payers) -> Option<Charge> {
        let key = record.account();
        let mut account = self.accounts.get(&key).filter(|account| account.serial == record.serial)?.clone();
        let units = record.units.minus(account.settled);
        if units.is_none() {
            return None;
        }
        account.settled = account.settled.max(record.units);
        let allowed = self.allowance(&account, payers).min(units);
        if !allowed.is_none() {
            let used = self.used.get(&account.payer).copied().unwrap_or_default();
            self.used.insert(account.payer, used.plus(allowed));
        }
        let terms = self.terms();
        let cost = terms.cost_in_thousandths(units.minus(allowed)) + u128::from(account.remainder);
        let whole = cost / 1_000;
        // The smaller of the two fits, since the balance does.
        let charged = Alpha::from_rao(whole.min(u128::from(account.balance.as_rao())) as u64);
        let unpaid = Alpha::from_rao(u64::try_from(whole - u128::from(charged.as_rao())).unwrap_or(u64::MAX));
        // A debt is the gateway's loss and is not carried on; neither is its fraction.
        account.remainder = if unpaid == Alpha::ZERO { (cost % 1_000) as u16 } else { 0 };
        account.balance = account.balance.minus_within(charged);
        account.charged = account.charged.saturating_add(charged);
        self.accounts.insert(key, account);
        let burned = charged.part_per_mille(terms.burned_per_mille);
        let treasury = charged.part_per_mille(terms.treasury_per_mille);
        // Both parts together are a thousand thousandths at most, each rounded down.
        let rewards = charged.minus_within(burned).minus_within(treasury);
        self.change_totals(|totals| {
            totals.prepaid = totals.prepaid.saturating_sub(charged);
            totals.rewards = totals.rewards.saturating_add(rewards);
            totals.revenue = totals.revenue.saturating_add(charged);
            totals.burned = totals.burned.saturating_add(burned);
            totals.treasury = totals.treasury.saturating_add(treasury);
        });
        Some(Charge { units, allowed, charged, unpaid, burned, treasury, rewards })
    }

    /// Closes an account: at once where its gateway asks, after the closing time where its payer does. Returns the
    /// account where it closed now: the caller gives its balance back.
    pub fn close(
        &mut self,
        now: BlockNumber,
        key: AccountKey,
        signer: &PublicKey,
    ) -> Result<Option<AccessAccount>, AccessRefusal> {
        let mut account = self.accounts.get(&key).cloned().ok_or(AccessRefusal::NoSuchAccount)?;
        if *signer == key.0 {
            return Ok(self.remove(&key));
        }
        if *signer != account.payer {
            return Err(AccessRefusal::NotYourAccount);
        }
        // Asked for twice, the first time counts.
        if account.closes_at.is_none() {
            let closes_at = now.plus(self.terms().closing_blocks);
            account.closes_at = Some(closes_at);
            self.closing.insert((closes_at, key));
            self.accounts.insert(key, account);
        }
        Ok(None)
    }

    /// Closes the accounts whose time has come. The caller gives their balances back.
    pub fn close_due(&mut self, now: BlockNumber) -> Vec<(AccountKey, AccessAccount)> {
        let mut closed = Vec::new();
        while let Some((at, key)) = self.closing.first().copied()
            && at <= now
        {
            self.closing.remove(&(at, key));
            closed.extend(self.remove(&key).map(|account| (key, account)));
        }
        closed
    }

    fn remove(&mut self, key: &AccountKey) -> Option<AccessAccount> {
        let account = self.accounts.remove(key)?;
        if let Some(at) = account.closes_at {
            self.closing.remove(&(at, *key));
        }
        self.change_totals(|totals| totals.prepaid = totals.prepaid.saturating_sub(account.balance));
        Some(account)
    }

    /// At an epoch's end: stake covers units anew, and what was earned is taken out for miners and validators.
    pub fn end_epoch(&mut self) -> Alpha {
        let payers: Vec<PublicKey> = self.used.iter().map(|(payer, _)| *payer).collect();
        for payer in payers {
            self.used.remove(&payer);
        }
        let rewards = self.totals().rewards;
        if rewards != Alpha::ZERO {
            self.change_totals(|totals| totals.rewards = Alpha::ZERO);
        }
        rewards
    }

    /// Puts back what nobody could be paid, for the next epoch.
    pub fn keep_rewards(&mut self, rewards: Alpha) {
        self.change_totals(|totals| totals.rewards = totals.rewards.saturating_add(rewards));
    }

    /// Changes a price.
    pub fn set_price(&mut self, service: Service, per_thousand: Alpha) {
        let mut terms = self.terms();
        match service {
            Service::Generation => terms.generation_per_thousand = per_thousand,
            Service::Compute => terms.compute_per_thousand = per_thousand,
        }
        self.terms.insert((), terms);
    }

    /// Changes the split of the revenue.
    pub fn set_split(&mut self, burned_per_mille: u16, treasury_per_mille: u16) {
        let terms = self.terms();
        self.terms.insert((), AccessTerms { burned_per_mille, treasury_per_mille, ..terms });
    }

    /// Whether the sums fit the accounts: prepaid is what they hold.
    #[cfg(test)]
    fn is_sound(&self) -> bool {
        Alpha::saturating_sum(self.accounts.iter().map(|(_, account)| account.balance)) == self.totals().prepaid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use templar_base::Keypair;

    const GENESIS: BlockHash = BlockHash::new([4; 32]);

    fn gateway(number: u8) -> Keypair {
        Keypair::from_seed([number; 32])
    }

    fn key(number: u8) -> PublicKey {
        PublicKey::new([number; 32])
    }

    fn terms() -> AccessTerms {
        let tier = templar_chain::access::StakeTier {
            stake: Alpha::from_rao(1_000),
            units_per_epoch: Units { generation: 50, compute: 0 },
        };
        AccessTerms {
            generation_per_thousand: Alpha::from_rao(1_500),
            minimum_deposit: Alpha::from_rao(10),
            closing_blocks: 5,
            tiers: vec![tier],
            ..AccessTerms::mainnet_like()
        }
    }

    fn nobody(_: &PublicKey, _: &PublicKey) -> Alpha {
        Alpha::ZERO
    }

    fn record(gateway: &Keypair, served: u8, serial: u64, generation: u64) -> MeteringRecord {
        MeteringRecord::sign(gateway, &GENESIS, key(served), serial, Units { generation, compute: 0 })
    }

    fn opened(balance: u64) -> (AccessState, Keypair, AccountKey) {
        let (mut state, gateway) = (AccessState::new(terms()), gateway(1));
        let account = (gateway.public(), key(2));
        state.open(account, (&key(3), &key(4)), Alpha::from_rao(balance)).unwrap();
        (state, gateway, account)
    }

    #[test]
    fn a_record_charges_once_however_often_it_comes() {
        let (mut state, gateway, account) = opened(1_000);
        let first = record(&gateway, 2, 0, 100);
        let charged = state.settle_records(&GENESIS, std::slice::from_ref(&first), &nobody).unwrap();
        assert_eq!(charged[0].1.charged, Alpha::from_rao(150));
        assert_eq!(state.settle_records(&GENESIS, &[first.clone(), first.clone()], &nobody).unwrap(), []);
        let later = record(&gateway, 2, 0, 300);
        let charged = state.settle_records(&GENESIS, &[later, first], &nobody).unwrap();
        assert_eq!((charged.len(), charged[0].1.charged), (1, Alpha::from_rao(300)));
        assert_eq!(state.account(&account).unwrap().balance, Alpha::from_rao(550));
        let totals = state.totals();
        assert_eq!(
            (totals.burned, totals.treasury, totals.rewards),
            (Alpha::from_rao(135), Alpha::from_rao(45), Alpha::from_rao(270))
        );
    }

    #[test]
    fn a_balance_never_goes_under_nothing() {
        let (mut state, gateway, account) = opened(100);
        let charge = state.settle_records(&GENESIS, &[record(&gateway, 2, 0, 1_000_000)], &nobody).unwrap()[0].1;
        assert_eq!((charge.charged, charge.unpaid), (Alpha::from_rao(100), Alpha::from_rao(1_499_900)));
        assert_eq!(state.account(&account).unwrap().balance, Alpha::ZERO);
        state.open(account, (&key(3), &key(4)), Alpha::from_rao(100)).unwrap();
        assert_eq!(state.settle_records(&GENESIS, &[record(&gateway, 2, 0, 1_000_000)], &nobody).unwrap(), []);
        let most = Units { generation: u64::MAX, compute: u64::MAX };
        let extreme = MeteringRecord::sign(&gateway, &GENESIS, key(2), 0, most);
        assert_eq!(state.settle_records(&GENESIS, &[extreme], &nobody).unwrap()[0].1.charged, Alpha::from_rao(100));
        assert!(state.is_sound());
    }

    #[test]
    fn fractions_add_up_however_the_units_are_cut() {
        let (mut whole, gateway, account) = opened(100_000);
        let (mut cut, ..) = opened(100_000);
        whole.settle_records(&GENESIS, &[record(&gateway, 2, 0, 777)], &nobody).unwrap();
        for units in 1..=777 {
            cut.settle_records(&GENESIS, &[record(&gateway, 2, 0, units)], &nobody).unwrap();
        }
        assert_eq!(whole.account(&account), cut.account(&account));
    }

    #[test]
    fn stake_covers_units_first_and_anew_in_each_epoch() {
        let (mut state, gateway, account) = opened(1_000);
        let rich = |_: &PublicKey, _: &PublicKey| Alpha::from_rao(1_000);
        let charge = state.settle_records(&GENESIS, &[record(&gateway, 2, 0, 30)], &rich).unwrap()[0].1;
        assert_eq!((charge.allowed.generation, charge.charged), (30, Alpha::from_rao(0)));
        let charge = state.settle_records(&GENESIS, &[record(&gateway, 2, 0, 60)], &rich).unwrap()[0].1;
        assert_eq!((charge.allowed.generation, charge.charged), (20, Alpha::from_rao(15)));
        assert_eq!(state.end_epoch(), charge.rewards);
        assert_eq!(state.view(&account, &rich).unwrap().allowance.generation, 50);
    }

    #[test]
    fn only_the_gateways_own_records_of_this_very_account_count() {
        let (mut state, gateway, account) = opened(1_000);
        let forged = MeteringRecord { gateway: gateway.public(), ..record(&super::tests::gateway(9), 2, 0, 10) };
        let refused = state.settle_records(&GENESIS, &[record(&gateway, 2, 0, 1), forged], &nobody);
        assert_eq!(refused, Err(AccessRefusal::ForgedRecord { position: 1 }));
        assert_eq!(state.account(&account).unwrap().balance, Alpha::from_rao(1_000));
        // The account was closed and opened again: what was served in the first is not charged to the second.
        state.settle_records(&GENESIS, &[record(&gateway, 2, 0, 10)], &nobody).unwrap();
        assert_eq!(
            state.close(BlockNumber(1), account, &gateway.public()).unwrap().unwrap().balance,
            Alpha::from_rao(985)
        );
        state.open(account, (&key(3), &key(4)), Alpha::from_rao(500)).unwrap();
        assert_eq!(state.settle_records(&GENESIS, &[record(&gateway, 2, 0, 400)], &nobody).unwrap(), []);
        assert_eq!(state.account(&account).unwrap().balance, Alpha::from_rao(500));
        let many = vec![record(&gateway, 2, 0, 1); MAX_RECORDS + 1];
        assert!(matches!(state.settle_records(&GENESIS, &many, &nobody), Err(AccessRefusal::TooManyRecords { .. })));
    }

    #[test]
    fn a_payer_waits_for_its_refund_so_that_the_gateway_can_settle() {
        let (mut state, gateway, account) = opened(1_000);
        assert_eq!(state.close(BlockNumber(10), account, &key(8)), Err(AccessRefusal::NotYourAccount));
        assert_eq!(state.close(BlockNumber(10), account, &key(3)).unwrap(), None);
        assert_eq!(state.close(BlockNumber(12), account, &key(3)).unwrap(), None);
        let more = state.open(account, (&key(3), &key(4)), Alpha::from_rao(50));
        assert_eq!(more, Err(AccessRefusal::AccountCloses { at: BlockNumber(15) }));
        assert_eq!(state.close_due(BlockNumber(14)), []);
        state.settle_records(&GENESIS, &[record(&gateway, 2, 0, 100)], &nobody).unwrap();
        let closed = state.close_due(BlockNumber(15));
        assert_eq!((closed.len(), closed[0].1.balance), (1, Alpha::from_rao(850)));
        assert_eq!(state.close(BlockNumber(16), account, &key(3)), Err(AccessRefusal::NoSuchAccount));
        assert_eq!(state.totals().prepaid, Alpha::ZERO);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Open { gateway: u8, key: u8, payer: u8, amount: u64 },
        Settle { gateway: u8, key: u8, serial: u64, units: u64 },
        Close { gateway: u8, key: u8, signer: u8 },
        Epoch,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u8..2, 0u8..2, 0u8..2, 0u64..5_000).prop_map(|(gateway, key, payer, amount)| Step::Open {
                gateway,
                key,
                payer,
                amount
            }),
            (0u8..2, 0u8..2, 0u64..4, 0u64..3_000).prop_map(|(gateway, key, serial, units)| Step::Settle {
                gateway,
                key,
                serial,
                units
            }),
            (0u8..2, 0u8..2, 0u8..3).prop_map(|(gateway, key, signer)| Step::Close { gateway, key, signer }),
            Just(Step::Epoch),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// Whatever is opened, charged and closed: what was paid in is what is held, given back, burned or paid on.
        #[test]
        fn money_is_neither_made_nor_lost(steps in proptest::collection::vec(step(), 1..40)) {
            let mut state = AccessState::new(terms());
            let (mut paid_in, mut gone) = (0u64, 0u64);
            for (block, step) in steps.into_iter().enumerate() {
                let now = BlockNumber(block as u64);
                let name = |at: u8, served: u8| (gateway(at).public(), key(served));
                match step {
                    Step::Open { gateway, key: served, payer, amount } => {
                        let payer = key(10 + payer);
                        if state.open(name(gateway, served), (&payer, &key(20)), Alpha::from_rao(amount)).is_ok() {
                            paid_in += amount;
                        }
                    }
                    Step::Settle { gateway: at, key: served, serial, units } => {
                        let record = record(&gateway(at), served, serial, units);
                        for (_, charge) in state.settle_records(&GENESIS, &[record], &nobody).unwrap() {
                            gone += charge.burned.as_rao() + charge.treasury.as_rao();
                            prop_assert_eq!(charge.charged.as_rao(), charge.burned.as_rao() + charge.treasury.as_rao() + charge.rewards.as_rao());
                        }
                    }
                    Step::Close { gateway: at, key: served, signer } => {
                        let signer = if signer == 2 { gateway(at).public() } else { key(10 + signer) };
                        if let Ok(Some(account)) = state.close(now, name(at, served), &signer) {
                            gone += account.balance.as_rao();
                        }
                    }
                    Step::Epoch => gone += state.end_epoch().as_rao(),
                }
                gone += state.close_due(now).iter().map(|(_, account)| account.balance.as_rao()).sum::<u64>();
                prop_assert!(state.is_sound());
                prop_assert_eq!(paid_in, gone + state.totals().prepaid.as_rao() + state.totals().rewards.as_rao());
            }
        }
    }
}
