//! The model as a judge sees it.

/// The model could not be evaluated; the judge's own fault (its memory, its data), never a miner's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the model could not be evaluated: {0}")]
pub struct ModelError(pub String);

/// Loss and gradient at any point, on the window's evaluation batch, which is split into equal parts.
pub trait Model {
    /// Number of parts of the evaluation batch.
    fn parts(&self) -> usize;

    /// Mean loss in nats per token at `params` on one part; its gradient goes to `gradient`, one value a parameter.
    fn gradient(&mut self, params: &[f32], part: usize, gradient: &mut [f32]) -> Result<f64, ModelError>;

    /// Mean loss in nats per token at `params` on the whole evaluation batch.
    fn loss(&mut self, params: &[f32]) -> Result<f64, ModelError>;
}
