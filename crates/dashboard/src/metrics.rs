//! The record as Prometheus reads it. Labels are numbers and hashes only, never words of a peer.

use crate::state::{RunFacts, SlotView, Snapshot};
use std::fmt::Write;

/// The metrics of a snapshot; `requests` are those answered and turned away, `streams` are open.
pub(crate) fn text(facts: &RunFacts, snapshot: &Snapshot, requests: (u64, u64), streams: usize) -> String {
    let totals = snapshot.totals();
    let newest = snapshot.finished.values().next_back();
    let mut all = Metrics(String::new());
    all.one("templar_run_info", "gauge", "The run; its value is 1.", &format!("{{run=\"{}\"}}", facts.run), Some(1.0));
    let head = snapshot.head;
    all.plain("templar_block", "The ledger's newest block.", head.map(|head| head.block.get() as f64));
    let window = head.and_then(|head| head.window).map(|window| window.get() as f64);
    all.plain("templar_window", "The window of the newest block.", window);
    let is_up = if snapshot.problem.is_none() && head.is_some() { 1.0 } else { 0.0 };
    all.plain("templar_ledger_up", "Whether the ledger answered the last time, 0 or 1.", Some(is_up));
    all.plain("templar_read_windows", "Finished windows that were read.", Some(totals.windows as f64));
    all.plain("templar_unread_windows", "Finished windows that wait to be read.", Some(snapshot.unread as f64));
    all.plain("templar_null_windows", "Read windows in which nothing was merged.", Some(totals.null_windows as f64));
    all.plain("templar_merged_tokens", "Tokens merged in the read windows.", Some(totals.tokens as f64));
    all.plain("templar_sealed_bytes", "Bytes sealed in the read windows.", Some(totals.sealed_bytes as f64));
    let finished = newest.map(|view| view.window.get() as f64);
    all.plain("templar_finished_window", "The newest finished window.", finished);
    let seconds = newest.and_then(|view| view.seconds);
    all.plain("templar_window_seconds", "Length of the newest finished window in seconds.", seconds);
    let tokens = newest.and_then(|view| view.tokens).map(|tokens| tokens as f64);
    all.plain("templar_window_tokens", "Tokens merged in the newest finished window.", tokens);
    let selected = newest.map(|view| view.selected.len() as f64);
    all.plain("templar_window_merged_payloads", "Payloads merged in the newest finished window.", selected);
    let sealed = newest.map(|view| view.miners.iter().filter(|miner| miner.sealed.is_some()).count() as f64);
    all.plain("templar_window_sealed_payloads", "Payloads sealed in the newest finished window.", sealed);
    let before = newest.and_then(|view| view.loss_before);
    let what = "Loss on the text of judgement at the newest finished window's start, in nats per token.";
    all.plain("templar_loss_before_nats", what, before);
    let after = newest.and_then(|view| view.loss_after);
    all.plain("templar_loss_after_nats", "The same after the window's step, in nats per token.", after);
    all.plain("templar_electors", "Slots whose stake counts.", Some(totals.electors as f64));
    let what = "Validators that reported the agreed state after the newest finished window.";
    all.plain("templar_validators_in_sync", what, Some(totals.in_sync as f64));
    let what = "Validators that reported any state after it.";
    all.plain("templar_validators_reporting", what, Some(totals.reports as f64));
    slots(&mut all, &snapshot.slots);
    let price = snapshot.market.as_ref().map(|market| market.summary.price.as_rao() as f64);
    all.plain("templar_price_rao", "Price of a token in rao.", price);
    all.count("templar_dashboard_requests_total", "Requests that were answered.", requests.0);
    all.count("templar_dashboard_turned_away_total", "Connections and streams without a place.", requests.1);
    all.plain("templar_dashboard_streams", "Live streams of events.", Some(streams as f64));
    all.0
}

fn slots(all: &mut Metrics, slots: &[SlotView]) {
    let error = |own: &SlotView| own.contribution.map(|own| own.error);
    all.slots("templar_stake_rao", "What a slot's stake counts for.", slots, |own| Some(own.stake_rao.as_rao() as f64));
    all.slots("templar_emission_rao", "Pay for the last epoch.", slots, |own| Some(own.emission_rao.as_rao() as f64));
    all.slots("templar_incentive", "Part of the miners' pay, 0 to 1.", slots, |own| Some(own.incentive));
    all.slots("templar_rating", "Newest rating; 1 is an equal share.", slots, |own| own.rating.map(|own| own.mean));
    let what = "Newest contribution in nats.";
    all.slots("templar_contribution_nats", what, slots, |own| own.contribution.map(|own| own.mean));
    all.slots("templar_contribution_error_nats", "Its standard error in nats.", slots, error);
}

/// The text so far.
struct Metrics(String);

impl Metrics {
    fn head(&mut self, name: &str, kind: &str, what: &str) {
        // Writing into a string cannot fail.
        let _ = write!(self.0, "# HELP {name} {what}\n# TYPE {name} {kind}\n");
    }

    fn value(&mut self, name: &str, labels: &str, value: f64) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, what: &str, labels: &str, value: Option<f64>) {
        // What is not known has no value: a zero would be one.
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.head(name, kind, what);
            self.value(name, labels, value);
        }
    }

    fn plain(&mut self, name: &str, what: &str, value: Option<f64>) {
        self.one(name, "gauge", what, "", value);
    }

    fn count(&mut self, name: &str, what: &str, value: u64) {
        self.one(name, "counter", what, "", Some(value as f64));
    }

    fn slots(&mut self, name: &str, what: &str, slots: &[SlotView], of: impl Fn(&SlotView) -> Option<f64>) {
        let values = slots.iter().filter_map(|own| Some((own.uid, of(own).filter(|value| value.is_finite())?)));
        let values: Vec<_> = values.collect();
        if values.is_empty() {
            return;
        }
        self.head(name, "gauge", what);
        for (uid, value) in values {
            self.value(name, &format!("{{uid=\"{uid}\"}}"), value);
        }
    }
}
