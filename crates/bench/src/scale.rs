//! The drill: a whole network of one miner and one validator trains a model of hundreds of millions of parameters on this
//! machine. Does it fit into the memory, and do its nodes agree to the bit?
//!
//! The network is `templar up` in a process of its own, with its usual processes; this module reads its events and, from
//! Linux' `/proc`, what each of its processes holds.

use crate::{FileError, Progress, Section};
use indicatif::{BinaryBytes, HumanCount};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};
use templar_localnet::STOP_WITH_STDIN;

/// How often the memory of the processes is read.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A network that says nothing for so long hangs: a window of the largest model that fits a machine takes minutes.
const SILENCE: Duration = Duration::from_secs(3600);
/// Time that the network has to stop its nodes.
const MOST_STOPPING: Duration = Duration::from_secs(60);
/// Lines of the network that wait to be read.
const QUEUED_LINES: usize = 64;
const GIBIBYTE: u64 = 1 << 30;

/// A network that could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScaleError {
    /// The scratch folder.
    #[error(transparent)]
    Folder(#[from] FileError),
    /// The program cannot be started.
    #[error("cannot start {} as a network; check that the file may be run", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The network ended before its windows were over; its own message is on the standard error.
    #[error("the network ended after {windows} windows ({status}); its message above says why")]
    Ended {
        /// Windows that were over.
        windows: usize,
        /// How the process ended.
        status: ExitStatus,
    },
    /// The network printed something that is not an event.
    #[error("the network printed a line that is no event: {line}; this is a fault of the program: report it")]
    Line {
        /// The line.
        line: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// No event came for a long time.
    #[error("the network said nothing for {} minutes after {windows} windows; try a smaller --preset", SILENCE.as_secs() / 60)]
    Silent {
        /// Windows that were over.
        windows: usize,
    },
    /// The user asked to stop; the network has been stopped.
    #[error("stopped after {windows} of {wanted} windows")]
    Stopped {
        /// Windows that were over.
        windows: usize,
        /// All of them.
        wanted: u64,
    },
    /// The process cannot be waited for.
    #[error("cannot wait for the network's process")]
    Wait(#[source] io::Error),
}

/// What to run.
#[derive(Debug, Clone, clap::Args)]
pub struct ScaleBench {
    /// Size of the model; `templar model presets` lists them
    #[arg(long, value_name = "NAME", default_value = "350m")]
    pub preset: String,
    /// Windows to run
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub windows: u64,
    /// Length of a window in seconds, 8 to 86400; by default from the speed of this machine
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(8..=86_400))]
    pub window_seconds: Option<u64>,
    /// Memory that the whole network may hold, in GiB
    #[arg(long, value_name = "GIB", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub memory: u64,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct ScaleFigures {
    preset: String,
    windows: Vec<Window>,
    /// The most that each process held, by its role; where the system does not tell, there is none.
    peak_bytes: BTreeMap<String, u64>,
    /// The sum of the processes' peaks, which need not have been at one time: the network never held more.
    sum_of_peaks_bytes: u64,
    /// What the network may hold.
    allowed_bytes: u64,
    seconds: f64,
    is_within_memory: bool,
    is_in_step: bool,
    /// Whether something was merged: in a network that agrees on nobody, equal roots are no feat.
    is_training: bool,
}

/// What the first process of the network is.
const ROOT_ROLE: &str = "up";

/// A window as the network tells it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Window {
    window: u64,
    heldout_loss: Option<f64>,
    tokens: u64,
    state_hash: Option<String>,
    nodes_in_sync: u64,
    nodes: u64,
    selected: Vec<u64>,
}

impl ScaleBench {
    /// Runs the network of `program`, which is this program, in a new folder under `parent`, and removes the folder.
    /// Raising `stop` stops the network.
    pub fn run(
        &self,
        program: &Path,
        parent: &Path,
        stop: &AtomicBool,
        progress: &mut dyn Progress,
    ) -> Result<ScaleFigures, ScaleError> {
        let folder = parent.join(format!("templar-bench-scale-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(FileError::at("create the folder", &folder))?;
        let measured = self.measure(program, &folder, stop, progress);
        // The folder is ours alone; the measurement's own error is the one to report.
        let removed = fs::remove_dir_all(&folder);
        let figures = measured?;
        removed.map_err(FileError::at("remove the folder", &folder))?;
        Ok(figures)
    }

    fn measure(
        &self,
        program: &Path,
        folder: &Path,
        stop: &AtomicBool,
        progress: &mut dyn Progress,
    ) -> Result<ScaleFigures, ScaleError> {
        let mut network = self.start(program, folder)?;
        let lines = lines_of(&mut network.0);
        let (started, mut heard) = (Instant::now(), Instant::now());
        let (mut windows, mut peaks) = (Vec::new(), BTreeMap::new());
        progress.say("starting the network");
        loop {
            match lines.recv_timeout(LOOK_EVERY) {
                Ok(line) => {
                    heard = Instant::now();
                    windows.extend(window_of(&line)?);
                    progress.show(windows.len() as f64 / self.windows as f64, "training");
                }
                Err(RecvTimeoutError::Timeout) if heard.elapsed() > SILENCE => {
                    return Err(ScaleError::Silent { windows: windows.len() });
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if stop.load(Ordering::Relaxed) {
                return Err(ScaleError::Stopped { windows: windows.len(), wanted: self.windows });
            }
            look(network.0.id(), &mut peaks);
        }
        let status = network.0.wait().map_err(ScaleError::Wait)?;
        if !status.success() || (windows.len() as u64) < self.windows {
            return Err(ScaleError::Ended { windows: windows.len(), status });
        }
        Ok(self.figures(windows, peaks, started.elapsed()))
    }

    fn start(&self, program: &Path, folder: &Path) -> Result<Running, ScaleError> {
        let mut command = Command::new(program);
        command.args([ROOT_ROLE, "--fresh", "--json", "--no-dashboard", "--miners", "1", "--validators", "1"]);
        command.args(["--preset", &self.preset, "--windows", &self.windows.to_string()]).arg("--data").arg(folder);
        if let Some(seconds) = self.window_seconds {
            command.args(["--window-seconds", &seconds.to_string()]);
        }
        // Its standard input ends with this process, however that ends, and the network with it.
        command.env(STOP_WITH_STDIN, "1").stdin(Stdio::piped());
        let started = command.stdout(Stdio::piped()).spawn();
        started.map(Running).map_err(|source| ScaleError::Start { program: program.to_owned(), source })
    }

    fn figures(&self, windows: Vec<Window>, peaks: BTreeMap<String, u64>, time: Duration) -> ScaleFigures {
        let (sum, allowed) = (peaks.values().sum(), self.memory * GIBIBYTE);
        ScaleFigures {
            preset: self.preset.clone(),
            is_in_step: windows
                .iter()
                .all(|window| window.state_hash.is_some() && window.nodes_in_sync == window.nodes),
            is_training: windows.iter().any(|window| !window.selected.is_empty()),
            is_within_memory: !peaks.is_empty() && sum <= allowed,
            windows,
            peak_bytes: peaks,
            sum_of_peaks_bytes: sum,
            allowed_bytes: allowed,
            seconds: time.as_secs_f64(),
        }
    }
}

impl ScaleFigures {
    /// Whether the network stayed within its memory and in step, and merged something.
    pub fn is_reached(&self) -> bool {
        self.is_within_memory && self.is_in_step && self.is_training
    }

    /// The figures as tables: the windows, then the memory.
    pub fn sections(&self) -> [Section; 2] {
        let window = |window: &Window| {
            let loss = window.heldout_loss.map_or_else(|| "none".to_owned(), |loss| format!("{loss:.3}"));
            let root = window.state_hash.as_deref().map_or("none", |hash| hash.get(..12).unwrap_or(hash));
            let in_step = format!("{} of {}", window.nodes_in_sync, window.nodes);
            let merged = window.selected.len().to_string();
            vec![
                window.window.to_string(),
                loss,
                HumanCount(window.tokens).to_string(),
                merged,
                root.to_owned(),
                in_step,
            ]
        };
        let head = ["window", "held-out loss", "tokens", "merged", "state root", "nodes in step"];
        let windows = Section {
            title: format!("A miner and a validator, {}, {:.0} s in all", self.preset, self.seconds),
            head: head.map(str::to_owned).to_vec(),
            rows: self.windows.iter().map(window).collect(),
            notes: Vec::new(),
        };
        let verdict = |is_reached: bool, name: &str| format!("{name}: {}", if is_reached { "yes" } else { "NO" });
        let memory = Section {
            title: "Memory at each process's peak".to_owned(),
            head: Vec::new(),
            rows: (self.peak_bytes.iter().map(|(role, bytes)| (role.as_str(), *bytes)))
                .chain([("together", self.sum_of_peaks_bytes)])
                .map(|(name, bytes)| vec![name.to_owned(), BinaryBytes(bytes).to_string()])
                .collect(),
            notes: vec![
                verdict(self.is_within_memory, &format!("within {}", BinaryBytes(self.allowed_bytes))),
                verdict(self.is_in_step, "all nodes have equal roots after every window"),
                verdict(self.is_training, "payloads were merged"),
            ],
        };
        [windows, memory]
    }
}

/// The network's process, which is ended with us, whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let begun = Instant::now();
        while begun.elapsed() < MOST_STOPPING && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(LOOK_EVERY);
        }
        // Its nodes end when it does. Both fail only where the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines of the process's standard output; the channel closes at its end.
fn lines_of(child: &mut Child) -> Receiver<String> {
    let (send, receive) = sync_channel(QUEUED_LINES);
    if let Some(output) = child.stdout.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
    }
    receive
}

/// The window that a line tells of, if it is such an event.
fn window_of(line: &str) -> Result<Option<Window>, ScaleError> {
    let wrong = |source| ScaleError::Line { line: line.to_owned(), source };
    let event: serde_json::Value = serde_json::from_str(line).map_err(wrong)?;
    if event["event"] != "window" {
        return Ok(None);
    }
    serde_json::from_value(event).map(Some).map_err(wrong)
}

/// Raises `peaks` to what each process of the network has held so far, by its role; `root` is the first of them.
fn look(root: u32, peaks: &mut BTreeMap<String, u64>) {
    let Ok(entries) = fs::read_dir("/proc") else { return };
    for process in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let folder = PathBuf::from(format!("/proc/{process}"));
        let Ok(status) = fs::read_to_string(folder.join("status")) else { continue };
        let number = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").parse().ok()
        };
        if process != root && number("PPid:") != Some(u64::from(root)) {
            continue;
        }
        let Some(kibibytes) = number("VmHWM:") else { continue };
        // The first word after the program's path says what a process of the network is.
        let command = fs::read(folder.join("cmdline")).unwrap_or_default();
        let role = command.split(|byte| *byte == 0).nth(1).map(String::from_utf8_lossy).unwrap_or_default();
        if process != root && !peaks.contains_key(role.as_ref()) {
            forget_peak(root, peaks);
        }
        let peak = peaks.entry(role.into_owned()).or_default();
        *peak = kibibytes.saturating_mul(1024).max(*peak);
    }
}

/// Lets the peak of the first process start again: before it starts a node, it measures the machine with a model of its
/// own, which is gone by then. Where the system does not let us, what it held counts.
fn forget_peak(root: u32, peaks: &mut BTreeMap<String, u64>) {
    // Documented in proc(5): 5 resets the peak of this process alone.
    if fs::write(format!("/proc/{root}/clear_refs"), "5").is_ok() {
        peaks.remove(ROOT_ROLE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_told_from_other_events_and_from_what_is_none() {
        let line = r#"{"event":"window","window":1,"heldout_loss":5.8,"tokens":7,"state_hash":"ab","nodes_in_sync":2,"nodes":2,"selected":[0]}"#;
        let window = window_of(line).unwrap().unwrap();
        assert_eq!((window.window, window.tokens, window.nodes), (1, 7, 2));
        assert!(window_of(r#"{"event":"note","message":"x"}"#).unwrap().is_none());
        assert!(matches!(window_of("thread panicked"), Err(ScaleError::Line { .. })));
    }

    #[test]
    fn figures_say_where_memory_or_roots_are_not_as_they_should_be() {
        let bench = ScaleBench { preset: "nano".to_owned(), windows: 1, window_seconds: None, memory: 1 };
        let window = |in_sync, selected: &[u64]| Window {
            window: 0,
            heldout_loss: None,
            tokens: 1,
            state_hash: Some("ab".to_owned()),
            nodes_in_sync: in_sync,
            nodes: 2,
            selected: selected.to_vec(),
        };
        let peaks = |bytes| BTreeMap::from([("miner".to_owned(), bytes), ("up".to_owned(), 1)]);
        let good = bench.figures(vec![window(2, &[]), window(2, &[0])], peaks(5), Duration::ZERO);
        assert!(good.is_reached() && good.sum_of_peaks_bytes == 6);
        let bad = bench.figures(vec![window(1, &[0])], peaks(GIBIBYTE), Duration::ZERO);
        assert!(!bad.is_in_step && !bad.is_within_memory && bad.is_training);
        let idle = bench.figures(vec![window(2, &[])], peaks(5), Duration::ZERO);
        assert!(idle.is_in_step && !idle.is_reached(), "nobody was merged");
        let unseen = bench.figures(vec![window(2, &[0])], BTreeMap::new(), Duration::ZERO);
        assert!(!unseen.is_within_memory, "nothing was seen");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_program_that_is_no_network_is_told() {
        let bench = ScaleBench { preset: "nano".to_owned(), windows: 1, window_seconds: None, memory: 1 };
        struct Quiet;
        impl Progress for Quiet {
            fn say(&mut self, _: &str) {}
            fn show(&mut self, _: f64, _: &str) {}
            fn restart(&mut self) {}
        }
        let folder = tempfile::tempdir().unwrap();
        let error = bench.run(Path::new("/bin/false"), folder.path(), &AtomicBool::new(false), &mut Quiet).unwrap_err();
        assert!(matches!(error, ScaleError::Ended { windows: 0, .. }), "{error}");
        let error = bench.run(Path::new("/none"), folder.path(), &AtomicBool::new(false), &mut Quiet).unwrap_err();
        assert!(matches!(error, ScaleError::Start { .. }), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "the scratch folder is left behind");
    }
}
