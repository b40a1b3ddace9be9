//! One honest node: a task, its folder, and what its journal says.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use templar_base::{Keypair, StateHash, Uid, Window};
use templar_bucket::Bucket;
use templar_chain::NodeChain;
use templar_node::{Data, DataFolder, JournalEntry, Network, NodeError, NodeOptions, run_miner, run_validator};
use templar_record::Rules;
use templar_round::Role;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const START_PATIENCE: Duration = Duration::from_secs(20);

/// What runs, and what would end it in good order.
type Task = (JoinHandle<Result<(), NodeError>>, watch::Sender<bool>);

/// Where a node writes its state before it takes the old one's place.
const HINDRANCES: [&str; 2] = ["shared.state.new", "miner.state.new"];

/// A node of the network.
pub struct Node {
    pub role: Role,
    pub hotkey: Keypair,
    pub uid: Uid,
    pub bucket: Bucket,
    pub data: PathBuf,
    /// Where the run's questions are.
    pub questions: PathBuf,
    /// What the journal says, oldest first.
    pub entries: Vec<JournalEntry>,
    /// The window whose start it holds.
    pub next: Window,
    /// Nobody waits for a node whose disk refuses.
    pub is_hindered: bool,
    task: Option<Task>,
    bytes_read: usize,
}

impl Node {
    pub fn new(role: Role, hotkey: Keypair, uid: Uid, bucket: Bucket, data: PathBuf) -> Self {
        let (entries, next, questions) = (Vec::new(), Window(0), PathBuf::new());
        Self {
            role,
            hotkey,
            uid,
            bucket,
            data,
            questions,
            entries,
            next,
            is_hindered: false,
            task: None,
            bytes_read: 0,
        }
    }

    /// Makes the disk refuse what the node wants to keep: a folder stands where its files are written first.
    pub fn hinder(&mut self) {
        self.is_hindered = true;
        for name in HINDRANCES {
            let begun = Instant::now();
            // A file that the node writes this very moment stands there until it gets its name.
            while let Err(error) = std::fs::create_dir_all(self.data.join(name).join("full")) {
                assert!(begun.elapsed() < Duration::from_secs(10), "{name} stays in the way: {error}");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Makes the disk give way.
    pub fn unhinder(&mut self) {
        self.is_hindered = false;
        for name in HINDRANCES {
            std::fs::remove_dir_all(self.data.join(name)).unwrap();
        }
    }

    pub fn is_running(&self) -> bool {
        self.task.is_some()
    }

    /// Starts the node and waits until it says so; a block must pass where it announces its bucket.
    pub async fn start(&mut self, run: &Rules, data: &Data, chain: Arc<dyn NodeChain>) {
        assert!(self.task.is_none(), "runs already");
        // The computing thread of a node that was killed may be in the middle of a step.
        let begun = Instant::now();
        while DataFolder::open(&self.data, run.id, self.role).is_err() {
            assert!(begun.elapsed() < START_PATIENCE, "the folder {} is not freed", self.data.display());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut network = Network::new(chain, run.genesis.netuid, self.hotkey.clone(), self.bucket.clone());
        network.record.local_buckets = true;
        let options = NodeOptions {
            data: self.data.clone(),
            threads: 1,
            engine: Default::default(),
            first_parameters: None,
            questions: self.questions.clone(),
            listener: None,
            metrics: None,
        };
        let (shutdown, stop) = watch::channel(false);
        let (run, data) = (run.clone(), data.clone());
        let task = match self.role {
            Role::Miner => tokio::spawn(run_miner(run, data, network, options, stop)),
            Role::Validator => tokio::spawn(run_validator(run, data, network, options, stop)),
        };
        self.task = Some((task, shutdown));
    }

    /// Ends the node at whatever it is doing.
    pub async fn kill(&mut self) {
        if let Some((task, shutdown)) = self.task.take() {
            task.abort();
            let _ = task.await;
            drop(shutdown);
        }
    }

    /// A node ends only when it is told to.
    pub async fn check_running(&mut self, name: &str) {
        if self.task.as_ref().is_some_and(|(task, _)| task.is_finished()) {
            let (task, _) = self.task.take().unwrap();
            panic!("{name} ended by itself: {:?}", task.await);
        }
    }

    /// Takes in what is new in the journal.
    pub fn read_journal(&mut self) {
        let Ok(bytes) = std::fs::read(self.data.join("journal.jsonl")) else { return };
        while let Some(length) = bytes[self.bytes_read..].iter().position(|byte| *byte == b'\n') {
            let line = &bytes[self.bytes_read..self.bytes_read + length];
            self.bytes_read += length + 1;
            let entry: JournalEntry = serde_json::from_slice(line).unwrap();
            match &entry {
                JournalEntry::Started { next, .. } | JournalEntry::Restored { next } => self.next = *next,
                JournalEntry::Applied { window, .. } => self.next = window.next(),
                _ => {}
            }
            self.entries.push(entry);
        }
    }

    pub fn has_skipped(&self, window: Window) -> bool {
        let skipped =
            |entry: &JournalEntry| matches!(entry, JournalEntry::Skipped { window: own, .. } if *own == window);
        self.entries.iter().any(skipped)
    }

    /// Window, selected and state of each outcome that it applied; the last, where it did so twice.
    pub fn applied(&self) -> BTreeMap<Window, (Vec<Uid>, StateHash)> {
        let applied = self.entries.iter().filter_map(|entry| match entry {
            JournalEntry::Applied { window, selected, state } => Some((*window, (selected.clone(), *state))),
            _ => None,
        });
        applied.collect()
    }

    /// What it warned of.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| match entry {
            JournalEntry::Warning { message } => Some(message.as_str()),
            _ => None,
        })
    }

    /// Losses on the held-out text, by window.
    pub fn held_out(&self) -> BTreeMap<Window, f64> {
        let losses = self.entries.iter().filter_map(|entry| match entry {
            JournalEntry::HeldOut { window, loss } => Some((*window, *loss)),
            _ => None,
        });
        losses.collect()
    }

    /// The windows that it skipped, and why.
    pub fn skipped(&self) -> Vec<(Window, String)> {
        let skipped = self.entries.iter().filter_map(|entry| match entry {
            JournalEntry::Skipped { window, reason } => Some((*window, reason.clone())),
            _ => None,
        });
        skipped.collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some((task, _)) = self.task.take() {
            task.abort();
        }
    }
}
