//! A whole network of real processes: it trains, and goes on through kills of every kind of process.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Longest wait for anything; far over what is needed, since machines are shared.
const PATIENCE: Duration = Duration::from_secs(240);

struct Up {
    child: Child,
    lines: Receiver<Value>,
    data: PathBuf,
    windows: Vec<Value>,
}

impl Up {
    fn start(data: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_templar"))
            .args(["up", "--json", "--text", "synthetic", "--window-seconds", "14", "--data"])
            .arg(data)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, data: data.join("up"), windows: Vec::new() }
    }

    fn next_line(&mut self, what: &str) -> Value {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(value) => value,
            Err(RecvTimeoutError::Timeout) => panic!("waited {PATIENCE:?} for {what}; {}", self.logs()),
            Err(RecvTimeoutError::Disconnected) => panic!("`templar up` ended before {what}; {}", self.logs()),
        }
    }

    /// Waits for the next window.
    fn window(&mut self) -> Value {
        let event = self.next_line("a window");
        assert_eq!(event["event"], "window", "{event}");
        self.windows.push(event.clone());
        event
    }

    /// Waits until a window ends with an outer step, after which so many nodes have the same state.
    fn window_in_sync(&mut self, nodes: u64) -> Value {
        for _ in 0..12 {
            let event = self.window();
            if event["nodes_in_sync"].as_u64() >= Some(nodes) && !event["selected"].as_array().unwrap().is_empty() {
                return event;
            }
        }
        panic!("12 windows without all nodes in sync: {:?}; {}", self.windows, self.logs());
    }

    fn null_windows(&self) -> usize {
        self.windows.iter().filter(|window| window["selected"].as_array().unwrap().is_empty()).count()
    }

    fn process(&self, name: &str) -> Option<u64> {
        let text = std::fs::read(self.data.join("processes.json")).ok()?;
        serde_json::from_slice::<Value>(&text).ok()?[name].as_u64()
    }

    /// Kills a process without warning and waits until its successor runs.
    fn kill(&self, name: &str) {
        let begun = Instant::now();
        let old = self.process(name).unwrap_or_else(|| panic!("{name} does not run"));
        kill_process(old);
        while self.process(name).is_none_or(|new| new == old) {
            assert!(begun.elapsed() < PATIENCE, "{name} was not started again; {}", self.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Keeps a process from running for ten seconds.
    fn keep_down(&self, name: &str) {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if let Some(process) = self.process(name) {
                kill_process(process);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it to stop as Ctrl-C does, and gives the summary.
    fn stop(mut self) -> Value {
        signal("-INT", u64::from(self.child.id()));
        self.summary()
    }

    fn summary(&mut self) -> Value {
        let summary = loop {
            let line = self.next_line("the summary");
            if line["event"] == "summary" {
                break line;
            }
        };
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        summary
    }

    fn logs(&self) -> String {
        let mut text = String::new();
        for entry in std::fs::read_dir(self.data.join("logs")).into_iter().flatten().flatten() {
            let log = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(8).collect();
            text +=
                &format!("\n{}:\n{}", entry.path().display(), tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        text
    }

    /// All state hashes that all nodes ever told, by window: each window must have one.
    fn check_states(&self) -> BTreeMap<u64, String> {
        let mut states: BTreeMap<u64, String> = BTreeMap::new();
        for (node, entries) in journals(&self.data) {
            for entry in entries.iter().filter(|entry| entry["event"] == "applied") {
                let (window, state) = (entry["window"].as_u64().unwrap(), entry["state"].as_str().unwrap());
                let first = states.entry(window).or_insert_with(|| state.to_owned());
                assert_eq!(first, state, "{node} differs from the others after window {window}");
            }
        }
        states
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // The nodes end with their parent, also when a test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(signal: &str, process: u64) {
    let _ = Command::new("kill").args([signal, &process.to_string()]).stderr(Stdio::null()).status();
}

fn kill_process(process: u64) {
    signal("-KILL", process);
}

fn journals(up: &Path) -> BTreeMap<String, Vec<Value>> {
    let entries = std::fs::read_dir(up.join("nodes")).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let text = std::fs::read_to_string(entry.path().join("journal.jsonl")).unwrap_or_default();
            // The last line may be half written at the moment of a kill.
            let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            (entry.file_name().to_string_lossy().into_owned(), lines)
        })
        .collect()
}

#[test]
fn a_network_of_processes_survives_kills_outages_and_newcomers() {
    let scratch = tempfile::tempdir().unwrap();
    let mut up = Up::start(scratch.path(), &["--miners", "3", "--validators", "2"]);
    let first = up.window_in_sync(5);
    for (victim, nulls) in [("miner-1", 0), ("validator-0", 1)] {
        let before = up.null_windows();
        up.kill(victim);
        // The window at hand may miss the victim; the one after must not.
        up.window();
        up.window_in_sync(5);
        let lost = up.null_windows() - before;
        assert!(lost <= nulls, "{lost} null windows after a kill of {victim}: {:?}; {}", up.windows, up.logs());
    }
    for service in ["bucket", "ledger"] {
        let before = up.null_windows();
        up.keep_down(service);
        up.window();
        up.window_in_sync(5);
        let lost = up.null_windows() - before;
        assert!(lost <= 1, "{lost} null windows after ten seconds without the {service}: {:?}", up.windows);
    }
    join_late(&mut up, scratch.path());
    let last = up.window();
    let states = up.check_states();
    let loss = |window: &Value| window["heldout_loss"].as_f64().unwrap();
    assert!(loss(&last) < loss(&first), "the loss did not fall: {:?}", up.windows);
    let windows = up.windows.len() as u64;
    let summary = up.stop();
    assert_eq!(summary["windows"].as_u64(), Some(windows), "{summary}");

    // The same command goes on from where it was.
    let mut again = Up::start(scratch.path(), &["--windows", "2"]);
    let next = again.window();
    let last_window = states.keys().next_back().unwrap();
    assert!(next["window"].as_u64().unwrap() >= *last_window, "{next} after {last_window}");
    let summary = again.summary();
    assert_eq!(summary["windows"], 2, "{summary}");
    again.check_states();
}

/// A miner that starts by hand after many windows reaches the others' state and is judged as they are. That latecomers
/// are merged and paid is shown in the node's own tests, where the text leaves them something to learn.
fn join_late(up: &mut Up, data: &Path) {
    let mut guest = Command::new(env!("CARGO_BIN_EXE_templar"))
        .args(["miner", "--local", "guest", "--threads", "1", "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let is_judged = |up: &Up| {
        let journals = journals(&up.data);
        let entries = journals.get("guest").cloned().unwrap_or_default();
        let passed =
            |entry: &Value| entry["standing"].as_str().is_some_and(|standing| !standing.starts_with("refused"));
        entries.iter().any(|entry| entry["event"] == "verdict" && passed(entry))
            && entries.iter().any(|entry| entry["event"] == "applied")
    };
    while !is_judged(up) {
        assert!(begun.elapsed() < PATIENCE, "the newcomer's payload never passed the door; {}", up.logs());
        assert!(guest.try_wait().unwrap().is_none(), "the newcomer ended");
        up.window();
    }
    signal("-INT", u64::from(guest.id()));
    assert!(guest.wait().unwrap().success());
}

#[test]
fn a_killed_supervisor_leaves_no_process_behind_and_its_network_goes_on() {
    let scratch = tempfile::tempdir().unwrap();
    let mut up = Up::start(scratch.path(), &["--miners", "2", "--validators", "1"]);
    up.window();
    let nodes: Vec<u64> =
        ["ledger", "bucket", "miner-0", "miner-1", "validator-0"].map(|name| up.process(name).unwrap()).into();
    up.child.kill().unwrap();
    up.child.wait().unwrap();
    let begun = Instant::now();
    for node in nodes {
        let runs = || Path::new("/proc").join(node.to_string()).join("exe").exists();
        while runs() {
            assert!(begun.elapsed() < PATIENCE, "process {node} outlives `templar up`");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let mut again = Up::start(scratch.path(), &["--windows", "1"]);
    again.window();
    again.summary();
    again.check_states();
}
