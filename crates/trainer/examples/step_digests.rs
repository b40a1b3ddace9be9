//! What it costs to bind a payload to its steps: inner steps with and without digests of the whole state.
//!
//! ```text
//! cargo run --release -p templar-trainer --example step_digests -- nano small
//! ```

use std::sync::Arc;
use std::time::Instant;
use templar_base::{OuterRule, Window};
use templar_engine::{CpuBackend, DeviceName, OpenRequest, initial_parameters, open, preset};
use templar_gradient::{GradientLayout, OuterState};
use templar_trainer::{BatchRule, MemoryAnchor, SharedState, Trainer, WindowData, WorkerRules, worker_roots};

const SEQUENCES: usize = 8;
const LENGTH: usize = 256;
const STEPS: u32 = 6;

fn trainer(name: &str) -> Result<Trainer, Box<dyn std::error::Error>> {
    let config = preset(name, 4096)?;
    let engine = open(&DeviceName::cpu(), &[&CpuBackend], OpenRequest::new(config.clone()))?;
    let tensors = engine.layout().tensors().iter().map(|tensor| (tensor.name.clone(), tensor.range.len(), 64));
    let rules = WorkerRules {
        run: Default::default(),
        uid: Default::default(),
        layout: GradientLayout::new(tensors)?,
        outer: OuterRule::default(),
        numerics: engine.numerics().to_string(),
    };
    let shared = SharedState::new(Window(0), OuterState::new(initial_parameters(&config, [1; 32])));
    Ok(Trainer::new(rules, engine, shared, Box::<MemoryAnchor>::default())?)
}

fn data() -> WindowData {
    let rule = BatchRule { sequence_length: LENGTH, end_of_text: Some(0) };
    let tokens = |step: u32| (0..(SEQUENCES * (LENGTH + 1)) as u32).map(|i| (i * i + step) % 4001).collect();
    let text: Vec<_> = (0..STEPS).map(|step| rule.batch(tokens(step))).collect();
    WindowData { window: Window(0), text: Arc::new(text), inner_steps: STEPS, learning_rate: 1e-3 }
}

/// Milliseconds of an inner step; the first one, which allocates, is left out.
fn milliseconds_of_a_step(name: &str, is_bound: bool) -> Result<f64, Box<dyn std::error::Error>> {
    let mut trainer = trainer(name)?;
    if is_bound {
        trainer.bind_steps();
    }
    trainer.begin(data())?;
    trainer.step()?;
    let begun = Instant::now();
    while trainer.step()?.is_some() {}
    Ok(begun.elapsed().as_secs_f64() * 1e3 / f64::from(STEPS - 1))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("batches of {} tokens", SEQUENCES * LENGTH);
    for name in std::env::args().skip(1) {
        let mut trainer = trainer(&name)?;
        let engine = trainer.learner_mut().engine_mut();
        let parameters = engine.layout().total();
        let begun = Instant::now();
        worker_roots(engine)?;
        let digest = begun.elapsed().as_secs_f64() * 1e3;
        let (without, with) = (milliseconds_of_a_step(&name, false)?, milliseconds_of_a_step(&name, true)?);
        println!(
            "{name}: {parameters} parameters, step {without:.1} ms without and {with:.1} ms with digests, one digest {digest:.1} ms"
        );
    }
    Ok(())
}
