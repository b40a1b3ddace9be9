//! What governance keeps.

use super::table::{NumberedTables, Table};
use std::collections::BTreeSet;
use templar_base::{Alpha, PublicKey, SettingChange};
use templar_chain::governance::{Ballot, Proposal, ProposalId, Status};

/// Everything that governance keeps.
#[derive(Debug, Clone, Default)]
pub(crate) struct GovernanceState {
    pub(crate) proposals: Table<ProposalId, Proposal>,
    /// Stake by coldkey when the proposal was made; kept while it is open.
    pub(crate) snapshots: Table<(ProposalId, PublicKey), Alpha>,
    pub(crate) votes: Table<(ProposalId, PublicKey), Ballot>,
    /// Adopted run settings, in the order of their adoption.
    pub(crate) changes: Table<u32, SettingChange>,
    // Derived: the proposals that are open.
    pub(crate) open: BTreeSet<ProposalId>,
}

impl GovernanceState {
    /// Its tables, under their numbers in the store.
    pub fn tables(&mut self) -> NumberedTables<'_> {
        vec![(32, &mut self.proposals), (33, &mut self.snapshots), (34, &mut self.votes), (35, &mut self.changes)]
    }

    /// Rebuilds what is derived, after the tables were restored.
    pub fn index(&mut self) {
        let open = self.proposals.iter().filter(|(_, proposal)| proposal.status == Status::Open);
        self.open = open.map(|(id, _)| *id).collect();
    }
}
