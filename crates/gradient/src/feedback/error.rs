//! Why nothing was accumulated or sent.

use crate::length::LengthMismatch;
use crate::metadata::MetadataError;

/// Why nothing was accumulated or sent; the residual is as it was.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FeedbackError {
    /// NaN or infinity: the training diverged, and nothing may be sent of it.
    #[error(
        "parameter {index}: the accumulated value is {value}; training diverged, restart from the last agreed state"
    )]
    NotFinite {
        /// The first parameter at fault.
        index: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A buffer that does not fit.
    #[error(transparent)]
    Length(#[from] LengthMismatch),
    /// The metadata cannot be coded.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}
