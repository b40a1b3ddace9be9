//! Where everything that is shown comes from.

use crate::GatewayUrl;
use std::sync::Arc;
use templar_chain::{NodeChain, PublicChain};
use templar_record::{PublicRecord, Rules};

/// A run's public record, and what its ledger offers besides: market, votes, balances. Needs no key, and writes nothing.
#[derive(Clone)]
pub struct Source {
    /// The run's rules.
    pub run: Rules,
    /// Its ledger and the buckets that the ledger names.
    pub record: PublicRecord,
    /// The same ledger.
    pub chain: Arc<dyn PublicChain>,
    /// A gateway that serves the run's model, where one is known.
    pub gateway: Option<GatewayUrl>,
}

impl Source {
    /// The record of a run on its ledger.
    pub fn new(run: Rules, chain: Arc<dyn PublicChain>) -> Self {
        let nodes: Arc<dyn NodeChain> = Arc::clone(&chain) as Arc<dyn NodeChain>;
        let record = PublicRecord::new(nodes, run.genesis.netuid);
        Self { run, record, chain, gateway: None }
    }
}
