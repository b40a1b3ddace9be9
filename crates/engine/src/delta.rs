//! Sparse changes of the parameters.

use crate::EngineError;

/// Some changed parameters: `parameters[indices[i]] += values[i]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SparseDelta<'a> {
    /// Places in the flat buffer.
    pub indices: &'a [u32],
    /// What is added there.
    pub values: &'a [f32],
}

impl SparseDelta<'_> {
    /// Checks that it has a value for each index, and that each index is one of `total` parameters.
    pub fn check(&self, total: usize) -> Result<(), EngineError> {
        let Self { indices, values } = *self;
        if indices.len() != values.len() {
            return Err(EngineError::DeltaLength { indices: indices.len(), values: values.len() });
        }
        match indices.iter().find(|&&index| index as usize >= total) {
            Some(&index) => Err(EngineError::DeltaIndex { index: index as usize, total }),
            None => Ok(()),
        }
    }
}
