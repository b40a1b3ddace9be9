//! How fast PyTorch trains and evaluates a preset, in turn with the native engine where that is asked for.
//!
//! ```text
//! cargo run --release -p templar-engine-torch --example torch_speed -- PYTHON [DEVICE [PRESET [SEQUENCES [LENGTH]]]]
//! ```
//! DEVICE is `torch:cuda`, `torch:cpu` (default) or `torch`; with `torch:cpu` the native engine is measured, too. The
//! variables RANKS (1), THREADS (1), STEPS (8), COMPILE (unset) and PEAK (unset: TFLOP/s of the machine's bf16 products,
//! for the share of them) change the rest. A line for each engine: tokens a second of the median step, in training and
//! in evaluation, and what it is of the peak by the usual 6 operations a parameter and token.

use std::sync::Arc;
use std::time::Instant;
use templar_engine::{Backend, Batch, Buffer, Engine, EngineSource, OpenRequest, initial_parameters, preset};
use templar_engine_torch::{Deadlines, TorchBackend, TorchOptions};

type Failure = Box<dyn std::error::Error>;

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Tokens a second of the median step, and of the median evaluation.
fn measure(engine: &mut dyn Engine, batch: &Batch, steps: usize) -> Result<(f64, f64), Failure> {
    let tokens = (batch.sequences * batch.length) as f64;
    let (mut training, mut evaluating) = (Vec::new(), Vec::new());
    for step in 0..steps + 2 {
        let begun = Instant::now();
        engine.evaluate(batch)?;
        let middle = Instant::now();
        engine.train_step(std::slice::from_ref(batch), 1e-4)?;
        // The first two warm up: memory, compilers, caches.
        if step >= 2 {
            evaluating.push((middle - begun).as_secs_f64());
            training.push(middle.elapsed().as_secs_f64());
        }
    }
    Ok((tokens / median(training), tokens / median(evaluating)))
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |place: usize, default: &str| arguments.get(place).map_or(default, String::as_str).to_owned();
    let python = arguments.first().ok_or("name a Python with PyTorch")?;
    let (device, name) = (argument(1, "torch:cpu"), argument(2, "tiny"));
    let (sequences, length): (usize, usize) = (argument(3, "8").parse()?, argument(4, "256").parse()?);
    let config = preset(&name, 4096)?;
    let token = |at: usize| (at * at * 31 % config.vocab_size) as u32;
    let batch = Batch::new((0..sequences * (length + 1)).map(token).collect(), sequences, length);
    let options = TorchOptions {
        ranks: number("RANKS", 1),
        compiles: std::env::var_os("COMPILE").is_some(),
        deadlines: Deadlines::default(),
        ..TorchOptions::new(python)
    };
    let backend: Arc<dyn Backend> = Arc::new(TorchBackend::new(options));
    let mut sources = vec![EngineSource::new(device.parse()?, backend)];
    if device == "torch:cpu" {
        sources.push(EngineSource::default());
    }
    for source in sources {
        let begun = Instant::now();
        let mut engine = source.open(OpenRequest::new(config.clone()).with_threads(number("THREADS", 1)))?;
        engine.write(Buffer::Parameters, 0, &initial_parameters(&config, [1; 32]))?;
        let opened = begun.elapsed().as_secs_f64();
        let (training, evaluating) = measure(engine.as_mut(), &batch, number("STEPS", 8))?;
        let operations = training * 6.0 * config.parameter_count() as f64 / 1e12;
        let share = number("PEAK", 0);
        let of_peak =
            if share > 0 { format!(", {:.1} % of the peak", 100.0 * operations / share as f64) } else { String::new() };
        println!(
            "{name}, {sequences} x {length}: {}: training {training:.0} tokens/s ({operations:.3} TFLOP/s{of_peak}), \
             evaluation {evaluating:.0} tokens/s; opened in {opened:.1} s",
            engine.device()
        );
    }
    Ok(())
}
