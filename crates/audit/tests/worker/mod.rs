//! A miner on a small model, honest or not, and the auditor that looks at it.

use std::sync::{Arc, OnceLock};
use templar_audit::{Case, EndState, Examination, Outcome, PublishedPayload, Rules};
use templar_base::{ContentHash, FeedbackValues, OuterRule, PublicKey, RunId, StateHash, Window};
use templar_engine::{
    Batch, Buffer, CpuBackend, DeviceName, Engine, OpenRequest, Segments, initial_parameters, open, preset,
};
use templar_gradient::{Accumulation, Aggregate, GradientLayout, MergeRule, Metadata, OuterState, OuterStep, Payload};
use templar_trainer::{
    BatchRule, Keep, MemoryAnchor, Outcome as Applying, OwnState, Sealed, SharedState, SharedView, Trainer,
    TrainerError, WindowData, WorkerRules,
};

/// Batches of a window.
pub const BATCHES: u32 = 6;
pub const HOTKEY: PublicKey = PublicKey::new([7; 32]);

pub fn engine() -> Box<dyn Engine> {
    open(&DeviceName::cpu(), &[&CpuBackend], OpenRequest::new(preset("nano", 64).unwrap())).unwrap()
}

/// How the miner holds its error feedback, where a test binary tries another than the usual way.
pub static HELD_AS: OnceLock<FeedbackValues> = OnceLock::new();

fn outer() -> OuterRule {
    let json = r#"{"error_feedback_decay": 0.95, "tensor_classes": [], "alpha": 0.7, "final_alpha": 0.7,
        "decay_from_window": 0, "decay_to_window": 0, "scales": {"clipped": {"times": 4}}}"#;
    let error_feedback_values = HELD_AS.get().copied().unwrap_or_default();
    OuterRule { error_feedback_values, ..serde_json::from_str(json).unwrap() }
}

pub fn worker_rules() -> WorkerRules {
    let engine = engine();
    let tensors = engine.layout().tensors().iter().map(|tensor| (tensor.name.clone(), tensor.range.len(), 128));
    let layout = GradientLayout::new(tensors).unwrap();
    let numerics = engine.numerics().to_string();
    WorkerRules { run: RunId::new([3; 32]), uid: Default::default(), layout, outer: outer(), numerics }
}

pub fn rules() -> Rules {
    let WorkerRules { run, layout, outer, .. } = worker_rules();
    Rules { run, layout, accumulation: Accumulation::of(&outer) }
}

/// The text of a window; `text` 0 is the assigned one.
pub fn data_of(window: u64, text: u64) -> WindowData {
    let rule = BatchRule { sequence_length: 16, end_of_text: Some(0) };
    let batch = |step: u64| -> Batch {
        rule.batch((0..34).map(|i| ((i * i + 7 * step + 3 * window + 5 * text) % 13) as u32).collect())
    };
    let batches: Vec<Batch> = (0..u64::from(BATCHES)).map(batch).collect();
    WindowData { window: Window(window), text: Arc::new(batches), inner_steps: BATCHES, learning_rate: 1e-3 }
}

pub fn data(window: u64) -> WindowData {
    data_of(window, 0)
}

/// What the miner keeps for audits, in memory.
#[derive(Default)]
pub struct Kept {
    pub end: Option<EndState>,
    pub drops: u32,
}

impl Keep for Kept {
    type Error = TrainerError;

    fn own(&mut self, own: &mut OwnState<'_>) -> Result<(), TrainerError> {
        let Some(window) = own.sent().map(|sent| sent.window) else {
            self.drops += 1;
            return Ok(());
        };
        let mut bytes = Vec::new();
        EndState::write(window, own, |part| {
            bytes.extend_from_slice(part);
            Ok(())
        })
        .unwrap();
        assert_eq!(bytes.len() as u64, EndState::coded_bytes(own.parameters()));
        self.end = Some(EndState::read(&mut bytes.as_slice(), own.parameters()).unwrap());
        Ok(())
    }

    fn shared(&mut self, _shared: &SharedView<'_>) -> Result<(), TrainerError> {
        Ok(())
    }
}

/// A miner, and all that an auditor can learn of its last two payloads.
pub struct Miner {
    pub trainer: Trainer,
    pub kept: Kept,
    pub sealed: Vec<(Window, Sealed)>,
    /// The end state before the last payload.
    pub end_before: Option<EndState>,
    /// Shared states at the start of each window.
    pub shared: Vec<OuterState>,
}

impl Miner {
    pub fn new() -> Self {
        let first = SharedState::new(Window(0), OuterState::new(initial_parameters(engine().config(), [1; 32])));
        let shared = vec![first.outer.clone()];
        let mut trainer = Trainer::new(worker_rules(), engine(), first, Box::<MemoryAnchor>::default()).unwrap();
        trainer.bind_steps();
        Self { trainer, kept: Kept::default(), sealed: Vec::new(), end_before: None, shared }
    }

    pub fn steps(&mut self, count: u32) {
        for _ in 0..count {
            self.trainer.step().unwrap().expect("there is a batch");
        }
    }

    pub fn begin(&mut self, window: u64) {
        self.trainer.begin(data(window)).unwrap();
    }

    pub fn next(&self) -> Window {
        self.trainer.shared().next
    }

    pub fn state(&self) -> StateHash {
        self.trainer.shared().state
    }

    pub fn seal(&mut self) -> Payload {
        let (window, state) = (self.next(), self.state());
        self.end_before = self.kept.end.take();
        let sealed = self.trainer.seal(window, state, &mut self.kept).unwrap();
        let payload = sealed.payload.clone();
        self.sealed.push((window, sealed));
        payload
    }

    /// Merges this payload, or nothing.
    pub fn apply(&mut self, payload: Option<&Payload>) {
        let layout = worker_rules().layout;
        let aggregate =
            payload.map(|payload| Aggregate::merge(&layout, &[(payload, 1)], MergeRule::default()).unwrap());
        let step = OuterStep::of(&outer(), self.next());
        let outcome = Applying { aggregate: aggregate.as_ref(), step: &step };
        self.trainer.apply(self.next(), outcome, &mut self.kept).unwrap();
        self.shared.push(self.trainer.shared().outer.clone());
    }

    pub fn parameters(&mut self) -> Vec<f32> {
        self.trainer.learner_mut().engine_mut().to_vec(Buffer::Parameters).unwrap()
    }

    /// What an auditor gathers of the last payload.
    pub fn case(&self) -> Case {
        let (window, sealed) = self.sealed.last().unwrap();
        let previous = self.sealed.iter().rev().nth(1).map(|(_, sealed)| sealed.payload.clone());
        self.case_of(*window, sealed.payload.clone(), sealed.leaves.clone(), previous)
    }

    pub fn case_of(
        &self,
        window: Window,
        payload: Payload,
        leaves: Vec<ContentHash>,
        previous: Option<Payload>,
    ) -> Case {
        let before = window.previous();
        Case {
            payload,
            leaves,
            previous: previous.map(|payload| (published(&payload), payload)),
            end: self.end_before.clone(),
            shared: self.shared[window.get() as usize].clone(),
            before: before.map(|before| self.shared[before.get() as usize].clone()),
            data: data(window.get()),
            previous_data: before.map(|before| data(before.get())),
        }
    }
}

pub fn published(payload: &Payload) -> PublishedPayload {
    PublishedPayload { hotkey: HOTKEY, window: payload.metadata().window, key: [5; 32], bytes: payload.encode() }
}

/// Audits to the end, with the engine used for something else after each step.
pub fn audit(case: Case) -> Outcome {
    audit_by(rules(), case)
}

pub fn audit_by(rules: Rules, case: Case) -> Outcome {
    let mut examination = match Examination::new(rules, case) {
        Ok(examination) => examination,
        Err(outcome) => return *outcome,
    };
    let mut engine = engine();
    loop {
        if let Some(outcome) = examination.advance(engine.as_mut()).unwrap() {
            return outcome;
        }
        examination.pause(engine.as_mut()).unwrap();
        let zeros = vec![0.0; engine.layout().total()];
        engine.write(Buffer::Parameters, 0, &zeros).unwrap();
    }
}

/// The metadata of a payload, changed.
pub fn relabelled(payload: &Payload, change: impl FnOnce(&mut Metadata)) -> Payload {
    let mut metadata = payload.metadata().clone();
    change(&mut metadata);
    payload.clone().with_metadata(metadata).unwrap()
}
