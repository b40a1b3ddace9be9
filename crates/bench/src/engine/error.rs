//! What the comparison of engines fails by.

use super::models::names;
use crate::FileError;
use std::io;
use std::path::PathBuf;
use templar_engine::{DeviceName, EngineError, UnknownPreset};
use templar_gauntlet::JudgeError;
use templar_record::RecordError;
use templar_trainer::TrainerError;

/// Engines that could not be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineBenchError {
    /// No model of this name is measured.
    #[error("there is no bench model `{name}`; choose of {}", names().join(", "))]
    UnknownModel {
        /// The name.
        name: String,
    },
    /// No preset has this name.
    #[error(transparent)]
    Preset(#[from] UnknownPreset),
    /// An engine that is not one of PyTorch's; the caller is at fault.
    #[error("`{device}` is no engine on PyTorch; name torch, torch:cuda or torch:cpu, or leave out --engine")]
    NotTorch {
        /// What was named.
        device: DeviceName,
    },
    /// The rules of a run with this model; a fault of this program.
    #[error(transparent)]
    Rules(#[from] RecordError),
    /// A payload could not be made, such as for an engine that ended.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// The payloads could not be judged.
    #[error(transparent)]
    Judge(#[from] JudgeError),
    /// The named interpreter has no PyTorch; the caller is at fault.
    #[error("{} cannot load PyTorch; name an interpreter that has it with --python, or use --setup", python.display())]
    NoTorch {
        /// The interpreter.
        python: PathBuf,
    },
    /// The environment of PyTorch cannot be made.
    #[error(transparent)]
    Environment(#[from] templar_engine_torch::EnvironmentError),
    /// Our own engine, such as for too little memory.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A file that engines exchange values by.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file of values has a length that no number of f32 has.
    #[error("{} has {bytes} bytes, which are no whole number of f32; write it again", path.display())]
    NotValues {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        bytes: usize,
    },
    /// The path of this program is not known; the system is at fault.
    #[error("cannot find this program's own file, which measures in a process of its own; start it by its path")]
    OwnProgram(#[source] io::Error),
    /// An engine's process cannot be started.
    #[error("cannot start {engine}; check that its program may be run")]
    Start {
        /// The engine.
        engine: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// PyTorch was asked for without an interpreter.
    #[error("{engine} needs a Python with PyTorch; --setup installs it, --python names one")]
    NoPython {
        /// The engine.
        engine: &'static str,
    },
    /// A process was started without standard streams; a fault of this program.
    #[error("{engine} has no standard streams; this is a fault of the program: report it")]
    NoStreams {
        /// The engine.
        engine: &'static str,
    },
    /// The process ended, or closed its streams.
    #[error("{engine} ended early; see whether the machine has run out of memory, and measure a smaller --model")]
    Ended {
        /// The engine.
        engine: &'static str,
        /// What the system said of its streams, where it said something.
        source: Option<io::Error>,
    },
    /// What a process answered cannot be understood.
    #[error("{engine} answered `{line}`, which is no answer of this version; make the environment again with --setup")]
    Answer {
        /// The engine.
        engine: &'static str,
        /// Its line.
        line: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// An engine could not do what it was asked for, in its own words.
    #[error("{engine} failed: {reason}")]
    Failed {
        /// The engine.
        engine: &'static str,
        /// Why.
        reason: String,
    },
    /// The thread of the second of two engines ended early; a fault of this program.
    #[error("the thread of the second engine panicked; this is a fault of the program: report it")]
    Panicked,
    /// Our own engine is not among those that run.
    #[error("our own engine did not start: {reason}")]
    Absent {
        /// Who could not take part, and why.
        reason: String,
    },
    /// A line that a worker got is not a request; whoever started it is at fault.
    #[error("this is not a request; a worker is started by `templar bench engine`")]
    Request(#[source] serde_json::Error),
    /// A request or an answer has no JSON; a fault of this program.
    #[error("cannot write a message as JSON; this is a fault of the program: report it")]
    Json(#[source] serde_json::Error),
    /// A worker's own streams; whoever started it has ended.
    #[error("cannot reach the program that started this worker")]
    Stream(#[from] io::Error),
}
