//! Numbers of a ledger that is served, for Prometheus.

use super::limits::Clients;
use super::requests::Requests;
use crate::service::authority::Ledger;
use crate::service::local::LocalChain;
use std::fmt;
use std::sync::Arc;
use templar_base::Exposition;
use templar_base::MetricKind::{Counter, Gauge};

/// The metrics of a server. While one is held, so is the ledger.
#[derive(Clone)]
pub struct LedgerMetrics {
    pub(super) chain: LocalChain,
    pub(super) clients: Arc<Clients>,
    pub(super) requests: Arc<Requests>,
}

impl fmt::Debug for LedgerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LedgerMetrics")
    }
}

impl LedgerMetrics {
    /// The metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut all = Exposition::default();
        self.chain.with(|ledger| write_ledger(&mut all, ledger));
        self.requests.write(&mut all);
        let crowd = self.clients.crowd();
        let kinds = [("known", crowd.connections - crowd.strangers), ("stranger", crowd.strangers)];
        let kinds = kinds.map(|(kind, count)| (kind.to_owned(), f64::from(count)));
        let help = "Open connections: of this machine and of networks of registered keys, and of strangers.";
        all.labelled("templar_ledger_connections", Gauge, help, "client", kinds);
        let help = "Networks with open connections, this machine aside.";
        all.one("templar_ledger_peers", Gauge, help, Some(crowd.networks as f64));
        let help = "Connections for which there was no place.";
        all.one("templar_ledger_rejected_connections_total", Counter, help, Some(crowd.rejected as f64));
        all.into_text()
    }
}

fn write_ledger(all: &mut Exposition, ledger: &Ledger) {
    let (head, pool) = (ledger.head(), ledger.pool());
    let mut gauge = |name: &str, help: &str, value: Option<f64>| all.one(name, Gauge, help, value);
    let help = "The newest block; it is final, since one authority makes all blocks.";
    gauge("templar_ledger_block", help, Some(head.number.get() as f64));
    let help = "When the newest block was made, in seconds of Unix time.";
    gauge("templar_ledger_block_seconds", help, Some(head.time_ms as f64 / 1e3));
    let oldest = ledger.oldest().ok().map(|oldest| oldest.get() as f64);
    gauge("templar_ledger_oldest_block", "The oldest block that is kept.", oldest);
    gauge("templar_ledger_store_bytes", "Bytes of the ledger's file.", ledger.store_bytes().map(|bytes| bytes as f64));
    let waiting = [("lane", pool.lane.0), ("paying", pool.paying.0)];
    let waiting = waiting.map(|(lane, count)| (lane.to_owned(), count as f64));
    let help = "Transactions that wait for a block: commitments and weights of registered hotkeys, and all others.";
    all.labelled("templar_ledger_waiting_transactions", Gauge, help, "kind", waiting);
    let bytes = [("lane", pool.lane.1), ("paying", pool.paying.1)].map(|(lane, sum)| (lane.to_owned(), sum as f64));
    all.labelled("templar_ledger_waiting_bytes", Gauge, "Their bytes.", "kind", bytes);
    ledger.counts().write(all);
}
