//! From the nodes' journals to what a person wants to know: windows, losses, who contributed what.

use crate::Node;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use templar_base::{Alpha, BlockNumber, StateHash, Uid, Window};
use templar_node::{JournalEntry, MinerLine, NodeStatus, read_status};
use templar_round::Role;

/// A status that is older than this is of a node that does not run.
const STALE_MS: u64 = 5_000;
/// Warnings that are kept for the screen.
const NOTES: usize = 50;
/// Why a window is null in which payloads were measured and none selected.
pub const NOTHING_GAINED: &str = "no contribution is surely over zero";
/// A note leaves the screen after this time.
const NOTE_STAYS: Duration = Duration::from_secs(120);

/// The journal of one node, read on as it grows.
#[derive(Debug)]
struct Tail {
    folder: PathBuf,
    offset: u64,
    rest: Vec<u8>,
}

impl Tail {
    /// The whole lines that have come since the last time.
    fn lines(&mut self) -> Vec<String> {
        let path = self.folder.join("journal.jsonl");
        let Ok(mut file) = File::open(path) else { return Vec::new() };
        let length = file.metadata().map_or(0, |meta| meta.len());
        if length < self.offset {
            // The journal was rotated: a new one begins.
            self.offset = 0;
            self.rest.clear();
        }
        let mut bytes = Vec::new();
        if file.seek(SeekFrom::Start(self.offset)).is_err() || file.take(64 << 20).read_to_end(&mut bytes).is_err() {
            return Vec::new();
        }
        self.offset += bytes.len() as u64;
        self.rest.extend_from_slice(&bytes);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect()
    }
}

/// What is known of one window.
#[derive(Debug, Clone, Default)]
struct Record {
    states: BTreeMap<String, StateHash>,
    selected: Option<Vec<Uid>>,
    /// What each validator that judged it found.
    judged: Vec<Judged>,
    tokens: u64,
    is_reported: bool,
}

/// One validator's judgement of a window.
#[derive(Debug, Clone)]
struct Judged {
    selected: usize,
    measured: usize,
    /// Of the miners that were not measured.
    standings: Vec<String>,
}

impl Record {
    /// Why the window is null, in words; none where it is not.
    fn null_reason(&self) -> Option<String> {
        if self.selected.as_ref().is_none_or(|selected| !selected.is_empty()) {
            return None;
        }
        let voted = self.judged.len();
        let selecting = self.judged.iter().filter(|judged| judged.selected > 0).count();
        let measured = self.judged.iter().any(|judged| judged.measured > 0);
        let standing = self.judged.iter().flat_map(|judged| &judged.standings).next();
        Some(match (voted, selecting, measured, standing) {
            (0, ..) => "no validator judged it in time".to_owned(),
            (_, 1.., ..) => "too little stake voted for the same payloads in time".to_owned(),
            (_, 0, true, _) => NOTHING_GAINED.to_owned(),
            (_, 0, false, Some(standing)) => format!("no payload was accepted ({standing})"),
            (_, 0, false, None) => "no payload came in time".to_owned(),
        })
    }
}

/// One window that is over, for people and programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowEvent {
    /// Always `window`.
    pub event: String,
    /// The window.
    pub window: Window,
    /// Held-out loss after it, in nats per token; none if no validator measured it.
    pub heldout_loss: Option<f64>,
    /// Tokens of the merged payloads.
    pub tokens: u64,
    /// Whose payloads were merged; empty in a null window.
    pub selected: Vec<Uid>,
    /// State hash that most nodes have.
    pub state_hash: Option<StateHash>,
    /// Nodes with that state hash.
    pub nodes_in_sync: usize,
    /// Nodes of the network.
    pub nodes: usize,
    /// Why nothing was merged, in a null window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_reason: Option<String>,
}

/// One node, as the screen shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// What it last wrote of itself.
    pub status: Option<NodeStatus>,
    /// Whether it writes.
    pub is_alive: bool,
    /// What the newest verdict says of it; miners only.
    pub verdict: Option<MinerLine>,
    /// Its stake on the ledger, which for a miner is what it has earned.
    pub stake: Option<Alpha>,
}

/// What a view is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ViewSource {
    /// The journals of nodes that this command runs.
    #[default]
    Own,
    /// The journals of nodes that another command runs.
    Journals,
    /// The public record alone.
    Record,
}

/// Everything that the screen shows.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// What it is made of.
    pub source: ViewSource,
    /// Seconds since the start of this command.
    pub seconds: f64,
    /// The newest block.
    pub block: BlockNumber,
    /// The window at hand; none before the run's start.
    pub window: Option<Window>,
    /// How much of it is over, 0 to 1.
    pub window_share: f64,
    /// Held-out loss at the start of each window, oldest first; of the public record that on the text of judgement.
    pub curve: Vec<(Window, f64)>,
    /// The newest window that is over.
    pub last: Option<WindowEvent>,
    /// The nodes, miners first.
    pub nodes: Vec<NodeView>,
    /// Windows that went by without an outer step, of those seen by this command.
    pub null_windows: u64,
    /// Tokens merged in windows seen by this command.
    pub tokens: u64,
    /// Part of the time that the miners spend in inner steps, if they have begun.
    pub utilisation: Option<f64>,
    /// What an operator should know, newest last.
    pub notes: Vec<String>,
    /// What is trained on and under which licence.
    pub remarks: Vec<String>,
}

/// Reads the journals and status files of a network's nodes.
#[derive(Debug)]
pub struct Watch {
    tails: BTreeMap<String, Tail>,
    names: Vec<String>,
    windows: BTreeMap<Window, Record>,
    curve: BTreeMap<Window, f64>,
    verdicts: BTreeMap<Uid, MinerLine>,
    judged: Option<Window>,
    notes: Vec<(Instant, String)>,
    /// The nodes that it was made for; others join by hand.
    own: BTreeSet<String>,
    /// The network's folder, where new nodes may appear.
    root: Option<PathBuf>,
    /// Nodes that are known not to run, whatever they wrote last.
    stopped: BTreeSet<String>,
    /// Why windows were null, of those seen by this command.
    nulls: BTreeMap<Window, String>,
    /// The first window that this command saw; earlier ones are history.
    first: Option<Window>,
    null_windows: u64,
    tokens: u64,
    last: Option<WindowEvent>,
}

/// The nodes of the network in `root`, by name and folder.
fn folders_of(root: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(root.join("nodes")).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect()
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |duration| duration.as_millis() as u64)
}

impl Watch {
    /// Watches all nodes that have a folder in the network of `root`, those that joined by hand too.
    pub fn in_folder(root: &Path) -> Self {
        let mut watch = Self::new(folders_of(root));
        // A network that was stopped in order lists no processes; who joined by hand was never listed.
        let processes = std::fs::read(root.join("processes.json")).ok();
        let running: BTreeMap<String, Option<u32>> =
            processes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let nodes = crate::read_settings(root).ok().flatten().map(|settings| settings.nodes()).unwrap_or_default();
        let is_stopped = |name: &String| running.get(name).copied().flatten().is_none();
        watch.stopped = nodes.into_iter().map(|node| node.name).filter(is_stopped).collect();
        watch
    }

    /// Watches nodes that join by hand too: those that get a folder in the network of `root`.
    pub fn with_guests_of(mut self, root: &Path) -> Self {
        self.root = Some(root.to_owned());
        self
    }

    /// Takes nodes that have joined meanwhile.
    fn find_guests(&mut self) {
        let Some(root) = &self.root else { return };
        for (name, folder) in folders_of(root) {
            if !self.tails.contains_key(&name) {
                self.tails.insert(name.clone(), Tail { folder, offset: 0, rest: Vec::new() });
                self.names.push(name);
            }
        }
        self.names.sort_by_key(|name| (Node::role_of(name), name.len(), name.clone()));
    }

    /// Watches nodes by name and folder. What the journals hold already is history: it is shown, and not reported again.
    pub fn new(nodes: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        let tails: BTreeMap<String, Tail> =
            nodes.into_iter().map(|(name, folder)| (name, Tail { folder, offset: 0, rest: Vec::new() })).collect();
        let mut names: Vec<String> = tails.keys().cloned().collect();
        names.sort_by_key(|name| (Node::role_of(name), name.len(), name.clone()));
        let mut watch = Self {
            tails,
            names,
            windows: BTreeMap::new(),
            curve: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            judged: None,
            notes: Vec::new(),
            own: BTreeSet::new(),
            root: None,
            stopped: BTreeSet::new(),
            nulls: BTreeMap::new(),
            first: None,
            null_windows: 0,
            tokens: 0,
            last: None,
        };
        watch.own = watch.names.iter().cloned().collect();
        watch.read();
        let history = watch.windows.keys().next_back().copied();
        for record in watch.windows.values_mut() {
            record.is_reported = true;
        }
        watch.notes.clear();
        watch.first = Some(history.map_or(Window(0), Window::next));
        watch
    }

    fn read(&mut self) {
        for name in self.names.clone() {
            let lines = self.tails.get_mut(&name).map(Tail::lines).unwrap_or_default();
            for line in lines {
                if let Ok(entry) = serde_json::from_str::<JournalEntry>(&line) {
                    self.note_entry(&name, entry);
                }
            }
        }
    }

    fn note_entry(&mut self, name: &str, entry: JournalEntry) {
        match entry {
            JournalEntry::Applied { window, selected, state } => {
                let record = self.windows.entry(window).or_default();
                record.states.insert(name.to_owned(), state);
                record.selected.get_or_insert(selected);
            }
            JournalEntry::Judged { window, miners, selected, tokens, .. } => {
                let record = self.windows.entry(window).or_default();
                record.tokens = tokens;
                let (measured, others): (Vec<_>, Vec<_>) = miners.iter().partition(|line| line.contribution.is_some());
                record.judged.push(Judged {
                    selected: selected.len(),
                    measured: measured.len(),
                    standings: others.into_iter().map(|line| line.standing.clone()).collect(),
                });
                if self.judged.is_none_or(|judged| judged <= window) {
                    self.judged = Some(window);
                    self.verdicts.extend(miners.into_iter().map(|line| (line.uid, line)));
                }
            }
            JournalEntry::HeldOut { window, loss } => drop(self.curve.insert(window, loss)),
            JournalEntry::Warning { message } => self.add_note(format!("{name}: {message}")),
            JournalEntry::Skipped { window, reason } => self.add_note(format!("{name}: window {window}: {reason}")),
            JournalEntry::Diverged { window, .. } => {
                self.add_note(format!(
                    "{name}: its state after window {window} is not the agreed one; it repairs itself"
                ));
            }
            JournalEntry::Restored { next } => self.add_note(format!("{name}: took the checkpoint of window {next}")),
            _ => {}
        }
    }

    /// Adds something that an operator should know.
    pub fn add_note(&mut self, note: String) {
        self.notes.push((Instant::now(), note));
        if self.notes.len() > NOTES {
            self.notes.remove(0);
        }
    }

    /// Takes the notes that have not been taken yet; for output line by line.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes).into_iter().map(|(_, note)| note).collect()
    }

    /// Reads on, and returns the windows that are over now and have not been reported.
    pub fn news(&mut self) -> Vec<WindowEvent> {
        self.find_guests();
        self.read();
        let newest = self.windows.iter().rev().find(|(_, record)| !record.states.is_empty()).map(|(window, _)| *window);
        let alive: Vec<String> = self.names.iter().filter(|name| self.is_alive(name)).cloned().collect();
        let over: Vec<Window> = self
            .windows
            .iter()
            .filter(|(window, record)| {
                let all_applied = !alive.is_empty() && alive.iter().all(|name| record.states.contains_key(name));
                let measured = self.curve.contains_key(&window.next());
                !record.is_reported
                    && !record.states.is_empty()
                    && ((all_applied && measured) || newest > Some(**window))
            })
            .map(|(window, _)| *window)
            .collect();
        over.into_iter().map(|window| self.report(window)).collect()
    }

    fn report(&mut self, window: Window) -> WindowEvent {
        let heldout_loss = self.curve.get(&window.next()).copied();
        let record = self.windows.entry(window).or_default();
        record.is_reported = true;
        let mut counts: BTreeMap<StateHash, usize> = BTreeMap::new();
        for state in record.states.values() {
            *counts.entry(*state).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let selected = record.selected.clone().unwrap_or_default();
        let tokens = if selected.is_empty() { 0 } else { record.tokens };
        let null_reason = record.null_reason();
        // Who joined by hand counts where it was there.
        let nodes =
            self.names.iter().filter(|name| self.own.contains(*name) || record.states.contains_key(*name)).count();
        if let Some(reason) = &null_reason {
            self.nulls.insert(window, reason.clone());
        }
        self.null_windows += u64::from(selected.is_empty());
        self.tokens += tokens;
        let event = WindowEvent {
            event: "window".to_owned(),
            window,
            heldout_loss,
            tokens,
            selected,
            state_hash: most.map(|(state, _)| state),
            nodes_in_sync: most.map_or(0, |(_, count)| count),
            nodes,
            null_reason,
        };
        self.last = Some(event.clone());
        event
    }

    fn status(&self, name: &str) -> Option<NodeStatus> {
        read_status(&self.tails.get(name)?.folder)
    }

    fn is_alive(&self, name: &str) -> bool {
        !self.stopped.contains(name)
            && self.status(name).is_some_and(|status| now_ms().saturating_sub(status.time_ms) < STALE_MS)
    }

    /// The held-out losses at the start of each window, oldest first; from the first one that this command saw.
    pub fn seen_losses(&self) -> Vec<(Window, f64)> {
        let first = self.first.unwrap_or_default();
        self.curve.range(first..).map(|(window, loss)| (*window, *loss)).collect()
    }

    /// What the screen shows; ledger facts and time are filled in by the caller.
    pub fn view(&self, remarks: &[String]) -> View {
        let nodes: Vec<NodeView> = self.names.iter().map(|name| self.node_view(name)).collect();
        View {
            source: ViewSource::Own,
            seconds: 0.0,
            block: nodes.iter().filter_map(|node| node.status.as_ref()).map(|s| s.head).max().unwrap_or_default(),
            window: None,
            window_share: 0.0,
            curve: self.curve.iter().map(|(window, loss)| (*window, *loss)).collect(),
            last: self.last.clone(),
            utilisation: utilisation(&nodes),
            nodes,
            null_windows: self.null_windows,
            tokens: self.tokens,
            notes: self.recent_notes(),
            remarks: remarks.to_vec(),
        }
    }

    /// The notes that are not too old for the screen, each with its age.
    fn recent_notes(&self) -> Vec<String> {
        let recent = self.notes.iter().filter(|(at, _)| at.elapsed() < NOTE_STAYS);
        let recent = recent.map(|(at, note)| format!("{} s ago: {note}", at.elapsed().as_secs()));
        let null = self.last.as_ref().and_then(|last| Some((last.window, last.null_reason.as_ref()?)));
        recent.chain(null.map(|(window, reason)| format!("window {window} was null: {reason}"))).collect()
    }

    /// How often windows were null for the same reason, the most frequent reason first.
    pub fn null_reasons(&self) -> Vec<(String, usize)> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        self.nulls.values().for_each(|reason| *counts.entry(reason).or_default() += 1);
        let mut counts: Vec<(String, usize)> =
            counts.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }

    fn node_view(&self, name: &str) -> NodeView {
        let status = self.status(name);
        let is_miner = |status: &NodeStatus| status.role == Role::Miner;
        let uid = status.as_ref().filter(|status| is_miner(status)).map(|status| status.uid);
        NodeView {
            name: name.to_owned(),
            is_alive: self.is_alive(name),
            verdict: uid.and_then(|uid| self.verdicts.get(&uid).cloned()),
            status,
            stake: None,
        }
    }
}

/// Mean over the miners of the time in inner steps over the time since the first one.
fn utilisation(nodes: &[NodeView]) -> Option<f64> {
    let shares: Vec<f64> = nodes
        .iter()
        .filter_map(|node| node.status.as_ref())
        .filter(|status| status.role == Role::Miner && status.wall_seconds > 0.0)
        .map(|status| status.training_seconds / status.wall_seconds)
        .collect();
    (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
}
