//! The engine as the gauntlet sees it: a window's evaluation batch in equal parts.

use crate::{NodeError, Run};
use templar_base::{Beacon, Window};
use templar_engine::{Batch, Engine};
use templar_gauntlet::{Model, ModelError};

/// An engine with the window's evaluation data.
pub(crate) struct EvaluationModel<'a> {
    engine: &'a mut dyn Engine,
    parts: &'a [Batch],
}

impl<'a> EvaluationModel<'a> {
    pub(crate) fn new(engine: &'a mut dyn Engine, parts: &'a [Batch]) -> Self {
        Self { engine, parts }
    }
}

/// The parts of the evaluation batch that a beacon draws.
pub(crate) fn evaluation_parts(run: &Run, window: Window, beacon: &Beacon) -> Result<Vec<Batch>, NodeError> {
    let judging = &run.genesis.judging;
    let sequences = run.assignments.evaluation_sequences(window, beacon, judging.evaluation_sequences)?;
    let each = judging.evaluation_sequences / judging.evaluation_parts;
    Ok(sequences.chunks(each).map(|part| run.batch(part)).collect())
}

/// Mean loss over batches, each weighted by its sequences.
pub(crate) fn mean_loss(engine: &mut dyn Engine, params: &[f32], batches: &[Batch]) -> Result<f64, NodeError> {
    let (mut sum, mut sequences) = (0f64, 0usize);
    for batch in batches {
        let losses = engine.evaluate(params, batch)?;
        sum += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
        sequences += losses.len();
    }
    Ok(sum / sequences.max(1) as f64)
}

impl Model for EvaluationModel<'_> {
    fn parts(&self) -> usize {
        self.parts.len()
    }

    fn gradient(&mut self, params: &[f32], part: usize, gradient: &mut [f32]) -> Result<f64, ModelError> {
        let loss = self.engine.gradient(params, &self.parts[part], gradient);
        loss.map(f64::from).map_err(|error| ModelError(error.to_string()))
    }

    fn loss(&mut self, params: &[f32]) -> Result<f64, ModelError> {
        mean_loss(self.engine, params, self.parts).map_err(|error| ModelError(error.to_string()))
    }
}
