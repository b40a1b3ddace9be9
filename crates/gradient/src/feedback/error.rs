//! Why nothing was accumulated, sent or loaded.

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
    /// Bytes that are not whole values.
    #[error("{bytes} bytes of saved error feedback where the model needs {expected}; start it from zero")]
    SavedLength {
        /// Bytes given.
        bytes: usize,
        /// Bytes expected.
        expected: usize,
    },
    /// The metadata cannot be coded.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// A saved error feedback that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SavedFeedbackError {
    /// The bytes could not be read, or end too early; the disk is at fault.
    #[error("the saved error feedback cannot be read; start it from zero")]
    Read(#[from] std::io::Error),
    /// It is not this model's.
    #[error(transparent)]
    Content(#[from] FeedbackError),
}
