//! What a measurement of codings fails by.

use crate::KeptError;
use crate::convergence::SimulationError;
use templar_engine::{TooLittleMemory, UnknownPreset};
use templar_gradient::exchange::QuantisedError;
use templar_gradient::{AggregateError, FeedbackError, LayoutError, MergeError, PayloadError};

/// Codings that could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GradientBenchError {
    /// There is no model of this name; the caller is at fault.
    #[error(transparent)]
    Preset(#[from] UnknownPreset),
    /// The simulated workers failed.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// Kept values cannot be used.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// The synthetic values do not fit this machine; take fewer --workers or --synthetic-values.
    #[error("{0}; take fewer --workers or --synthetic-values")]
    Memory(#[source] TooLittleMemory),
    /// The threads to measure on cannot be started.
    #[error("cannot start the threads; take fewer --threads")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// The model cannot be cut into chunks with this number of kept values.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Nothing can be sent of the values.
    #[error(transparent)]
    Feedback(#[from] FeedbackError),
    /// A payload does not come back from its bytes; a fault of this program.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The published coding does not come back from its bytes; a fault of this program.
    #[error(transparent)]
    Quantised(#[from] QuantisedError),
    /// The payloads cannot be merged.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// An aggregate does not come back from its bytes; a fault of this program.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    /// Two ways to the same result differ; a fault of this program.
    #[error("{what}; this is a fault of the program: report it")]
    Differs {
        /// What differs.
        what: &'static str,
    },
}

/// Fails where two ways to the same result differ.
pub(super) fn check_same(is_same: bool, what: &'static str) -> Result<(), GradientBenchError> {
    if is_same { Ok(()) } else { Err(GradientBenchError::Differs { what }) }
}
