//! What access keeps.

use super::table::{NumberedTables, Table};
use std::collections::BTreeSet;
use templar_base::{BlockNumber, PublicKey};
use templar_chain::access::{AccessAccount, AccessTerms, AccessTotals, AccountKey, Units};

/// Everything that access keeps.
#[derive(Debug, Clone, Default)]
pub(crate) struct AccessState {
    pub(crate) terms: Table<(), AccessTerms>,
    pub(crate) totals: Table<(), AccessTotals>,
    pub(crate) accounts: Table<AccountKey, AccessAccount>,
    /// Units of the running epoch that stake has covered, by payer.
    pub(crate) used: Table<PublicKey, Units>,
    // Derived: accounts that close, by block.
    pub(crate) closing: BTreeSet<(BlockNumber, AccountKey)>,
}

impl AccessState {
    /// Without accounts.
    pub fn new(terms: AccessTerms) -> Self {
        let mut state = Self::default();
        state.terms.insert((), terms);
        state
    }

    /// Its tables, under their numbers in the store.
    pub fn tables(&mut self) -> NumberedTables<'_> {
        vec![(48, &mut self.terms), (49, &mut self.totals), (50, &mut self.accounts), (51, &mut self.used)]
    }

    /// Rebuilds what is derived, after the tables were restored.
    pub fn index(&mut self) {
        let closing = self.accounts.iter().filter_map(|(key, account)| Some((account.closes_at?, *key)));
        self.closing = closing.collect();
    }
}
