//! What a miner holds, in copies of the model: counted by the allocator on a model of 32 million parameters.

mod worker;

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use templar_base::{FeedbackValues, Window};
use templar_engine::{CpuBackend, DeviceName, Engine, OpenRequest, initial_parameters, open, preset};
use templar_gradient::{Aggregate, GradientLayout, MergeRule, OuterState, OuterStep};
use templar_testing::{CountingAllocator, bytes_in_use, peak_bytes_of};
use templar_trainer::{
    Anchor, AnchorError, BatchRule, Keep, Outcome, OwnState, SharedState, SharedView, Trainer, TrainerError,
    WindowData, WorkerRules,
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// A file of values.
struct FileAnchor {
    path: PathBuf,
    writing: Option<BufWriter<File>>,
    reading: Option<BufReader<File>>,
}

impl Anchor for FileAnchor {
    fn write(&mut self, start: usize, values: &[f32]) -> Result<(), AnchorError> {
        if start == 0 {
            self.writing = Some(BufWriter::new(File::create(&self.path).unwrap()));
        }
        let file = self.writing.as_mut().unwrap();
        values.iter().for_each(|value| file.write_all(&value.to_le_bytes()).unwrap());
        file.flush().unwrap();
        Ok(())
    }

    fn read(&mut self, start: usize, out: &mut [f32]) -> Result<(), AnchorError> {
        if start == 0 {
            self.reading = Some(BufReader::new(File::open(&self.path).unwrap()));
        }
        let file = self.reading.as_mut().unwrap();
        for value in out {
            let mut bytes = [0; 4];
            file.read_exact(&mut bytes).unwrap();
            *value = f32::from_le_bytes(bytes);
        }
        Ok(())
    }
}

/// Reads everything that is to be kept, as a disk does.
#[derive(Default)]
struct Counting {
    feedback: usize,
    shared: usize,
}

impl Keep for Counting {
    type Error = TrainerError;

    fn own(&mut self, own: &mut OwnState<'_>) -> Result<(), TrainerError> {
        own.visit_feedback(|values| {
            self.feedback += values.len();
            Ok::<(), TrainerError>(())
        })?;
        templar_engine::hash_optimiser(own.engine())?;
        Ok(())
    }

    fn shared(&mut self, shared: &SharedView<'_>) -> Result<(), TrainerError> {
        shared.visit(|_, values| {
            self.shared += values.len();
            Ok::<(), TrainerError>(())
        })
    }
}

fn rules(engine: &dyn Engine) -> WorkerRules {
    let tensors = engine.layout().tensors().iter().map(|tensor| (tensor.name.clone(), tensor.range.len(), 128));
    WorkerRules {
        run: Default::default(),
        uid: Default::default(),
        layout: GradientLayout::new(tensors).unwrap(),
        outer: worker::outer(),
        numerics: engine.numerics().to_string(),
    }
}

/// A sequence of eight tokens: next to no activations.
fn data(window: u64) -> WindowData {
    let rule = BatchRule { sequence_length: 8, end_of_text: None };
    let batch = rule.batch((0..9).map(|token| token * 700 + window as u32).collect());
    WindowData { window: Window(window), text: Arc::new(vec![batch; 3]), inner_steps: 3, learning_rate: 1e-3 }
}

#[test]
fn a_miner_holds_six_copies_and_a_tenth_more_while_it_seals_and_applies() {
    holds_this_much(FeedbackValues::F32, 6.1);
    holds_this_much(FeedbackValues::Bf16, 5.6);
}

fn holds_this_much(error_feedback_values: FeedbackValues, copies: f64) {
    let folder = tempfile::tempdir().unwrap();
    let config = preset("30m", 8192).unwrap();
    let copy = 4 * config.parameter_count();
    let before = bytes_in_use();
    let engine = open(&DeviceName::cpu(), &[&CpuBackend], OpenRequest::new(config.clone())).unwrap();
    let mut rules = rules(engine.as_ref());
    rules.outer.error_feedback_values = error_feedback_values;
    let shared = SharedState::new(Window(0), OuterState::new(initial_parameters(&config, [1; 32])));
    let start = shared.state;
    let anchor = FileAnchor { path: folder.path().join("anchor"), writing: None, reading: None };
    let mut trainer = Trainer::new(rules.clone(), engine, shared, Box::new(anchor)).unwrap();
    trainer.begin(data(0)).unwrap();
    trainer.step().unwrap().unwrap();
    let standing = bytes_in_use() - before;
    let told = |what: &str, bytes: usize| {
        println!("{error_feedback_values:?}, {what}: {:.3} copies", bytes as f64 / copy as f64)
    };
    told("standing", standing);
    assert!(standing as f64 <= copies * copy as f64, "standing: {standing} bytes, a copy is {copy}");

    let mut keep = Counting::default();
    let mut sealed = None;
    let peak = peak_bytes_of(|| sealed = Some(trainer.seal(Window(0), start, &mut keep).unwrap()));
    told("seal", peak);
    assert!(peak as f64 <= 0.1 * copy as f64, "seal: {peak} bytes more, a copy is {copy}");
    assert_eq!(keep.feedback, config.parameter_count());

    trainer.step().unwrap().unwrap();
    let payload = sealed.unwrap().payload;
    let aggregate = Aggregate::merge(&rules.layout, &[(&payload, 1)], MergeRule::default()).unwrap();
    let step = OuterStep::of(&rules.outer, Window(0));
    let outcome = Outcome { aggregate: Some(&aggregate), step: &step };
    let peak = peak_bytes_of(|| trainer.apply(Window(0), outcome, &mut keep).unwrap());
    told("apply", peak);
    assert!(peak as f64 <= 0.1 * copy as f64, "apply: {peak} bytes more, a copy is {copy}");
    assert_eq!(keep.shared, config.parameter_count());

    // A window in which nothing is merged takes the payload back.
    trainer.begin(data(1)).unwrap();
    trainer.step().unwrap().unwrap();
    let start = trainer.learner().shared().state;
    trainer.seal(Window(1), start, &mut keep).unwrap();
    let outcome = Outcome { aggregate: None, step: &step };
    let peak = peak_bytes_of(|| trainer.apply(Window(1), outcome, &mut keep).unwrap());
    told("null window", peak);
    assert!(peak as f64 <= 0.1 * copy as f64, "null window: {peak} bytes more, a copy is {copy}");
}
