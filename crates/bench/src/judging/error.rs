//! What the comparison of judgings fails by.

use templar_corpus::{AssignmentError, PlanError};
use templar_engine::{EngineError, UnknownPreset};
use templar_gauntlet::{JudgeError, MeasureError};
use templar_gradient::MergeError;
use templar_node::NodeError;
use templar_record::RecordError;
use templar_simulator::ModelError;
use templar_trainer::TrainerError;

/// Judgings that could not be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JudgingBenchError {
    /// The model has no sizes; a fault of this program.
    #[error(transparent)]
    Preset(#[from] UnknownPreset),
    /// The rules cannot be used, or their model does not fit this machine.
    #[error(transparent)]
    Rules(#[from] RecordError),
    /// The corpus is too small for the miners of the pool.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The text is too small for the rules, or cannot be read.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A batch cannot be read.
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A miner's window failed.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// Ours could not judge a window.
    #[error(transparent)]
    Judge(#[from] JudgeError),
    /// The original could not judge a window.
    #[error("the original's judging failed; this is a fault of the program: report it")]
    Original(#[from] ModelError),
    /// What a step really brings could not be measured.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// Payloads could not be merged; a fault of this program.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// Somebody asked for the end.
    #[error("interrupted; run the command again, with fewer --windows or --seeds if it takes too long")]
    Interrupted,
}
