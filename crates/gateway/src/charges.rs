//! What was charged and brought to the ledger since the start, for the metrics.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use templar_base::Exposition;
use templar_base::MetricKind::{Counter, Gauge};

/// Sums of a gateway's accounts.
#[derive(Debug, Default)]
pub(crate) struct Charges(Mutex<Sums>);

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    /// Tokens that were charged.
    units: u64,
    /// Their price in thousandths of a rao.
    price: u128,
    /// Of the tokens, those that are known to be settled.
    settled: u64,
    /// When everything was settled last, in seconds of Unix time.
    settled_at: Option<f64>,
    failures: u64,
}

impl Charges {
    fn sums(&self) -> MutexGuard<'_, Sums> {
        // Numbers are written one by one; half of a change does no harm.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request was charged.
    pub(crate) fn charged(&self, units: u64, price_in_thousandths: u128) {
        let mut sums = self.sums();
        sums.units = sums.units.saturating_add(units);
        sums.price = sums.price.saturating_add(price_in_thousandths);
    }

    /// Tokens charged so far.
    pub(crate) fn units(&self) -> u64 {
        self.sums().units
    }

    /// What was charged when there were `units` is settled.
    pub(crate) fn settled(&self, units: u64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut sums = self.sums();
        (sums.settled, sums.settled_at) = (units, Some(now.as_secs_f64()));
    }

    /// The ledger did not take what was charged.
    pub(crate) fn failed(&self) {
        self.sums().failures += 1;
    }

    pub(crate) fn write(&self, all: &mut Exposition) {
        let sums = *self.sums();
        let mut count = |name: &str, help: &str, value: f64| all.one(name, Counter, help, Some(value));
        count("templar_gateway_charged_tokens_total", "Tokens that were charged.", sums.units as f64);
        let help = "Their price in rao, before what comes free with stake.";
        count("templar_gateway_charged_rao_total", help, sums.price as f64 / 1e3);
        let help = "Settlements that the ledger did not take; each is retried.";
        count("templar_gateway_settlement_failures_total", help, sums.failures as f64);
        let unsettled = sums.units.saturating_sub(sums.settled) as f64;
        let help = "Charged tokens that the ledger has not settled.";
        all.one("templar_gateway_unsettled_tokens", Gauge, help, Some(unsettled));
        let help = "When everything was settled last, in seconds of Unix time.";
        all.one("templar_gateway_settled_seconds", Gauge, help, sums.settled_at);
    }
}
