//! Numbers of a gateway, for Prometheus. Labels are words of the program: nothing of what clients send is in them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use templar_base::MetricKind::{Counter, Gauge};
use templar_base::{Exposition, Histogram, Tally};

use crate::answer::Usage;
use crate::request::Kind;
use crate::routes::{Admission, State};

/// Bounds of the time to the first token, in seconds.
const FIRST_TOKEN_BOUNDS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 150.0, 300.0];

/// What is counted as requests are answered.
#[derive(Debug)]
pub(crate) struct Counts {
    requests: Tally<2>,
    read: AtomicU64,
    written: AtomicU64,
    first_token: Histogram,
    models: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            requests: Tally::default(),
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            first_token: Histogram::new(FIRST_TOKEN_BOUNDS),
            models: AtomicU64::new(0),
        }
    }
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

impl Counts {
    /// A request ended.
    pub(crate) fn ended(&self, operation: &'static str, outcome: &'static str) {
        self.requests.add([operation, outcome], 1);
    }

    /// A model is served from now on.
    pub(crate) fn serves(&self) {
        add(&self.models, 1);
    }
}

/// What a request for texts is called.
pub(crate) fn operation_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Chat => "chat",
        Kind::Completion => "completion",
    }
}

/// A request for texts, from its head to the end of its answer.
pub(crate) struct Watch {
    pub(crate) counts: Arc<Counts>,
    pub(crate) kind: Kind,
    pub(crate) began: Instant,
    pub(crate) has_token: bool,
}

impl Watch {
    /// A token was written.
    pub(crate) fn token(&mut self) {
        if !std::mem::replace(&mut self.has_token, true) {
            self.counts.first_token.observe(self.began.elapsed().as_secs_f64());
        }
    }

    /// The answer ended, and this was read and written for it.
    pub(crate) fn ended(&self, outcome: &'static str, usage: &Usage) {
        self.counts.ended(operation_of(self.kind), outcome);
        add(&self.counts.read, usage.prompt);
        add(&self.counts.written, usage.completion);
    }
}

/// The metrics of a gateway; they do not keep it running.
#[derive(Clone)]
pub struct GatewayMetrics(pub(crate) Weak<State>);

impl fmt::Debug for GatewayMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GatewayMetrics")
    }
}

impl GatewayMetrics {
    /// The metrics in Prometheus' text format; empty where the gateway has ended.
    pub fn text(&self) -> String {
        self.0.upgrade().map(|state| text(&state)).unwrap_or_default()
    }
}

fn text(state: &State) -> String {
    let mut all = Exposition::default();
    let counts = &state.counts;
    let help = "Requests by operation and outcome.";
    counts.requests.write(&mut all, "templar_gateway_requests_total", help, ["operation", "outcome"]);
    let tokens = [("read", &counts.read), ("written", &counts.written)];
    let tokens = tokens.map(|(way, sum)| (way.to_owned(), sum.load(Ordering::Relaxed) as f64));
    let help = "Tokens of answers that ended: of their prompts, and of their texts.";
    all.labelled("templar_gateway_tokens_total", Counter, help, "direction", tokens);
    let help = "Seconds from a request's head to its first token.";
    counts.first_token.write(&mut all, "templar_gateway_first_token_seconds", help);
    write_load(&mut all, state);
    let served = state.current();
    let is_ready = f64::from(u8::from(served.is_some()));
    all.one("templar_gateway_ready", Gauge, "Whether there is a model to serve, 0 or 1.", Some(is_ready));
    let window = served.and_then(|model| model.identity.window).map(|window| window.get() as f64);
    let help = "The window whose start the served checkpoint is.";
    all.one("templar_gateway_window", Gauge, help, window);
    let models = counts.models.load(Ordering::Relaxed) as f64;
    all.one("templar_gateway_models_total", Counter, "Models that were taken into service.", Some(models));
    if let Admission::Prepaid { billing, .. } = &state.admission {
        billing.charges().write(&mut all);
    }
    all.into_text()
}

fn write_load(all: &mut Exposition, state: &State) {
    let load = state.scheduler.load();
    let mut gauge = |name: &str, help: &str, value: usize| all.one(name, Gauge, help, Some(value as f64));
    gauge("templar_gateway_running_texts", "Texts that are written at once: the batch.", load.running);
    gauge("templar_gateway_waiting_texts", "Texts that wait for their turn.", load.waiting);
    gauge("templar_gateway_connections", "Open connections.", state.places.count());
    let mut count = |name: &str, help: &str, value: u64| all.one(name, Counter, help, Some(value as f64));
    let help = "Tokens that the engine has written; over passes, the mean batch.";
    count("templar_gateway_engine_tokens_total", help, load.tokens);
    count("templar_gateway_passes_total", "Passes of the engine that wrote tokens.", load.passes);
    let help = "Connections for which there was no place.";
    count("templar_gateway_rejected_connections_total", help, state.places.rejected());
}

#[cfg(test)]
mod tests {
    /// The page on metrics names each of them.
    #[test]
    fn the_page_on_metrics_holds() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md")).unwrap();
        let sources = [include_str!("metrics.rs"), include_str!("charges.rs")];
        let names = sources.iter().flat_map(|text| text.split('"')).filter(|text| text.starts_with("templar_gateway_"));
        for name in names.filter(|name| *name != "templar_gateway_") {
            assert!(page.contains(&format!("`{name}`")), "docs/metrics.md lacks {name}");
        }
    }
}
