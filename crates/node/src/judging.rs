//! The engine as the gauntlet sees it: a window's evaluation batch in equal parts.

use crate::{Data, NodeError};
use templar_base::{Beacon, Window};
use templar_engine::{Batch, Buffer, Engine};
use templar_gauntlet::{Model, ModelError};
use templar_record::Rules;
use templar_trainer::mean_loss;

/// An engine with the window's evaluation data.
pub struct EvaluationModel<'a> {
    engine: &'a mut dyn Engine,
    parts: &'a [Batch],
}

impl<'a> EvaluationModel<'a> {
    /// The engine, whose parameters will be set, and the parts.
    pub fn new(engine: &'a mut dyn Engine, parts: &'a [Batch]) -> Self {
        Self { engine, parts }
    }
}

/// The parts of the evaluation batch that a beacon draws from the evaluation text of the window's span.
pub fn evaluation_parts(run: &Rules, data: &Data, window: Window, beacon: &Beacon) -> Result<Vec<Batch>, NodeError> {
    let judging = &run.genesis.judging;
    let sequences = data.assignments.evaluation_sequences(window, beacon, judging.evaluation_sequences)?;
    let each = judging.evaluation_sequences / judging.evaluation_parts;
    Ok(data.batch_rule.batches(&sequences.concat(), each))
}

impl Model for EvaluationModel<'_> {
    fn parts(&self) -> usize {
        self.parts.len()
    }

    fn set_point(&mut self, start: usize, params: &[f32]) -> Result<(), ModelError> {
        self.engine.write(Buffer::Parameters, start, params).map_err(|error| ModelError(error.to_string()))
    }

    fn gradient(&mut self, part: usize) -> Result<f64, ModelError> {
        let loss = self.engine.gradient(&self.parts[part]);
        loss.map(f64::from).map_err(|error| ModelError(error.to_string()))
    }

    fn read_gradient(&mut self, start: usize, out: &mut [f32]) -> Result<(), ModelError> {
        self.engine.read(Buffer::Gradient, start, out).map_err(|error| ModelError(error.to_string()))
    }

    fn losses(&mut self) -> Result<Vec<f64>, ModelError> {
        let losses = self.parts.iter().map(|part| mean_loss(self.engine, std::slice::from_ref(part)));
        losses.collect::<Result<_, _>>().map_err(|error| ModelError(error.to_string()))
    }
}
