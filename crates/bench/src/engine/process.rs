//! An engine in a child process.

use super::EngineBenchError;
use super::models::{LENGTH, SEQUENCES};
use super::worker::{Answer, Request};
use serde_json::to_string;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use templar_engine::ModelConfig;

/// The other side's program.
const REFERENCE: &str = include_str!("reference.py");

/// Which engine a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ours,
    Eager,
    Compiled,
    Transformers,
}

impl Kind {
    /// Its name in tables and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "templar",
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
            (Kind::Ours, _) => {
                let mut command = Command::new(std::env::current_exe().map_err(EngineBenchError::OwnProgram)?);
                command.args(["bench", "engine-worker", "--model", subject.name, "--threads", &threads.to_string()]);
                command.arg("--parameters").arg(subject.parameters);
                command
            }
            (_, None) => return Err(EngineBenchError::NoPython { engine }),
            (_, Some(python)) => {
                let mode = match kind {
                    Kind::Compiled => "compiled",
                    Kind::Transformers => "transformers",
                    _ => "eager",
                };
                let mut command = Command::new(python);
                let config = to_string(subject.config).map_err(EngineBenchError::Json)?;
                command.args(["-c", REFERENCE, &config]).arg(subject.parameters);
                command.args([mode, &threads.to_string(), &SEQUENCES.to_string(), &LENGTH.to_string()]);
                // Without these the libraries below PyTorch may start threads of their own.
                for variable in ["OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
                    command.env(variable, threads.to_string());
                }
                command
            }
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

impl Drop for Process {
    fn drop(&mut self) {
        // The end of its input asks it to end; the kill is for one that is stuck.
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
