//! Numbers of a running node, for Prometheus. What they are made of is what the node does anyway: its journal, its status
//! twice a second, and what its buckets carry. Nothing on the way of a step or of a download takes a lock for them.

use crate::{JournalEntry, MinerLine, NodeStatus};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use templar_base::MetricKind::{Counter, Gauge};
use templar_base::{Alpha, Exposition, Rao, Window};
use templar_bucket::TrafficObserver;
use templar_round::Role;

/// Whose bucket an object is in follows from what it is.
const CLASSES: [&str; 3] = ["miner", "validator", "other"];
/// Miners of the newest judgement whose numbers are shown.
const MOST_MINERS: usize = 1_024;

/// What waits and runs in a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Queues {
    /// Events that wait for the machine.
    pub(crate) events: usize,
    /// Tasks under way.
    pub(crate) tasks: usize,
    /// Heavy work that runs, and the places for it.
    pub(crate) heavy: (usize, usize),
}

/// What the ledger says of a node's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balances {
    /// Stake behind the hotkey.
    pub stake: Alpha,
    /// Pay for the last epoch.
    pub emission: Alpha,
    /// The coldkey's free balance; none where it was not read.
    pub free: Option<Rao>,
}

/// Counters that any thread raises.
#[derive(Debug, Default)]
struct Traffic {
    received: [AtomicU64; CLASSES.len()],
    sent: [AtomicU64; CLASSES.len()],
    failed: [AtomicU64; OPERATIONS.len()],
}

const OPERATIONS: [&str; 6] = ["get", "put", "head", "list", "delete", "sign"];

/// What the journal and the status say, as they come: a few times a window, and twice a second.
#[derive(Debug, Default)]
struct Told {
    status: Option<NodeStatus>,
    queues: Queues,
    rating: Option<f64>,
    balances: Option<Balances>,
    /// Seconds in each activity; activities are a few fixed words.
    activities: BTreeMap<String, f64>,
    status_at: Option<Instant>,
    applied: u64,
    null: u64,
    skipped: u64,
    diverged: u64,
    restored: u64,
    warnings: u64,
    checkpoints: u64,
    sealed: u64,
    sealed_bytes: u64,
    steps: u64,
    sealed_loss: Option<f64>,
    bits_per_value: Option<f64>,
    judged: u64,
    judge_seconds: f64,
    last_judge_seconds: Option<f64>,
    heldout: Option<(Window, f64)>,
    miners: Vec<MinerLine>,
    is_selected: Option<bool>,
    own: Option<MinerLine>,
    applied_at: Option<Instant>,
    window_seconds: Option<f64>,
    audits: u64,
    faults: u64,
}

/// The metrics of one node. Shared between the node and whoever serves them.
#[derive(Debug, Default)]
pub struct NodeMetrics {
    traffic: Traffic,
    told: Mutex<Told>,
}

/// The class of an object's owner, by its key.
fn class_of(key: &str) -> usize {
    let mut parts = key.split('/');
    match (parts.next(), parts.nth(1)) {
        (Some("window"), Some("payload" | "reveal" | "audit" | "audit-state")) => 0,
        // A large object's parts are below its key.
        (Some("window"), Some(name)) if name.starts_with("payload.parts") => 0,
        (Some("window" | "checkpoint"), Some(_)) => 1,
        _ => 2,
    }
}

fn add(counters: &[AtomicU64], index: usize, bytes: u64) {
    if let Some(counter) = counters.get(index) {
        counter.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl TrafficObserver for NodeMetrics {
    fn received(&self, key: &str, bytes: u64) {
        add(&self.traffic.received, class_of(key), bytes);
    }

    fn sent(&self, key: &str, bytes: u64) {
        add(&self.traffic.sent, class_of(key), bytes);
    }

    fn failed(&self, operation: &'static str) {
        let index = OPERATIONS.iter().position(|known| *known == operation);
        add(&self.traffic.failed, index.unwrap_or(OPERATIONS.len()), 1);
    }
}

impl NodeMetrics {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        // Numbers are written one by one; half of an entry does no harm.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what the ledger says of the node's keys.
    pub fn set_balances(&self, balances: Balances) {
        self.told().balances = Some(balances);
    }

    /// Takes note of an entry of the journal.
    pub(crate) fn note(&self, entry: &JournalEntry) {
        let mut told = self.told();
        match entry {
            JournalEntry::Sealed { steps, loss, payload_bytes, bits_per_value, .. } => {
                told.sealed += 1;
                told.steps += u64::from(*steps);
                told.sealed_bytes += payload_bytes;
                told.sealed_loss = Some(f64::from(*loss));
                told.bits_per_value = Some(*bits_per_value);
            }
            JournalEntry::Judged { miners, milliseconds, .. } => {
                let seconds = *milliseconds as f64 / 1e3;
                told.judged += 1;
                told.judge_seconds += seconds;
                told.last_judge_seconds = Some(seconds);
                told.miners = miners.iter().take(MOST_MINERS).cloned().collect();
            }
            JournalEntry::Verdict { standing, contribution, standard_error, rating, .. } => {
                told.is_selected = Some(standing == "selected");
                let uid = told.status.as_ref().map(|status| status.uid).unwrap_or_default();
                let (contribution, standard_error, rating) = (*contribution, *standard_error, *rating);
                let standing = standing.clone();
                told.own = Some(MinerLine { uid, standing, contribution, standard_error, rating, tokens: 0 });
            }
            JournalEntry::Applied { selected, .. } => {
                let now = Instant::now();
                told.applied += 1;
                told.null += u64::from(selected.is_empty());
                told.window_seconds = told.applied_at.map(|before| now.duration_since(before).as_secs_f64());
                told.applied_at = Some(now);
            }
            JournalEntry::HeldOut { window, loss } => told.heldout = Some((*window, *loss)),
            JournalEntry::Skipped { .. } => told.skipped += 1,
            JournalEntry::Diverged { .. } => told.diverged += 1,
            JournalEntry::Restored { .. } => told.restored += 1,
            JournalEntry::Warning { .. } => told.warnings += 1,
            JournalEntry::Checkpoint { .. } => told.checkpoints += 1,
            JournalEntry::Audited { finding, .. } => {
                told.audits += 1;
                told.faults += u64::from(finding.is_fault());
            }
            JournalEntry::Started { .. }
            | JournalEntry::Evaluated { .. }
            | JournalEntry::EvaluationDropped { .. }
            | JournalEntry::Weights { .. }
            | JournalEntry::AuditAnswered { .. }
            | JournalEntry::EvidenceConfirmed { .. }
            | JournalEntry::AuditUnanswered { .. } => {}
        }
    }

    /// Takes note of where the node stands.
    pub(crate) fn set_status(&self, status: &NodeStatus, queues: Queues, rating: Option<f64>) {
        let now = Instant::now();
        let mut told = self.told();
        let since = told.status_at.replace(now).map_or(0.0, |before| now.duration_since(before).as_secs_f64());
        *told.activities.entry(status.activity.clone()).or_default() += since;
        told.status = Some(status.clone());
        (told.queues, told.rating) = (queues, rating);
    }

    /// The metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut all = Exposition::default();
        let told = self.told();
        told.write_position(&mut all);
        told.write_windows(&mut all);
        told.write_work(&mut all);
        told.write_miners(&mut all);
        told.write_balances(&mut all);
        drop(told);
        let sent = CLASSES.iter().zip(&self.traffic.sent).map(|(class, sum)| ("sent", *class, sum));
        let received = CLASSES.iter().zip(&self.traffic.received).map(|(class, sum)| ("received", *class, sum));
        let sample = |(direction, class, sum): (&str, &str, &AtomicU64)| {
            let labels = vec![("direction", direction.to_owned()), ("peer", class.to_owned())];
            (labels, sum.load(Ordering::Relaxed) as f64)
        };
        let help = "Bytes of objects, by direction and by whose bucket they are in.";
        all.samples("templar_node_bytes_total", Counter, help, sent.chain(received).map(sample));
        let failed = OPERATIONS.iter().zip(&self.traffic.failed);
        let failed = failed.map(|(operation, sum)| ((*operation).to_owned(), sum.load(Ordering::Relaxed) as f64));
        let help = "Attempts at buckets that failed and were retried or given up, by operation.";
        all.labelled("templar_node_bucket_failures_total", Counter, help, "operation", failed);
        all.into_text()
    }
}

impl Told {
    fn write_position(&self, all: &mut Exposition) {
        let Some(status) = &self.status else { return };
        let role = if status.role == Role::Miner { "miner" } else { "validator" };
        let labels = vec![("role", role.to_owned()), ("uid", status.uid.to_string())];
        all.samples("templar_node_info", Gauge, "The node; its value is 1.", [(labels, 1.0)]);
        let mut gauge = |name: &str, help: &str, value: Option<f64>| all.one(name, Gauge, help, value);
        gauge("templar_node_block", "The newest block that the node knows.", Some(status.head.get() as f64));
        let help = "The window whose start the node's parameters are.";
        gauge("templar_node_window", help, Some(status.next.get() as f64));
        let help = "When the node was alive last, in seconds of Unix time.";
        gauge("templar_node_alive_seconds", help, Some(status.time_ms as f64 / 1e3));
        let doing = self.activities.iter().map(|(activity, seconds)| (activity.clone(), *seconds));
        let help = "Seconds in each activity.";
        all.labelled("templar_node_activity_seconds_total", Counter, help, "activity", doing);
    }

    fn write_windows(&self, all: &mut Exposition) {
        let mut count = |name: &str, help: &str, value: u64| all.one(name, Counter, help, Some(value as f64));
        count("templar_node_windows_total", "Windows whose outcome was applied.", self.applied);
        count("templar_node_null_windows_total", "Of those, the ones in which nothing was merged.", self.null);
        count("templar_node_skipped_windows_total", "Windows that went by without this node.", self.skipped);
        count("templar_node_diverged_total", "Times that the state was not the agreed one.", self.diverged);
        count("templar_node_restored_total", "Checkpoints that were fetched and installed.", self.restored);
        count("templar_node_checkpoints_total", "Checkpoints that were published.", self.checkpoints);
        count("templar_node_warnings_total", "Warnings in the journal.", self.warnings);
        let help = "Seconds between the last two outer steps.";
        all.one("templar_node_window_seconds", Gauge, help, self.window_seconds);
        let loss = self.heldout.map(|(_, loss)| loss);
        let help = "Newest loss on held-out text in nats per token.";
        all.one("templar_node_heldout_loss_nats", Gauge, help, loss);
    }

    fn write_work(&self, all: &mut Exposition) {
        let mut gauge = |name: &str, help: &str, value: Option<f64>| all.one(name, Gauge, help, value);
        gauge("templar_node_queued_events", "Events that wait for the machine.", Some(self.queues.events as f64));
        gauge("templar_node_tasks", "Tasks under way.", Some(self.queues.tasks as f64));
        gauge("templar_node_heavy_running", "Heavy work that runs.", Some(self.queues.heavy.0 as f64));
        gauge("templar_node_heavy_places", "Places for heavy work.", Some(self.queues.heavy.1 as f64));
        match self.status.as_ref().map(|status| (status.role, status)) {
            Some((Role::Miner, status)) => self.write_training(all, status),
            Some((Role::Validator, _)) => {
                let count = |value: u64| Some(value as f64);
                all.one("templar_node_judged_windows_total", Counter, "Windows that were judged.", count(self.judged));
                let help = "Seconds that judging took.";
                all.one("templar_node_judge_seconds_total", Counter, help, Some(self.judge_seconds));
                let help = "Seconds that the last judgement took.";
                all.one("templar_node_judge_seconds", Gauge, help, self.last_judge_seconds);
                all.one("templar_node_audits_total", Counter, "Payloads that were audited.", count(self.audits));
                let help = "Of those, the ones with a fault.";
                all.one("templar_node_audit_faults_total", Counter, help, count(self.faults));
            }
            None => {}
        }
    }

    fn write_training(&self, all: &mut Exposition, status: &NodeStatus) {
        let mut count = |name: &str, help: &str, value: f64| all.one(name, Counter, help, Some(value));
        count("templar_node_tokens_total", "Tokens that were trained.", status.tokens as f64);
        count("templar_node_training_seconds_total", "Seconds in inner steps.", status.training_seconds);
        count("templar_node_wall_seconds_total", "Seconds since the first inner step.", status.wall_seconds);
        count("templar_node_steps_total", "Inner steps of sealed windows.", self.steps as f64);
        count("templar_node_sealed_payloads_total", "Payloads that were sealed.", self.sealed as f64);
        count("templar_node_sealed_bytes_total", "Bytes of sealed payloads.", self.sealed_bytes as f64);
        let mut gauge = |name: &str, help: &str, value: Option<f64>| all.one(name, Gauge, help, value);
        let step = (self.steps > 0).then(|| status.training_seconds / self.steps as f64);
        gauge("templar_node_step_seconds", "Mean seconds of an inner step, by sealed windows.", step);
        let loss = status.loss.map(f64::from).or(self.sealed_loss);
        gauge("templar_node_training_loss_nats", "Training loss of the window at hand in nats per token.", loss);
        gauge("templar_node_bits_per_value", "Bits for each value of the last payload.", self.bits_per_value);
        let is_selected = self.is_selected.map(|is_selected| f64::from(u8::from(is_selected)));
        gauge("templar_node_selected", "Whether the last verdict selected the payload, 0 or 1.", is_selected);
    }

    fn write_miners(&self, all: &mut Exposition) {
        let lines = || self.miners.iter().chain(&self.own);
        let by_uid = |of: fn(&MinerLine) -> Option<f64>| {
            lines().filter_map(move |line| Some((line.uid.to_string(), of(line)?))).collect::<Vec<(String, f64)>>()
        };
        let help = "Contribution of a miner in the newest judgement in nats.";
        all.labelled("templar_node_contribution_nats", Gauge, help, "uid", by_uid(|line| line.contribution));
        let help = "Its standard error in nats.";
        all.labelled("templar_node_contribution_error_nats", Gauge, help, "uid", by_uid(|line| line.standard_error));
        let help = "Rating of a miner after it; 1 is an equal share.";
        all.labelled("templar_node_miner_rating", Gauge, help, "uid", by_uid(|line| line.rating));
        let help = "Agreed rating of this node's slot; 1 is an equal share.";
        all.one("templar_node_rating", Gauge, help, self.rating);
    }

    fn write_balances(&self, all: &mut Exposition) {
        let Some(balances) = self.balances else { return };
        let mut gauge = |name: &str, help: &str, value: u64| all.one(name, Gauge, help, Some(value as f64));
        gauge("templar_node_stake_rao", "Stake behind the hotkey.", balances.stake.as_rao());
        gauge("templar_node_emission_rao", "Pay for the last epoch.", balances.emission.as_rao());
        let free = balances.free.map(|free| free.as_rao() as f64);
        all.one("templar_node_free_rao", Gauge, "The coldkey's free balance.", free);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::now_ms;
    use std::collections::BTreeSet;
    use templar_base::{BlockNumber, StateHash, Uid};
    use templar_round::ObjectKey;
    use templar_testing::samples_of;

    fn status(role: Role) -> NodeStatus {
        NodeStatus {
            role,
            uid: Uid(3),
            head: BlockNumber(77),
            next: Window(5),
            state: StateHash::default(),
            activity: "in step".to_owned(),
            loss: Some(4.5),
            tokens: 1_000,
            training_seconds: 30.0,
            wall_seconds: 40.0,
            time_ms: now_ms(),
        }
    }

    fn miner(uid: u16) -> MinerLine {
        MinerLine {
            uid: Uid(uid),
            standing: "selected".to_owned(),
            contribution: Some(0.002),
            standard_error: Some(0.0004),
            rating: Some(1.25),
            tokens: 10,
        }
    }

    #[test]
    fn a_miner_tells_its_work_its_standing_and_its_traffic() {
        let metrics = NodeMetrics::default();
        metrics.set_status(&status(Role::Miner), Queues { events: 2, tasks: 3, heavy: (1, 4) }, Some(0.75));
        let (window, state) = (Window(4), StateHash::default());
        metrics.note(&JournalEntry::Sealed {
            window,
            steps: 10,
            tokens: 1_000,
            loss: 4.75,
            payload_bytes: 500,
            bits_per_value: 12.5,
            steps_before_rebase: 1,
        });
        metrics.note(&JournalEntry::Applied { window, selected: vec![Uid(3)], state });
        metrics.note(&JournalEntry::Applied { window: window.next(), selected: Vec::new(), state });
        let (contribution, standard_error, rating) = (Some(0.001), Some(0.0001), Some(0.5));
        metrics.note(&JournalEntry::Verdict {
            window,
            standing: "selected".to_owned(),
            contribution,
            standard_error,
            rating,
        });
        metrics.set_balances(Balances { stake: Alpha::from_rao(7), emission: Alpha::from_rao(8), free: None });
        metrics.sent(&ObjectKey::Payload(window).to_string(), 500);
        metrics.received(&ObjectKey::Aggregate(window).to_string(), 900);
        metrics.failed("get");
        let all = samples_of(&metrics.text());
        let wanted = [
            ("templar_node_info{role=\"miner\",uid=\"3\"}", 1.0),
            ("templar_node_window", 5.0),
            ("templar_node_windows_total", 2.0),
            ("templar_node_null_windows_total", 1.0),
            ("templar_node_step_seconds", 3.0),
            ("templar_node_queued_events", 2.0),
            ("templar_node_heavy_places", 4.0),
            ("templar_node_contribution_nats{uid=\"3\"}", 0.001),
            ("templar_node_rating", 0.75),
            ("templar_node_stake_rao", 7.0),
            ("templar_node_bytes_total{direction=\"sent\",peer=\"miner\"}", 500.0),
            ("templar_node_bytes_total{direction=\"received\",peer=\"validator\"}", 900.0),
            ("templar_node_bucket_failures_total{operation=\"get\"}", 1.0),
        ];
        for (name, value) in wanted {
            assert_eq!(all.get(name), Some(&value), "{name} in {all:?}");
        }
        assert!(!all.contains_key("templar_node_free_rao"), "what is not known has no value");
        assert!(!all.keys().any(|name| name.contains("judge")), "a miner judges nothing");
    }

    #[test]
    fn a_validator_tells_what_it_found_of_each_miner() {
        let metrics = NodeMetrics::default();
        assert!(samples_of(&metrics.text()).contains_key("templar_node_windows_total"), "before its first status");
        metrics.set_status(&status(Role::Validator), Queues::default(), None);
        let (miners, selected) = (vec![miner(4), miner(5)], vec![Uid(4)]);
        metrics.note(&JournalEntry::Judged { window: Window(4), miners, selected, tokens: 20, milliseconds: 2_500 });
        metrics.note(&JournalEntry::HeldOut { window: Window(5), loss: 5.5 });
        let all = samples_of(&metrics.text());
        for (name, value) in [
            ("templar_node_judge_seconds", 2.5),
            ("templar_node_heldout_loss_nats", 5.5),
            ("templar_node_contribution_nats{uid=\"5\"}", 0.002),
            ("templar_node_miner_rating{uid=\"4\"}", 1.25),
        ] {
            assert_eq!(all.get(name), Some(&value), "{name} in {all:?}");
        }
    }

    /// The page on metrics names each of them.
    #[test]
    fn the_page_on_metrics_holds() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md")).unwrap();
        let source = include_str!("metrics.rs");
        let names: BTreeSet<&str> =
            source.split('"').filter(|text| text.starts_with("templar_node_") && !text.contains('{')).collect();
        assert!(names.len() > 30, "{names:?}");
        for name in names.iter().filter(|name| **name != "templar_node_") {
            assert!(page.contains(&format!("`{name}`")), "docs/metrics.md lacks {name}");
        }
    }

    #[test]
    fn an_objects_key_tells_whose_it_is() {
        let window = Window(7);
        let class = |key: &str| CLASSES[class_of(key)];
        for key in [ObjectKey::Payload(window), ObjectKey::Reveal(window), ObjectKey::Audit(window, Uid(1))] {
            assert_eq!(class(&key.to_string()), "miner", "{key}");
        }
        let of_validators = [
            ObjectKey::Verdict(window),
            ObjectKey::Aggregate(window),
            ObjectKey::Evidence(window, Uid(1)),
            ObjectKey::CheckpointManifest(window),
            ObjectKey::CheckpointFile(window, 3),
        ];
        for key in of_validators {
            assert_eq!(class(&key.to_string()), "validator", "{key}");
        }
        assert_eq!(class(&format!("{}.parts/ab/00000", ObjectKey::Payload(window))), "miner");
        assert_eq!((class("genesis.json"), class("")), ("other", "other"));
    }
}
