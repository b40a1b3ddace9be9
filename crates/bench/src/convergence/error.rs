//! What a comparison of rules fails by.

use crate::{FileError, KeptError};
use templar_corpus::{AssignmentError, CorpusError, PlanError};
use templar_engine::{EngineError, UnknownPreset};
use templar_gradient::LayoutError;
use templar_gradient::exchange::ExchangeError;
use templar_trainer::TrainerError;

/// Simulated workers that could not be trained or brought together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulationError {
    /// The engine, such as for too little memory.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The corpus cannot be read, or has too little held-out text.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The corpus is too small for a step of one worker.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A batch cannot be read.
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
    /// The model cannot be cut into chunks.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A worker's window failed.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// What the workers sent does not fit together; a fault of this program.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// Somebody asked for the end.
    #[error("interrupted; run the command again to measure what is missing")]
    Interrupted,
}

/// A comparison that could not be finished. What was kept of it stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvergenceError {
    /// There is no model of this name; a fault of this program.
    #[error(transparent)]
    Preset(#[from] UnknownPreset),
    /// The rules do not fit the model.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// A run failed.
    #[error(
        "{method} with windows of {inner_steps} steps; leave it out with --rules or --windows, or run the command again"
    )]
    Run {
        /// The method's name.
        method: String,
        /// Steps of a window.
        inner_steps: usize,
        /// What failed.
        source: SimulationError,
    },
    /// A finished run cannot be kept or read.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// Points or plots cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}
