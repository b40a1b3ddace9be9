//! `templar up` as a process, and what its nodes write.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Longest wait for anything; far over what is needed, since machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(240);

pub struct Up {
    pub child: Child,
    lines: Receiver<Value>,
    pub data: PathBuf,
    pub windows: Vec<Value>,
}

impl Up {
    /// On synthetic text, with windows of 14 seconds where `more` says nothing else.
    pub fn start(data: &Path, more: &[&str]) -> Self {
        Self::start_with(data, more, |_| {})
    }

    /// As [`Up::start`], with something changed about the process.
    pub fn start_with(data: &Path, more: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_templar"));
        command.args(["up", "--json", "--text", "synthetic", "--data"]).arg(data).args(more);
        if !more.contains(&"--window-seconds") {
            command.args(["--window-seconds", "14"]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        change(&mut command);
        let mut child = command.spawn().unwrap();
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
    pub fn window(&mut self) -> Value {
        let event = loop {
            let event = self.next_line("a window");
            if event["event"] != "note" && event["event"] != "started" {
                break event;
            }
        };
        assert_eq!(event["event"], "window", "{event}");
        self.windows.push(event.clone());
        event
    }

    /// Waits until a window ends with an outer step, after which so many nodes have the same state.
    pub fn window_in_sync(&mut self, nodes: u64) -> Value {
        for _ in 0..12 {
            let event = self.window();
            if event["nodes_in_sync"].as_u64() >= Some(nodes) && !event["selected"].as_array().unwrap().is_empty() {
                return event;
            }
        }
        panic!("12 windows without all nodes in sync: {:?}; {}", self.windows, self.logs());
    }

    /// Windows without an outer step that no lack of time explains. On a machine that others keep busy, every miner may
    /// miss a window's end, or a validator the last block in which votes count; their journals say so.
    pub fn unexplained_null_windows(&self) -> usize {
        let journals = journals(&self.data);
        let is_late = |node: &str, window: u64| {
            journals[node].iter().any(|entry| {
                let reason = entry["reason"].as_str().unwrap_or_default();
                let is_of_time = reason.contains("was not committed before") || reason.contains("was not ready before");
                entry["event"] == "skipped" && entry["window"] == window && is_of_time
            })
        };
        let of = |role: &'static str| journals.keys().filter(move |node| node.starts_with(role));
        let is_explained = |window: u64| {
            of("validator").any(|node| is_late(node, window)) || of("miner").all(|node| is_late(node, window))
        };
        let null = self.windows.iter().filter(|window| window["selected"].as_array().unwrap().is_empty());
        null.filter(|window| !is_explained(window["window"].as_u64().unwrap())).count()
    }

    pub fn process(&self, name: &str) -> Option<u64> {
        let text = std::fs::read(self.data.join("processes.json")).ok()?;
        serde_json::from_slice::<Value>(&text).ok()?[name].as_u64()
    }

    /// Kills a process without warning and waits until its successor runs.
    pub fn kill(&self, name: &str) {
        let begun = Instant::now();
        let old = self.process(name).unwrap_or_else(|| panic!("{name} does not run"));
        kill_process(old);
        while self.process(name).is_none_or(|new| new == old) {
            assert!(begun.elapsed() < PATIENCE, "{name} was not started again; {}", self.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Keeps a process from running for ten seconds.
    pub fn keep_down(&self, name: &str) {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if let Some(process) = self.process(name) {
                kill_process(process);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it to stop as Ctrl-C does, and gives the summary.
    pub fn stop(mut self) -> Value {
        signal("-INT", u64::from(self.child.id()));
        self.summary()
    }

    pub fn summary(&mut self) -> Value {
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

    pub fn logs(&self) -> String {
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
    pub fn check_states(&self) -> BTreeMap<u64, String> {
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

pub fn signal(signal: &str, process: u64) {
    let _ = Command::new("kill").args([signal, &process.to_string()]).stderr(Stdio::null()).status();
}

pub fn kill_process(process: u64) {
    signal("-KILL", process);
}

pub fn journals(up: &Path) -> BTreeMap<String, Vec<Value>> {
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
