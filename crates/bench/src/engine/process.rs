//! An engine in a child process.

use super::EngineBenchError;
use super::models::Shape;
use super::worker::{Answer, Request};
use serde_json::to_string;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use templar_engine::{DeviceName, ModelConfig};

/// The other side's program.
const REFERENCE: &str = include_str!("reference.py");

/// Which engine a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ours,
    /// Ours on PyTorch, with compiled layers.
    OursCompiled,
    Eager,
    Compiled,
    Transformers,
}

impl Kind {
    /// Its name in tables and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "templar",
            Self::OursCompiled => "templar, compiled",
            Self::Eager => "PyTorch eager",
            Self::Compiled => "PyTorch compiled",
            Self::Transformers => "transformers",
        }
    }
}

/// The model that a process shall hold.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub name: &'a str,
    pub config: &'a ModelConfig,
    /// A file of its parameters.
    pub parameters: &'a Path,
    /// The batch that it gets.
    pub shape: Shape,
    /// Where PyTorch computes; none for the native engine, and PyTorch on the CPU in f32 beside it.
    pub device: Option<OnDevice<'a>>,
}

/// Engines on a device of PyTorch.
#[derive(Debug, Clone, Copy)]
pub struct OnDevice<'a> {
    /// `torch`, `torch:cuda` or `torch:cpu`.
    pub name: &'a DeviceName,
    /// Ranks of ours.
    pub ranks: usize,
}

impl OnDevice<'_> {
    /// The name of the device in PyTorch; `auto` takes a GPU where there is one.
    fn in_torch(&self) -> String {
        self.name.to_string().split_once(':').map_or("auto".to_owned(), |(_, device)| device.to_owned())
    }
}

/// A running engine; it ends when this is dropped.
pub struct Process {
    kind: Kind,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    version: String,
    peak_bytes: u64,
    idle_bytes: u64,
}

impl Process {
    /// Starts an engine and waits until it has its model.
    pub fn start(
        kind: Kind,
        python: Option<&Path>,
        subject: Subject,
        threads: usize,
    ) -> Result<Self, EngineBenchError> {
        let engine = kind.name();
        let mut command = match (kind, python) {
            (Kind::Ours | Kind::OursCompiled, _) => ours(kind, python, subject, threads)?,
            (_, None) => return Err(EngineBenchError::NoPython { engine }),
            (_, Some(python)) => theirs(kind, python, subject, threads)?,
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|source| EngineBenchError::Start { engine, source })?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(EngineBenchError::NoStreams { engine });
        };
        let (input, output) = (Some(input), BufReader::new(output));
        let mut process = Self { kind, child, input, output, version: String::new(), peak_bytes: 0, idle_bytes: 0 };
        process.version = process.answer()?.version;
        Ok(process)
    }

    /// The most memory that it has held, and what it held before it made a model.
    pub fn memory(&self) -> (u64, u64) {
        (self.peak_bytes, self.idle_bytes)
    }

    /// What it calls itself.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Asks for something and waits for it.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, EngineBenchError> {
        if let Some(input) = &mut self.input {
            let line = to_string(request).map_err(EngineBenchError::Json)? + "\n";
            let ended = |source| EngineBenchError::Ended { engine: self.kind.name(), source: Some(source) };
            input.write_all(line.as_bytes()).map_err(ended)?;
        }
        self.answer()
    }

    fn answer(&mut self) -> Result<Answer, EngineBenchError> {
        let engine = self.kind.name();
        let mut line = String::new();
        let ended = |source| EngineBenchError::Ended { engine, source: Some(source) };
        self.output.read_line(&mut line).map_err(ended)?;
        if line.is_empty() {
            return Err(EngineBenchError::Ended { engine, source: None });
        }
        let strange = |source| EngineBenchError::Answer { engine, line: line.trim_end().to_owned(), source };
        let answer: Answer = serde_json::from_str(&line).map_err(strange)?;
        match answer.error {
            Some(reason) => Err(EngineBenchError::Failed { engine, reason }),
            None => {
                (self.peak_bytes, self.idle_bytes) = (answer.peak_bytes, answer.idle_bytes);
                Ok(answer)
            }
        }
    }
}

/// This program as a worker.
fn ours(kind: Kind, python: Option<&Path>, subject: Subject, threads: usize) -> Result<Command, EngineBenchError> {
    let mut command = Command::new(std::env::current_exe().map_err(EngineBenchError::OwnProgram)?);
    command.args(["bench", "engine-worker", "--model", subject.name, "--threads", &threads.to_string()]);
    command.args(["--sequences", &subject.shape.sequences.to_string(), "--length", &subject.shape.length.to_string()]);
    command.arg("--parameters").arg(subject.parameters);
    if let (Some(device), Some(python)) = (subject.device, python) {
        command.args(["--engine", &device.name.to_string(), "--ranks", &device.ranks.to_string()]);
        command.arg("--python").arg(python);
    }
    if kind == Kind::OursCompiled {
        command.arg("--compiles");
    }
    Ok(command)
}

/// The other side's program.
fn theirs(kind: Kind, python: &Path, subject: Subject, threads: usize) -> Result<Command, EngineBenchError> {
    let mode = match kind {
        Kind::Compiled => "compiled",
        Kind::Transformers => "transformers",
        _ => "eager",
    };
    let mut command = Command::new(python);
    let config = to_string(subject.config).map_err(EngineBenchError::Json)?;
    let Shape { sequences, length } = subject.shape;
    command.args(["-c", REFERENCE, &config]).arg(subject.parameters);
    command.args([mode, &threads.to_string(), &sequences.to_string(), &length.to_string()]);
    match subject.device {
        None => command.args(["cpu", "f32"]),
        Some(device) => command.args([&device.in_torch(), "bf16"]),
    };
    // Without these the libraries below PyTorch may start threads of their own.
    for variable in ["OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
        command.env(variable, threads.to_string());
    }
    Ok(command)
}

impl Drop for Process {
    fn drop(&mut self) {
        // The end of its input asks it to end; the kill is for one that is stuck.
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
