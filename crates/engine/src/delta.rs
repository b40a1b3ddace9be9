//! Sparse changes of the parameters.

/// Some changed parameters: `parameters[indices[i]] += values[i]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SparseDelta<'a> {
    /// Places in the flat buffer.
    pub indices: &'a [u32],
    /// What is added there.
    pub values: &'a [f32],
}

/// A delta that does not fit; its author is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// It contradicts itself.
    #[error("a delta of {indices} indices has {values} values; the delta's author is at fault")]
    Length {
        /// Number of indices.
        indices: usize,
        /// Number of values.
        values: usize,
    },
    /// It does not fit the model.
    #[error("delta index {index} is outside the {total} parameters; the delta's author is at fault")]
    Index {
        /// The index.
        index: usize,
        /// Number of parameters.
        total: usize,
    },
}

impl SparseDelta<'_> {
    /// Checks that it has a value for each index, and that each index is one of `total` parameters.
    pub fn check(&self, total: usize) -> Result<(), DeltaError> {
        let Self { indices, values } = *self;
        if indices.len() != values.len() {
            return Err(DeltaError::Length { indices: indices.len(), values: values.len() });
        }
        match indices.iter().find(|&&index| index as usize >= total) {
            Some(&index) => Err(DeltaError::Index { index: index as usize, total }),
            None => Ok(()),
        }
    }
}
