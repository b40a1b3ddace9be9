//! What a ledger has done since it was opened, for its metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use templar_base::Tally;
#[cfg(feature = "server")]
use templar_base::{Exposition, MetricKind};
use templar_chain::{MempoolError, Receipt};

/// Counters of a ledger.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    queued: AtomicU64,
    rejected: Tally<1>,
    included: Tally<1>,
    refused: Tally<1>,
    blocks: AtomicU64,
    block_bytes: AtomicU64,
    block_failures: AtomicU64,
}

impl Counts {
    /// A transaction came that was not there before, or was not taken.
    pub(crate) fn came(&self, inserted: &Result<bool, MempoolError>) {
        match inserted {
            Ok(is_new) => drop(self.queued.fetch_add(u64::from(*is_new), Ordering::Relaxed)),
            Err(error) => self.rejected.add([error.name()], 1),
        }
    }

    /// A block was made of this many bytes, with these receipts.
    pub(crate) fn made(&self, bytes: usize, receipts: &[Receipt]) {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.block_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        for receipt in receipts {
            match &receipt.result {
                Ok(()) => self.included.add(["applied"], 1),
                Err(refusal) => {
                    self.included.add(["refused"], 1);
                    self.refused.add([refusal.name()], 1);
                }
            }
        }
    }

    /// A block could not be made or stored.
    pub(crate) fn failed(&self) {
        self.block_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes the counters.
    #[cfg(feature = "server")]
    pub(crate) fn write(&self, all: &mut Exposition) {
        let mut count = |name: &str, help: &str, value: &AtomicU64| {
            all.one(name, MetricKind::Counter, help, Some(value.load(Ordering::Relaxed) as f64));
        };
        count("templar_ledger_blocks_total", "Blocks that were made.", &self.blocks);
        count("templar_ledger_block_bytes_total", "Bytes of these blocks.", &self.block_bytes);
        let help = "Blocks that could not be made or stored; each is retried.";
        count("templar_ledger_block_failures_total", help, &self.block_failures);
        let help = "Transactions that were taken into the queue.";
        count("templar_ledger_queued_transactions_total", help, &self.queued);
        let help = "Transactions that were not taken into the queue, by reason.";
        self.rejected.write(all, "templar_ledger_rejected_transactions_total", help, ["reason"]);
        let help = "Transactions in blocks, by outcome.";
        self.included.write(all, "templar_ledger_transactions_total", help, ["outcome"]);
        let help = "Of those, the refused ones, by the chain's name of the reason.";
        self.refused.write(all, "templar_ledger_refused_transactions_total", help, ["reason"]);
    }
}
