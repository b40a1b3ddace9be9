//! What a network in one process fails by.

use templar_base::GenesisError;
use templar_corpus::AssignmentError;
use templar_engine::{EngineError, UnknownPreset};
use templar_gauntlet::JudgeError;
use templar_gradient::MergeError;
use templar_localnet::SetupError;
use templar_node::NodeError;
use templar_record::RecordError;
use templar_trainer::TrainerError;

/// A network in one process that could not be set up or carried on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LearningError {
    /// There is no model of this name; the caller is at fault.
    #[error(transparent)]
    Preset(#[from] UnknownPreset),
    /// The text gives no rules for this number of miners.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A change is not one; the caller is at fault.
    #[error("`{change}` is not FIELD=VALUE; write it like outer.alpha=0.7")]
    NotAChange {
        /// What was given.
        change: String,
    },
    /// A change names a field that no genesis has; the caller is at fault.
    #[error("the genesis has no field `{field}`; docs/run.md lists them")]
    NoField {
        /// The field.
        field: String,
    },
    /// The changed rules do not hold; the caller is at fault.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The rules have no JSON; a fault of this program.
    #[error("cannot write the rules as JSON; this is a fault of the program: report it")]
    Json(#[source] serde_json::Error),
    /// The rules cannot be used, or their model does not fit this machine.
    #[error(transparent)]
    Rules(#[from] RecordError),
    /// The text is not that of the rules, or cannot be read.
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
    /// A window could not be judged.
    #[error(transparent)]
    Judge(#[from] JudgeError),
    /// The judged payloads could not be merged; a fault of this program.
    #[error(transparent)]
    Merge(#[from] MergeError),
}
