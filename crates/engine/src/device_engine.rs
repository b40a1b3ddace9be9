//! The engine over the operations of any device.

mod buffers;
mod generation;
mod optimiser;
mod scoring;

use crate::batch::{Batch, Positions};
use crate::generate::Generator;
use crate::layout::ParamLayout;
use crate::muon::MuonMemory;
use crate::numerics::NumericsId;
use crate::ops::{Ops, OpsResult, View, ViewMut};
use crate::optimiser::OptimiserConfig;
use crate::scoring::Scorer;
use crate::transformer::{GradientSum, Transformer, read, write};
use crate::{Buffer, Engine, EngineError, SparseDelta, StepReport};
use buffers::Buffers;
use std::borrow::BorrowMut;
use templar_base::ModelConfig;

/// An [`Engine`] over the operations of a device, whose memory holds the flat buffers.
///
/// A [`crate::Backend`] makes it of its [`Ops`].
pub struct DeviceEngine<O: Ops> {
    ops: O,
    device: String,
    numerics: NumericsId,
    model: Transformer<O>,
    optimiser: OptimiserConfig,
    buffers: Buffers<O::Owned>,
    /// Steps of the optimiser.
    step: u64,
    /// With Muon, from the first training step on.
    muon: Option<MuonMemory<O::Owned>>,
    /// What a delta changed, as it was.
    undo: O::Owned,
    undo_capacity: usize,
}

impl<O: Ops> DeviceEngine<O> {
    /// An engine whose parameters are zero. `device` describes the device for people; `numerics` is the arithmetic that
    /// `ops` keeps to.
    pub fn new(
        mut ops: O,
        device: String,
        numerics: NumericsId,
        config: ModelConfig,
        optimiser: OptimiserConfig,
    ) -> Result<Self, EngineError> {
        config.check()?;
        optimiser.check()?;
        let model = Transformer::new(&mut ops, config)?;
        let buffers = Buffers::new(&mut ops, model.layout().total())?;
        let undo = ops.allocate(0)?;
        Ok(Self { ops, device, numerics, model, optimiser, buffers, step: 0, muon: None, undo, undo_capacity: 0 })
    }

    fn check_range(&self, what: Buffer, start: usize, len: usize) -> Result<(), EngineError> {
        let total = self.buffers.total;
        match start.checked_add(len) {
            Some(end) if end <= total => Ok(()),
            _ => Err(EngineError::Range { what, start, len, total }),
        }
    }

    fn positions(&self, batch: &Batch) -> Result<Positions, EngineError> {
        Positions::new(batch, self.model.config().vocab_size)
    }

    /// The sum of the losses over the counted targets, and the gradient of their mean over `tokens` targets.
    fn sum_gradient(&mut self, positions: &[Positions], tokens: usize) -> OpsResult<f64> {
        let (memory, parameters) = self.buffers.gradient_and_parameters(&mut self.ops)?;
        let memory: &mut O::Memory = memory.borrow_mut();
        let parameters = read(parameters).memory;
        let scale = 1.0 / tokens as f32;
        let mut loss = 0.0;
        for (index, positions) in positions.iter().enumerate() {
            let gradient = GradientSum { memory: &mut *memory, scale, accumulate: index > 0 };
            loss += sum(&self.model.gradient(&mut self.ops, parameters, positions, gradient)?);
        }
        Ok(loss)
    }

    /// The L2 norm of the gradient.
    fn gradient_norm(&mut self) -> OpsResult<f64> {
        let gradient = self.buffers.allocated(&mut self.ops, Buffer::Gradient)?;
        let gradient = read(gradient);
        Ok(self.ops.sum_of_squares(gradient, self.model.layout().total())?.sqrt())
    }

    /// The mean loss of each sequence.
    fn sequence_losses(&mut self, positions: &Positions) -> OpsResult<Vec<f32>> {
        let losses = self.model.losses(&mut self.ops, read(&self.buffers.parameters).memory, positions)?;
        Ok(sequence_means(positions, &losses))
    }
}

/// The mean of the counted losses of each sequence.
fn sequence_means(positions: &Positions, losses: &[f32]) -> Vec<f32> {
    let rows = losses.chunks_exact(positions.length).zip(positions.targets.chunks_exact(positions.length));
    rows.map(|(losses, targets)| {
        let counted = targets.iter().filter(|&&target| target != crate::IGNORED_TOKEN).count();
        (sum(losses) / counted.max(1) as f64) as f32
    })
    .collect()
}

/// In order, in f64.
fn sum(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum()
}

/// Number of targets that count; an error if there is none.
fn counted_targets(positions: &[Positions]) -> Result<usize, EngineError> {
    match positions.iter().map(Positions::counted_targets).sum() {
        0 => Err(EngineError::Empty("the set of targets")),
        tokens => Ok(tokens),
    }
}

impl<O: Ops> Engine for DeviceEngine<O>
where
    O::Owned: 'static,
{
    fn config(&self) -> &ModelConfig {
        self.model.config()
    }

    fn layout(&self) -> &ParamLayout {
        self.model.layout()
    }

    fn numerics(&self) -> NumericsId {
        self.numerics
    }

    fn device(&self) -> &str {
        &self.device
    }

    fn read(&mut self, what: Buffer, start: usize, out: &mut [f32]) -> Result<(), EngineError> {
        self.check_range(what, start, out.len())?;
        match self.buffers.get(what) {
            Some(buffer) => self.ops.download(View::new(read(buffer).memory, start), out)?,
            None => out.fill(0.0),
        }
        Ok(())
    }

    fn write(&mut self, what: Buffer, start: usize, values: &[f32]) -> Result<(), EngineError> {
        self.check_range(what, start, values.len())?;
        let buffer = self.buffers.allocated(&mut self.ops, what)?;
        Ok(self.ops.upload(values, ViewMut::new(buffer.borrow_mut(), start))?)
    }

    fn add(&mut self, delta: SparseDelta) -> Result<(), EngineError> {
        delta.check(self.buffers.total)?;
        Ok(self.ops.add_sparse(delta, write(&mut self.buffers.parameters), None)?)
    }

    fn train_step(&mut self, micro_batches: &[Batch], learning_rate: f32) -> Result<StepReport, EngineError> {
        if !learning_rate.is_finite() {
            return Err(EngineError::NotFinite("the learning rate"));
        }
        let positions = micro_batches.iter().map(|batch| self.positions(batch)).collect::<Result<Vec<_>, _>>()?;
        let tokens = counted_targets(&positions)?;
        let loss = (self.sum_gradient(&positions, tokens)? / tokens as f64) as f32;
        let gradient_norm = self.gradient_norm()?;
        if !loss.is_finite() || !(gradient_norm as f32).is_finite() {
            return Err(EngineError::NotFinite(if loss.is_finite() { "the gradient" } else { "the loss" }));
        }
        self.apply_optimiser(learning_rate, gradient_norm)?;
        Ok(StepReport { loss, gradient_norm: gradient_norm as f32, tokens })
    }

    fn optimiser_step(&self) -> u64 {
        self.step
    }

    fn set_optimiser_step(&mut self, step: u64) -> Result<(), EngineError> {
        self.step = step;
        Ok(())
    }

    fn reset_optimiser(&mut self) -> Result<(), EngineError> {
        self.step = 0;
        if let Some(moments) = &mut self.buffers.moments {
            self.ops.zero(write(&mut moments.first), self.buffers.total)?;
            self.ops.zero(write(&mut moments.second), self.buffers.total)?;
        }
        Ok(())
    }

    fn gradient(&mut self, batch: &Batch) -> Result<f32, EngineError> {
        let positions = [self.positions(batch)?];
        let tokens = counted_targets(&positions)?;
        Ok((self.sum_gradient(&positions, tokens)? / tokens as f64) as f32)
    }

    fn evaluate(&mut self, batch: &Batch) -> Result<Vec<f32>, EngineError> {
        let positions = self.positions(batch)?;
        Ok(self.sequence_losses(&positions)?)
    }

    fn evaluate_with(&mut self, delta: SparseDelta, batch: &Batch) -> Result<Vec<f32>, EngineError> {
        delta.check(self.buffers.total)?;
        let positions = self.positions(batch)?;
        if delta.indices.len() > self.undo_capacity {
            self.undo_capacity = 0;
            self.undo = self.ops.allocate(delta.indices.len())?;
            self.undo_capacity = delta.indices.len();
        }
        let undo = write(&mut self.undo);
        self.ops.add_sparse(delta, write(&mut self.buffers.parameters), Some(undo))?;
        let losses = self.sequence_losses(&positions);
        // Also where the losses could not be computed: the parameters are to be as they were.
        self.ops.restore_sparse(delta.indices, read(&self.undo), write(&mut self.buffers.parameters))?;
        Ok(losses?)
    }

    fn logits(&mut self, batch: &Batch) -> Result<Vec<f32>, EngineError> {
        let positions = self.positions(batch)?;
        Ok(self.model.all_logits(&mut self.ops, read(&self.buffers.parameters).memory, &positions)?)
    }

    fn set_recomputing(&mut self, is_recomputing: bool) -> Result<(), EngineError> {
        self.model.set_recomputing(is_recomputing);
        Ok(())
    }

    fn generator(&mut self) -> Result<&mut dyn Generator, EngineError> {
        Ok(self)
    }

    fn scorer(&mut self) -> Result<&mut dyn Scorer, EngineError> {
        Ok(self)
    }
}
