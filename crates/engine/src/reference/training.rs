//! Some steps of training by another implementation, on the expected inputs.

use super::{Difference, Inputs, OpenModel, ReferenceError, Tolerance, largest};
use crate::{Batch, Buffer, Engine, OptimiserConfig};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use templar_base::MatrixOptimiser;

/// The settings of a training and what came of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrainingRun {
    hidden_matrices: MatrixOptimiser,
    learning_rate: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    weight_decay: f32,
    clip_norm: f32,
    /// Before each step.
    losses: Vec<f64>,
    /// How far each tensor moved in all, as an L2 norm.
    moved: BTreeMap<String, f64>,
}

/// How a training compares.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainingDifference {
    /// What moved the matrices of the layers.
    pub hidden_matrices: MatrixOptimiser,
    /// Number of steps.
    pub steps: usize,
    /// The largest relative error of a step's loss, and of the way that a tensor went.
    #[serde(flatten)]
    pub difference: Difference,
    /// The tensor whose way is furthest off.
    pub tensor: Option<String>,
}

/// A training of more steps than this is no check any more.
const MOST_STEPS: usize = 1000;

impl TrainingRun {
    /// Trains another engine from the parameters of `engine`, which stay as they are.
    pub(super) fn compare(
        &self,
        engine: &mut dyn Engine,
        open: OpenModel,
        inputs: &Inputs,
        tolerance: Tolerance,
    ) -> Result<TrainingDifference, ReferenceError> {
        if self.losses.len() > MOST_STEPS {
            return Err(ReferenceError::Json(format!("a training of over {MOST_STEPS} steps")));
        }
        let Self { beta1, beta2, epsilon, weight_decay, clip_norm, hidden_matrices, .. } = *self;
        let optimiser = OptimiserConfig { beta1, beta2, epsilon, weight_decay, clip_norm, hidden_matrices };
        let mut trained = open(optimiser)?;
        let batch = [Batch::new(inputs.tokens.clone(), inputs.sequences, inputs.length - 1)];
        let mut errors = Vec::new();
        for expected in &self.losses {
            let loss = f64::from(trained.train_step(&batch, self.learning_rate)?.loss);
            errors.push((loss - expected).abs() / expected.abs().max(1.0));
        }
        let (mut worst, mut tensor) = (0.0, None);
        for (name, expected) in &self.moved {
            let place = engine.layout().tensor(name).map(|tensor| tensor.range.clone());
            let range = place.ok_or_else(|| ReferenceError::Gradient(name.clone()))?;
            let (mut before, mut after) = (vec![0.0; range.len()], vec![0.0; range.len()]);
            engine.read(Buffer::Parameters, range.start, &mut before)?;
            trained.read(Buffer::Parameters, range.start, &mut after)?;
            let squares = before.iter().zip(&after).map(|(x, y)| (f64::from(*y) - f64::from(*x)).powi(2));
            let error = (squares.sum::<f64>().sqrt() - expected).abs() / expected.max(1e-9);
            if error > worst || error.is_nan() {
                (worst, tensor) = (error, Some(name.clone()));
            }
            errors.push(error);
        }
        let difference = Difference::new(largest(errors.into_iter()), tolerance.training);
        Ok(TrainingDifference { hidden_matrices, steps: self.losses.len(), difference, tensor })
    }
}
