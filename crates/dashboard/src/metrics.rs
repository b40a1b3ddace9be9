//! The record as Prometheus reads it. Labels are numbers and hashes only, never words of a peer.

use crate::state::{RunFacts, SlotView, Snapshot};
use templar_base::Exposition;
use templar_base::MetricKind::{Counter, Gauge};

/// The metrics of a snapshot; `requests` are those answered and turned away, `streams` are open.
pub(crate) fn text(facts: &RunFacts, snapshot: &Snapshot, requests: (u64, u64), streams: usize) -> String {
    let mut all = Exposition::default();
    let run = [(facts.run.to_string(), 1.0)];
    all.labelled("templar_run_info", Gauge, "The run; its value is 1.", "run", run);
    write_run(&mut all, snapshot);
    slots(&mut all, &snapshot.slots);
    let price = snapshot.market.as_ref().map(|market| market.summary.price.as_rao() as f64);
    all.one("templar_price_rao", Gauge, "Price of a token in rao.", price);
    let (answered, turned_away) = (requests.0 as f64, requests.1 as f64);
    all.one("templar_dashboard_requests_total", Counter, "Requests that were answered.", Some(answered));
    let what = "Connections and streams without a place.";
    all.one("templar_dashboard_turned_away_total", Counter, what, Some(turned_away));
    all.one("templar_dashboard_streams", Gauge, "Live streams of events.", Some(streams as f64));
    all.into_text()
}

fn write_run(all: &mut Exposition, snapshot: &Snapshot) {
    let totals = snapshot.totals();
    let newest = snapshot.finished.values().next_back();
    let mut plain = |name: &str, what: &str, value: Option<f64>| all.one(name, Gauge, what, value);
    let head = snapshot.head;
    plain("templar_block", "The ledger's newest block.", head.map(|head| head.block.get() as f64));
    let window = head.and_then(|head| head.window).map(|window| window.get() as f64);
    plain("templar_window", "The window of the newest block.", window);
    let is_up = if snapshot.problem.is_none() && head.is_some() { 1.0 } else { 0.0 };
    plain("templar_ledger_up", "Whether the ledger answered the last time, 0 or 1.", Some(is_up));
    plain("templar_read_windows", "Finished windows that were read.", Some(totals.windows as f64));
    plain("templar_unread_windows", "Finished windows that wait to be read.", Some(snapshot.unread as f64));
    plain("templar_null_windows", "Read windows in which nothing was merged.", Some(totals.null_windows as f64));
    plain("templar_merged_tokens", "Tokens merged in the read windows.", Some(totals.tokens as f64));
    plain("templar_sealed_bytes", "Bytes sealed in the read windows.", Some(totals.sealed_bytes as f64));
    let finished = newest.map(|view| view.window.get() as f64);
    plain("templar_finished_window", "The newest finished window.", finished);
    let seconds = newest.and_then(|view| view.seconds);
    plain("templar_window_seconds", "Length of the newest finished window in seconds.", seconds);
    let tokens = newest.and_then(|view| view.tokens).map(|tokens| tokens as f64);
    plain("templar_window_tokens", "Tokens merged in the newest finished window.", tokens);
    let selected = newest.map(|view| view.selected.len() as f64);
    plain("templar_window_merged_payloads", "Payloads merged in the newest finished window.", selected);
    let sealed = newest.map(|view| view.miners.iter().filter(|miner| miner.sealed.is_some()).count() as f64);
    plain("templar_window_sealed_payloads", "Payloads sealed in the newest finished window.", sealed);
    let before = newest.and_then(|view| view.loss_before);
    let what = "Loss on the text of judgement at the newest finished window's start, in nats per token.";
    plain("templar_loss_before_nats", what, before);
    let after = newest.and_then(|view| view.loss_after);
    plain("templar_loss_after_nats", "The same after the window's step, in nats per token.", after);
    plain("templar_electors", "Slots whose stake counts.", Some(totals.electors as f64));
    let what = "Validators that reported the agreed state after the newest finished window.";
    plain("templar_validators_in_sync", what, Some(totals.in_sync as f64));
    let what = "Validators that reported any state after it.";
    plain("templar_validators_reporting", what, Some(totals.reports as f64));
}

fn slots(all: &mut Exposition, slots: &[SlotView]) {
    let mut by_uid = |name: &str, what: &str, of: &dyn Fn(&SlotView) -> Option<f64>| {
        let values = slots.iter().filter_map(|own| Some((own.uid.to_string(), of(own)?)));
        all.labelled(name, Gauge, what, "uid", values);
    };
    let error = |own: &SlotView| own.contribution.map(|own| own.error);
    by_uid("templar_stake_rao", "What a slot's stake counts for.", &|own| Some(own.stake_rao.as_rao() as f64));
    by_uid("templar_emission_rao", "Pay for the last epoch.", &|own| Some(own.emission_rao.as_rao() as f64));
    by_uid("templar_incentive", "Part of the miners' pay, 0 to 1.", &|own| Some(own.incentive));
    by_uid("templar_rating", "Newest rating; 1 is an equal share.", &|own| own.rating.map(|own| own.mean));
    let what = "Newest contribution in nats.";
    by_uid("templar_contribution_nats", what, &|own| own.contribution.map(|own| own.mean));
    by_uid("templar_contribution_error_nats", "Its standard error in nats.", &error);
}
