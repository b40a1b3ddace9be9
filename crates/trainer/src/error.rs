//! Why a window's work cannot be done.

use crate::AnchorError;
use templar_base::{StateHash, Window};
use templar_corpus::AssignmentError;
use templar_engine::EngineError;
use templar_gradient::{FeedbackError, LengthMismatch};

/// A step of a worker's window that failed. The worker is as it was before, unless the variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainerError {
    /// The engine rejected the batch, or the training diverged.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The window's data has no such batch.
    #[error(transparent)]
    Data(#[from] AssignmentError),
    /// Nothing can be sent of the drift.
    #[error(transparent)]
    Feedback(#[from] FeedbackError),
    /// Buffers of different models.
    #[error(transparent)]
    Length(#[from] LengthMismatch),
    /// The end point of the last seal cannot be written.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// The outcome or the payload of another window was asked for.
    #[error("window {asked} was asked for, and the parameters are those at the start of window {held}")]
    Window {
        /// The window asked for.
        asked: Window,
        /// The window at whose start the shared parameters are.
        held: Window,
    },
    /// The agreed start state is another than the one held.
    #[error("window {window} starts at state {agreed}, and this worker trained from {held}; fetch a checkpoint")]
    StartState {
        /// The window.
        window: Window,
        /// What was agreed.
        agreed: StateHash,
        /// What is held.
        held: StateHash,
    },
    /// A second payload before the outcome of the first.
    #[error("the outcome of the payload before that of window {window} has not been applied")]
    Undecided {
        /// The window whose payload was asked for.
        window: Window,
    },
    /// No inner step was done on the window's data.
    #[error("no inner step was done for window {window}; nothing can be sent")]
    Untrained {
        /// The window.
        window: Window,
    },
}
