//! What a node did, for people and programs: one JSON object a line, and one small file with where it stands.

use crate::NodeMetrics;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use templar_audit::Finding;
use templar_base::{BlockNumber, StateHash, Uid, Window};
use templar_round::Role;
use tokio::sync::mpsc;

/// The journal is rotated at this size, and one old one is kept, so that it never fills a disk.
const ROTATE_BYTES: u64 = 8 << 20;
/// A warning is repeated after this time, and this many are remembered.
const REPEAT_AFTER: Duration = Duration::from_secs(60);
const REMEMBERED_WARNINGS: usize = 16;
const FILE: &str = "journal.jsonl";
const OLD_FILE: &str = "journal.old.jsonl";
const STATUS_FILE: &str = "status.json";

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum JournalEntry {
    /// The node is up.
    Started {
        /// What it does in the run.
        role: Role,
        /// Its slot.
        uid: Uid,
        /// The window whose start it holds.
        next: Window,
        /// The state hash there.
        state: StateHash,
    },
    /// A miner sealed a payload.
    Sealed {
        /// The window.
        window: Window,
        /// Inner steps in it.
        steps: u32,
        /// Tokens trained in it.
        tokens: u64,
        /// Mean training loss, in nats per token.
        loss: f32,
        /// Size of the payload.
        payload_bytes: u64,
        /// Bits for each value sent.
        bits_per_value: f64,
        /// Steps until the last aggregate arrived.
        steps_before_rebase: u32,
    },
    /// A validator judged a window.
    Judged {
        /// The window.
        window: Window,
        /// One line for each miner.
        miners: Vec<MinerLine>,
        /// Whose payloads it selects.
        selected: Vec<Uid>,
        /// Tokens of the selected payloads.
        tokens: u64,
        /// How long it took.
        milliseconds: u64,
    },
    /// A miner read the agreed verdict on its payload.
    Verdict {
        /// The window.
        window: Window,
        /// What it says.
        standing: String,
        /// The contribution in nats, if it was measured.
        #[serde(default)]
        contribution: Option<f64>,
        /// Its standard error.
        #[serde(default)]
        standard_error: Option<f64>,
        /// The rating afterwards.
        #[serde(default)]
        rating: Option<f64>,
    },
    /// The outcome of a window was applied.
    Applied {
        /// The window.
        window: Window,
        /// Whose payloads were merged; empty in a null window.
        selected: Vec<Uid>,
        /// State hash of the parameters now.
        state: StateHash,
    },
    /// The loss on held-out text was measured.
    HeldOut {
        /// The window whose start was measured.
        window: Window,
        /// Mean loss in nats per token.
        loss: f64,
    },
    /// A window goes by without this node.
    Skipped {
        /// The window.
        window: Window,
        /// Why.
        reason: String,
    },
    /// The own parameters are not those of the majority.
    Diverged {
        /// The window.
        window: Window,
        /// The own state hash.
        own: StateHash,
        /// The majority's.
        agreed: StateHash,
    },
    /// A checkpoint was fetched and installed.
    Restored {
        /// The window whose start it is.
        next: Window,
    },
    /// A checkpoint was published.
    Checkpoint {
        /// The window whose start it is.
        window: Window,
        /// Its size.
        bytes: u64,
    },
    /// Weights were set on the ledger.
    Weights {
        /// The last window that they take into account.
        window: Window,
        /// Uids and weights.
        weights: Vec<(Uid, u16)>,
    },
    /// A miner that was drawn published what it kept.
    AuditAnswered {
        /// The audited window.
        window: Window,
        /// States of the trajectory.
        states: u64,
    },
    /// A validator audited a payload.
    Audited {
        /// The audited window.
        window: Window,
        /// The payload's author.
        uid: Uid,
        /// What was found.
        finding: Finding,
    },
    /// Another validator's evidence against a payload was verified.
    EvidenceConfirmed {
        /// The audited window.
        window: Window,
        /// The payload's author.
        uid: Uid,
        /// Whose evidence.
        auditor: Uid,
        /// What is proven.
        fault: String,
    },
    /// The author of a drawn payload has not answered in time.
    AuditUnanswered {
        /// The audited window.
        window: Window,
        /// The payload's author.
        uid: Uid,
    },
    /// A validator put the run's tasks to the model.
    Evaluated {
        /// The window whose start it is.
        window: Window,
        /// Each task, in the order of the genesis.
        tasks: Vec<TaskLine>,
        /// How long it took, with all that came between.
        milliseconds: u64,
    },
    /// The parameters moved on before all answers were scored.
    EvaluationDropped {
        /// The window whose start it was.
        window: Window,
        /// Answers that were scored.
        scored: usize,
        /// All answers.
        answers: usize,
    },
    /// Something went wrong that the node goes on from.
    Warning {
        /// What, and what to do.
        message: String,
    },
}

/// What was found with one of the run's tasks, in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskLine {
    /// Its name.
    pub name: String,
    /// The share of questions that the model answers right.
    pub acc: f64,
}

/// What a verdict says of a miner, in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MinerLine {
    /// Its slot.
    pub uid: Uid,
    /// `selected`, `admitted`, or what is wrong.
    pub standing: String,
    /// Its contribution in nats, if it was measured.
    pub contribution: Option<f64>,
    /// The standard error of the contribution.
    pub standard_error: Option<f64>,
    /// Its rating afterwards.
    pub rating: Option<f64>,
    /// Tokens that it trained.
    pub tokens: u64,
}

/// Where a node stands now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// What it does in the run.
    pub role: Role,
    /// Its slot.
    pub uid: Uid,
    /// The newest block that it knows.
    pub head: BlockNumber,
    /// The window whose start it holds.
    pub next: Window,
    /// The state hash there.
    pub state: StateHash,
    /// What it does or waits for.
    pub activity: String,
    /// Mean training loss of the window at hand; miners only.
    pub loss: Option<f32>,
    /// Tokens trained since the process started; miners only.
    pub tokens: u64,
    /// Time in inner steps since the process started; miners only.
    pub training_seconds: f64,
    /// Time since the first inner step; miners only.
    pub wall_seconds: f64,
    /// When this was written, in milliseconds of Unix time.
    pub time_ms: u64,
}

/// Where a node writes what it does.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    file: Mutex<Option<File>>,
    /// What was warned of lately, and when.
    warned: Mutex<VecDeque<(Instant, String)>>,
    listener: Option<mpsc::Sender<JournalEntry>>,
    metrics: Option<Arc<NodeMetrics>>,
}

#[derive(Serialize)]
struct Line<'a> {
    time_ms: u64,
    #[serde(flatten)]
    entry: &'a JournalEntry,
}

/// Milliseconds of Unix time, for people only: no decision hangs on it.
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |duration| duration.as_millis() as u64)
}

impl Journal {
    /// A journal in `folder`, which is there.
    pub fn new(folder: &Path) -> Self {
        let (file, warned) = (Mutex::new(None), Mutex::default());
        Self { folder: folder.to_owned(), file, warned, listener: None, metrics: None }
    }

    /// With someone who hears every entry; what finds no room is left out.
    pub fn heard_by(self, listener: Option<mpsc::Sender<JournalEntry>>) -> Self {
        Self { listener, ..self }
    }

    /// With metrics that are made of every entry and status.
    pub fn measured_by(self, metrics: Option<Arc<NodeMetrics>>) -> Self {
        Self { metrics, ..self }
    }

    /// The metrics that are made of it.
    pub(crate) fn metrics(&self) -> Option<&NodeMetrics> {
        self.metrics.as_deref()
    }

    /// Adds a line. A journal that cannot be written does not stop the node.
    pub fn add(&self, entry: &JournalEntry) {
        match entry {
            JournalEntry::Warning { message } => tracing::warn!("{message}"),
            entry => tracing::info!("{}", serde_json::to_string(entry).unwrap_or_default()),
        }
        if let Some(metrics) = &self.metrics {
            metrics.note(entry);
        }
        if let Some(listener) = &self.listener {
            let _ = listener.try_send(entry.clone());
        }
        if let Err(error) = self.write(entry) {
            tracing::warn!("the journal in {} cannot be written: {error}", self.folder.display());
        }
    }

    /// Adds a warning. One that repeats an earlier one of the last minute is left out: whoever retries until something
    /// gives way, and fails by turns in two ways, reports each once.
    pub fn warn(&self, message: impl Into<String>) {
        let message = message.into();
        let now = Instant::now();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.retain(|(time, _)| now.duration_since(*time) < REPEAT_AFTER);
        if warned.iter().any(|(_, earlier)| *earlier == message) {
            return;
        }
        if warned.len() >= REMEMBERED_WARNINGS {
            warned.pop_front();
        }
        warned.push_back((now, message.clone()));
        drop(warned);
        self.add(&JournalEntry::Warning { message });
    }

    fn write(&self, entry: &JournalEntry) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Line { time_ms: now_ms(), entry })?;
        line.push(b'\n');
        let mut slot = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.folder.join(FILE);
        if slot.is_none() || fs::metadata(&path).map_or(0, |meta| meta.len()) > ROTATE_BYTES {
            if fs::metadata(&path).map_or(0, |meta| meta.len()) > ROTATE_BYTES {
                fs::rename(&path, self.folder.join(OLD_FILE))?;
            }
            *slot = Some(OpenOptions::new().create(true).append(true).open(&path)?);
        }
        // One write a line, so that readers see whole lines.
        slot.as_mut().map_or(Ok(()), |file| file.write_all(&line))
    }

    /// Replaces the status file.
    pub fn set_status(&self, status: &NodeStatus) {
        let path = self.folder.join(STATUS_FILE);
        let temporary = self.folder.join("status.json.new");
        let write = || -> io::Result<()> {
            fs::write(&temporary, serde_json::to_vec(status)?)?;
            fs::rename(&temporary, &path)
        };
        if let Err(error) = write() {
            tracing::debug!("{} cannot be written: {error}", path.display());
        }
    }
}

/// The status file of a node's folder; none if there is none or it does not parse.
pub fn read_status(folder: &Path) -> Option<NodeStatus> {
    serde_json::from_slice(&fs::read(folder.join(STATUS_FILE)).ok()?).ok()
}
