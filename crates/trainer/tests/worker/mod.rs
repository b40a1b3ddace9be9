//! One worker on a small model, and text for it.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::Arc;
use templar_base::{OuterRule, StateHash, Window};
use templar_engine::{
    Batch, Buffer, CpuBackend, DeviceName, Engine, OpenRequest, Segments, initial_parameters, open, preset,
};
use templar_gradient::{Aggregate, GradientLayout, MergeRule, OuterState, OuterStep, Payload};
use templar_trainer::{
    Applied, BatchRule, Keep, MemoryAnchor, Outcome, OwnState, Sealed, SharedState, SharedView, Trainer, TrainerError,
    Volatile, WindowData, WorkerRules,
};

/// Inner steps of a window.
pub const STEPS: u32 = 4;

pub fn engine() -> Box<dyn Engine> {
    open(&DeviceName::cpu(), &[&CpuBackend], OpenRequest::new(preset("nano", 64).unwrap())).unwrap()
}

pub fn outer() -> OuterRule {
    let json = r#"{"error_feedback_decay": 0.95, "tensor_classes": [], "alpha": 0.7, "final_alpha": 0.7,
        "decay_from_window": 0, "decay_to_window": 0, "scales": {"clipped": {"times": 4}}}"#;
    serde_json::from_str(json).unwrap()
}

pub fn rules(outer: OuterRule) -> WorkerRules {
    let engine = engine();
    let tensors = engine.layout().tensors().iter().map(|tensor| (tensor.name.clone(), tensor.range.len(), 128));
    let layout = GradientLayout::new(tensors).unwrap().with_values(outer.values).unwrap();
    let numerics = engine.numerics().to_string();
    WorkerRules { run: Default::default(), uid: Default::default(), layout, outer, numerics }
}

pub fn first() -> SharedState {
    SharedState::new(Window(0), OuterState::new(initial_parameters(engine().config(), [1; 32])))
}

/// Two batches more than a window's steps.
pub fn data(window: u64) -> WindowData {
    let rule = BatchRule { sequence_length: 16, end_of_text: Some(0) };
    let batch =
        |step: u64| -> Batch { rule.batch((0..34).map(|i| ((i * i + 7 * step + 3 * window) % 13) as u32).collect()) };
    let batches: Vec<Batch> = (0..u64::from(STEPS) + 2).map(batch).collect();
    WindowData { window: Window(window), text: Arc::new(batches), inner_steps: STEPS + 2, learning_rate: 1e-3 }
}

/// A worker and what it sees of the outside.
pub struct Worker {
    pub trainer: Trainer,
    pub rules: WorkerRules,
}

impl Worker {
    pub fn new() -> Self {
        Self::of_rule(outer())
    }

    pub fn of_rule(outer: OuterRule) -> Self {
        let rules = rules(outer);
        let trainer = Trainer::new(rules.clone(), engine(), first(), Box::<MemoryAnchor>::default()).unwrap();
        Self { trainer, rules }
    }

    pub fn steps(&mut self, count: u32) {
        for _ in 0..count {
            self.trainer.step().unwrap().expect("there is a batch");
        }
    }

    pub fn state(&self) -> StateHash {
        self.trainer.learner().shared().state
    }

    pub fn next(&self) -> Window {
        self.trainer.learner().shared().next
    }

    pub fn parameters(&mut self) -> Vec<f32> {
        self.trainer.learner_mut().engine_mut().to_vec(Buffer::Parameters).unwrap()
    }

    pub fn shared(&self) -> Vec<f32> {
        self.trainer.learner().shared().outer.params.clone()
    }

    pub fn residual(&self) -> Vec<f32> {
        self.trainer.feedback().values()
    }

    pub fn seal(&mut self) -> Result<Sealed, TrainerError> {
        self.trainer.seal(self.next(), self.state(), &mut Volatile)
    }

    pub fn merged(&self, payload: &Payload) -> Aggregate {
        Aggregate::merge(&self.rules.layout, &[(payload, 1)], MergeRule::default()).unwrap()
    }

    pub fn apply(&mut self, payload: Option<&Payload>) -> Result<Applied, TrainerError> {
        let (window, aggregate) = (self.next(), payload.map(|payload| self.merged(payload)));
        let step = OuterStep::of(&self.rules.outer, window);
        self.trainer.apply(window, Outcome { aggregate: aggregate.as_ref(), step: &step }, &mut Volatile)
    }
}

/// A disk that refuses.
pub struct Refusing;

impl Keep for Refusing {
    type Error = TrainerError;

    fn own(&mut self, _own: &mut OwnState<'_>) -> Result<(), TrainerError> {
        Err(TrainerError::Untrained { window: Window(99) })
    }

    fn shared(&mut self, _shared: &SharedView<'_>) -> Result<(), TrainerError> {
        Err(TrainerError::Untrained { window: Window(99) })
    }
}
