//! The model as a judge sees it.

use templar_base::Uid;

/// The model could not be evaluated; the judge's own fault (its memory, its data), never a miner's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the model could not be evaluated: {0}")]
pub struct ModelError(pub String);

/// Loss and gradient at a point, on the window's evaluation batch, which is split into equal parts.
///
/// The point is set once, by ranges, and then measured part by part: the model may be on a device to which the
/// parameters have to be copied.
pub trait Model {
    /// Number of parts of the evaluation batch.
    fn parts(&self) -> usize;

    /// Sets the point's parameters from `start` on.
    fn set_point(&mut self, start: usize, params: &[f32]) -> Result<(), ModelError>;

    /// Mean loss in nats per token at the point on one part; the gradient is then read by [`Self::read_gradient`].
    fn gradient(&mut self, part: usize) -> Result<f64, ModelError>;

    /// Reads the last gradient from parameter `start` on.
    fn read_gradient(&mut self, start: usize, out: &mut [f32]) -> Result<(), ModelError>;

    /// Mean loss in nats per token at the point on each part of the evaluation batch.
    fn losses(&mut self) -> Result<Vec<f64>, ModelError>;

    /// Turns to the text that a miner was assigned in the window, of its first `steps` batches; gives the number of its parts. 0
    /// where this judge has no such text: then nobody is probed on it.
    fn begin_own_text(&mut self, _uid: Uid, _steps: u32) -> Result<usize, ModelError> {
        Ok(0)
    }

    /// As [`Self::gradient`], on a part of that text.
    fn own_gradient(&mut self, part: usize) -> Result<f64, ModelError> {
        Err(ModelError(format!("there is no part {part} of a miner's own text")))
    }
}
