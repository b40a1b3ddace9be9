//! The engine as the gauntlet sees it: a window's evaluation batch in equal parts.

use crate::{Data, NodeError};
use std::collections::BTreeMap;
use templar_base::{Beacon, PublicKey, Uid, Window};
use templar_corpus::AssignmentError;
use templar_engine::{Batch, Buffer, Engine};
use templar_gauntlet::{Model, ModelError, PROBE_SEQUENCES, own_text_batches};
use templar_record::Rules;
use templar_trainer::mean_loss;

/// An engine with the window's evaluation data.
pub struct EvaluationModel<'a> {
    engine: &'a mut dyn Engine,
    parts: &'a [Batch],
    assigned: Option<AssignedTexts<'a>>,
    /// Of the miner that is probed.
    own: Vec<Batch>,
}

/// What miners were to train on in a window.
#[derive(Debug, Clone, Copy)]
pub struct AssignedTexts<'a> {
    /// The run's text.
    pub data: &'a Data,
    /// The window.
    pub window: Window,
    /// Of the window's first block.
    pub beacon: Beacon,
    /// The miners.
    pub registered: &'a BTreeMap<Uid, PublicKey>,
}

impl AssignedTexts<'_> {
    /// The parts of a miner's own text for a probe.
    fn parts(&self, uid: Uid, steps: u32) -> Result<Vec<Batch>, AssignmentError> {
        let Some(hotkey) = self.registered.get(&uid) else { return Ok(Vec::new()) };
        let assignment = self.data.assignments.assignment(self.window, hotkey, &self.beacon);
        let rule = self.data.batch_rule;
        let part = |number: u32| {
            let mut tokens = assignment.batch(number)?;
            tokens.truncate(PROBE_SEQUENCES * (rule.sequence_length + 1));
            Ok(rule.batch(tokens))
        };
        own_text_batches(steps.min(assignment.batches())).map(part).collect()
    }
}

impl<'a> EvaluationModel<'a> {
    /// The engine, whose parameters will be set, and the parts.
    pub fn new(engine: &'a mut dyn Engine, parts: &'a [Batch]) -> Self {
        Self { engine, parts, assigned: None, own: Vec::new() }
    }

    /// The same with what miners were to train on, so that some are probed on it.
    pub fn with_assigned(self, assigned: AssignedTexts<'a>) -> Self {
        Self { assigned: Some(assigned), ..self }
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

    fn begin_own_text(&mut self, uid: Uid, steps: u32) -> Result<usize, ModelError> {
        // Text that this node cannot read says nothing of the miner.
        self.own = self.assigned.and_then(|assigned| assigned.parts(uid, steps).ok()).unwrap_or_default();
        Ok(self.own.len())
    }

    fn own_gradient(&mut self, part: usize) -> Result<f64, ModelError> {
        let batch = self.own.get(part).ok_or_else(|| ModelError(format!("there is no part {part} of its own text")))?;
        self.engine.gradient(batch).map(f64::from).map_err(|error| ModelError(error.to_string()))
    }
}
