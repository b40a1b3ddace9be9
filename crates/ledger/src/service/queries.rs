//! What the modules beside the chain's rules tell the outside: governance, access, market, the history of a key.

use crate::{Escrow, Ledger, State};
use templar_base::{Alpha, BlockNumber, Netuid, PublicKey};
use templar_chain::MAX_ENTRIES;
use templar_chain::access::{AccessAccountView, AccessOverview};
use templar_chain::governance::{Proposal, ProposalId, ProposalView};
use templar_chain::market::{Candle, EpochRecord, Interval, MarketSummary, Order, Quote};
use templar_chain::{ChainError, EventRecord, SettingChanges};

fn entries(limit: u32) -> usize {
    limit.min(MAX_ENTRIES) as usize
}

fn stake_of(state: &State) -> impl Fn(&PublicKey, &PublicKey) -> Alpha + '_ {
    |hotkey, payer| state.covering_stake(hotkey, payer)
}

impl Ledger {
    /// The newest proposals, newest first, [`MAX_ENTRIES`] at most.
    pub fn proposals(&self, netuid: Netuid, limit: u32) -> Result<Vec<Proposal>, ChainError> {
        self.check_netuid(netuid)?;
        Ok(self.state().governance.newest(entries(limit)))
    }

    /// A proposal with its votes by key, those after `after`, [`MAX_ENTRIES`] at most.
    pub fn proposal(
        &self,
        netuid: Netuid,
        id: ProposalId,
        after: Option<PublicKey>,
    ) -> Result<Option<ProposalView>, ChainError> {
        self.check_netuid(netuid)?;
        Ok(self.state().governance.view(&self.state().profile().governance, id, after, MAX_ENTRIES as usize))
    }

    /// All adopted run settings.
    pub fn setting_changes(&self, netuid: Netuid) -> Result<SettingChanges, ChainError> {
        self.check_netuid(netuid)?;
        Ok(SettingChanges { at: self.head().number, changes: self.state().governance.changes() })
    }

    /// Terms and sums of access.
    pub fn access_overview(&self, netuid: Netuid) -> Result<AccessOverview, ChainError> {
        self.check_netuid(netuid)?;
        let access = &self.state().access;
        let treasury = self.state().token_in_escrow(Escrow::Treasury);
        Ok(AccessOverview { terms: access.terms(), totals: access.totals(), treasury })
    }

    /// The prepaid account of `key` at `gateway`.
    pub fn access_account(
        &self,
        netuid: Netuid,
        gateway: &PublicKey,
        key: &PublicKey,
    ) -> Result<Option<AccessAccountView>, ChainError> {
        self.check_netuid(netuid)?;
        Ok(self.state().access.view(&(*gateway, *key), &stake_of(self.state())))
    }

    /// The accounts at a gateway by key, those after `after`, [`MAX_ENTRIES`] at most.
    pub fn access_accounts(
        &self,
        netuid: Netuid,
        gateway: &PublicKey,
        after: Option<PublicKey>,
    ) -> Result<Vec<AccessAccountView>, ChainError> {
        self.check_netuid(netuid)?;
        Ok(self.state().access.at_gateway(gateway, after, MAX_ENTRIES as usize, &stake_of(self.state())))
    }

    /// The newest candles, the oldest first, as many as are kept at most.
    pub fn candles(&self, netuid: Netuid, interval: Interval, limit: u32) -> Result<Vec<Candle>, ChainError> {
        self.check_netuid(netuid)?;
        Ok(self.state().market.candles(interval, limit as usize))
    }

    /// The newest epochs, the oldest first, [`MAX_ENTRIES`] at most.
    pub fn epochs(&self, netuid: Netuid, limit: u32) -> Result<Vec<EpochRecord>, ChainError> {
        self.check_netuid(netuid)?;
        Ok(self.state().market.epochs(entries(limit)))
    }

    /// What an order would bring now; a refusal where the pool cannot fill it.
    pub fn quote(&self, netuid: Netuid, order: Order) -> Result<Quote, ChainError> {
        self.check_netuid(netuid)?;
        let quote = crate::modules::market::quote(self.state(), self.head().number, order);
        quote.map_err(|error| ChainError::Refused { refusal: error.into() })
    }

    /// The market at a glance.
    pub fn market(&self, netuid: Netuid) -> Result<MarketSummary, ChainError> {
        self.check_netuid(netuid)?;
        Ok(crate::modules::market::summary(self.state(), &self.head()))
    }

    /// Events that concern `key` in kept blocks before `before`, the newest first, [`MAX_ENTRIES`] at most.
    pub fn history(
        &self,
        key: &PublicKey,
        before: Option<BlockNumber>,
        limit: u32,
    ) -> Result<Vec<EventRecord>, ChainError> {
        let before = before.unwrap_or_else(|| self.head().number.plus(1));
        self.events_of(key, before, entries(limit))
    }
}
