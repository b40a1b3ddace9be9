//! Where everything that is shown comes from.

use crate::{GatewayUrl, ProcessMetrics, RecordFile};
use std::sync::Arc;
use templar_chain::{NodeChain, PublicChain};
use templar_record::{PackedRecord, PublicRecord, Rules};

/// Missing things of a record file that are shown.
const MOST_GAPS: usize = 100;

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
    /// The metrics of the processes of a network on this machine, which are served beside the run's.
    pub processes: Option<Arc<ProcessMetrics>>,
    /// The file that both are read from; none where they are live.
    pub file: Option<RecordFile>,
}

impl Source {
    /// The record of a run on its ledger.
    pub fn new(run: Rules, chain: Arc<dyn PublicChain>) -> Self {
        let nodes: Arc<dyn NodeChain> = Arc::clone(&chain) as Arc<dyn NodeChain>;
        let record = PublicRecord::new(nodes, run.genesis.netuid);
        Self { run, record, chain, gateway: None, processes: None, file: None }
    }

    /// The record out of a file; nothing else is contacted.
    pub fn of_file(packed: &PackedRecord) -> Self {
        let facts = packed.facts();
        let file = RecordFile {
            record: packed.root(),
            block: facts.head,
            made_by: facts.made_by.chars().take(120).collect(),
            gaps: facts.gaps.iter().take(MOST_GAPS).cloned().collect(),
        };
        let (run, record, chain) = (packed.run().clone(), packed.record(), packed.chain());
        Self { run, record, chain, gateway: None, processes: None, file: Some(file) }
    }
}
