//! The one error of buffers that do not fit the model.

/// A buffer of another length than the model's; the caller is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a buffer of {actual} values where {expected} are needed; the caller is at fault")]
pub struct LengthMismatch {
    /// Values given.
    pub actual: usize,
    /// Values expected.
    pub expected: usize,
}

/// Checks a buffer's length.
pub(crate) fn same_length(actual: usize, expected: usize) -> Result<(), LengthMismatch> {
    if actual == expected { Ok(()) } else { Err(LengthMismatch { actual, expected }) }
}
