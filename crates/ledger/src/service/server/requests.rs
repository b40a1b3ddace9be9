//! What a ledger's server was asked, for its metrics.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use templar_base::{Exposition, MetricKind, Tally};

/// The name under which methods that do not exist are counted: a label has no stranger's words.
const UNKNOWN: &str = "unknown";

/// Requests by method and outcome.
#[derive(Debug, Default)]
pub(super) struct Requests {
    methods: BTreeSet<&'static str>,
    answered: Tally<2>,
    answer_bytes: AtomicU64,
}

impl Requests {
    /// No requests yet, to these methods.
    pub fn to(methods: impl IntoIterator<Item = &'static str>) -> Self {
        Self { methods: methods.into_iter().collect(), ..Self::default() }
    }

    /// The method's name, or one for all that do not exist.
    pub fn name_of(&self, method: &str) -> &'static str {
        self.methods.get(method).copied().unwrap_or(UNKNOWN)
    }

    /// Counts a request.
    pub fn count(&self, method: &'static str, outcome: &'static str) {
        self.answered.add([method, outcome], 1);
    }

    /// Counts an answer.
    pub fn sent(&self, bytes: usize) {
        self.answer_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn write(&self, all: &mut Exposition) {
        let help = "Requests by method and outcome.";
        self.answered.write(all, "templar_ledger_requests_total", help, ["method", "outcome"]);
        let bytes = self.answer_bytes.load(Ordering::Relaxed) as f64;
        all.one("templar_ledger_answer_bytes_total", MetricKind::Counter, "Bytes of answers.", Some(bytes));
    }
}
