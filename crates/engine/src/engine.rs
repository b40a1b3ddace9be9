//! The interface of an engine: a model whose parameters, gradient and moments are on a device.

use crate::batch::Batch;
use crate::generate::Generator;
use crate::layout::ParamLayout;
use crate::numerics::NumericsId;
use crate::scoring::Scorer;
use crate::{Buffer, EngineError, SparseDelta};
use templar_base::ModelConfig;

/// What a training step measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Mean loss (nats per target) before the step.
    pub loss: f32,
    /// L2 norm of the gradient before clipping.
    pub gradient_norm: f32,
    /// Number of targets that counted.
    pub tokens: usize,
}

/// A language model on a device that can be trained, judged and, where it has a [`Generator`], generate text.
///
/// The device owns the flat buffers. The host reads and writes ranges of them ([`Self::read`], [`Self::write`]) and
/// visits them segment by segment ([`crate::Segments`]); no method hands out a whole buffer, since a device may have
/// no host memory behind it. A point is set once, by writes of the parameters, and then judged in parts.
///
/// A rejected request leaves the state as it was, unless the method says otherwise. Results depend on the arguments,
/// the engine's own state and [`Self::numerics`] alone, never on the machine.
pub trait Engine: Send {
    /// The model's sizes.
    fn config(&self) -> &ModelConfig;

    /// The place of each tensor in the flat buffers.
    fn layout(&self) -> &ParamLayout;

    /// The arithmetic of this engine.
    fn numerics(&self) -> NumericsId;

    /// The device, for people: such as `cpu, avx512, 2 threads`.
    fn device(&self) -> &str;

    /// Reads `out.len()` values of a buffer from `start` on.
    fn read(&mut self, what: Buffer, start: usize, out: &mut [f32]) -> Result<(), EngineError>;

    /// Overwrites `values.len()` values of a buffer from `start` on. Other buffers and the optimiser's step stay as
    /// they are; moments can be written before the first step.
    fn write(&mut self, what: Buffer, start: usize, values: &[f32]) -> Result<(), EngineError>;

    /// Adds a sparse delta to the parameters. An index that occurs twice is changed twice, in order.
    fn add(&mut self, delta: SparseDelta) -> Result<(), EngineError>;

    /// One step of the optimiser on the mean loss over the targets of all micro-batches.
    fn train_step(&mut self, micro_batches: &[Batch], learning_rate: f32) -> Result<StepReport, EngineError>;

    /// Number of steps of the optimiser that its moments stand for.
    fn optimiser_step(&self) -> u64;

    /// Sets [`Self::optimiser_step`], with moments that were written.
    fn set_optimiser_step(&mut self, step: u64) -> Result<(), EngineError>;

    /// Forgets all steps: the step is 0, and the moments are zero.
    fn reset_optimiser(&mut self) -> Result<(), EngineError>;

    /// The mean loss over the targets of `batch`. Its gradient is left in [`Buffer::Gradient`], on the device.
    fn gradient(&mut self, batch: &Batch) -> Result<f32, EngineError>;

    /// The mean loss of each sequence; 0 for a sequence without targets.
    fn evaluate(&mut self, batch: &Batch) -> Result<Vec<f32>, EngineError>;

    /// The mean loss of each sequence at the parameters changed by `delta`. Afterwards the parameters are the same bits
    /// as before. An index that occurs twice is changed twice.
    fn evaluate_with(&mut self, delta: SparseDelta, batch: &Batch) -> Result<Vec<f32>, EngineError>;

    /// The logits of every position, `[sequences, length, vocab]`. It holds them all at once, so it is for comparisons
    /// with other engines.
    fn logits(&mut self, batch: &Batch) -> Result<Vec<f32>, EngineError>;

    /// Whether training recomputes activations rather than keep them: about a third more work, and the memory of one
    /// layer instead of all. No bit of a result depends on it.
    fn set_recomputing(&mut self, is_recomputing: bool) -> Result<(), EngineError>;

    /// Why this engine can do nothing any more, if so: the processes that held its parameters are gone. Whoever holds it
    /// opens a new one and writes what was kept.
    fn lost(&self) -> Option<&str> {
        None
    }

    /// Text generation; an error if this engine has none.
    fn generator(&mut self) -> Result<&mut dyn Generator, EngineError> {
        Err(EngineError::CannotGenerate(self.device().to_owned()))
    }

    /// Scoring of texts that share their beginnings; an error if this engine has none.
    fn scorer(&mut self) -> Result<&mut dyn Scorer, EngineError> {
        Err(EngineError::CannotScore(self.device().to_owned()))
    }
}
