//! One engine in a process of its own, so that its memory can be measured and engines can take turns.
//!
//! It reads a request as a line of JSON and answers with a line of JSON. `reference.py` speaks the same.

use super::EngineBenchError;
use super::models::{Shape, batch, device_model, model};
use super::window_cost::{WindowCost, window_cost};
use crate::FileError;
use crate::memory::status_bytes;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use templar_engine::{
    Batch, Buffer, DeviceName, Engine, EngineSource, GenerateOptions, Isa, OpenRequest, Segments, fma_burst,
};
use templar_engine_torch::{MAX_RANKS, TorchBackend, TorchOptions};

/// What a worker is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// This many training steps.
    Train { steps: usize },
    /// This many forward passes over the batch.
    Evaluate { steps: usize },
    /// The gradient of the batch at the parameters of the start, written to a file.
    Gradient { out: PathBuf },
    /// So many texts of this many tokens, after a prompt of as many.
    Generate { tokens: usize, texts: usize },
    /// The rate of the vector unit (ours only).
    Peak,
    /// Sealing, and judging this many payloads (ours only); the engine ends with it.
    Window { payloads: u16 },
}

/// What a worker answers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Why it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it took.
    #[serde(default)]
    pub seconds: f64,
    /// The most memory that the process has held.
    #[serde(default)]
    pub peak_bytes: u64,
    /// The memory that it held before it made a model.
    #[serde(default)]
    pub idle_bytes: u64,
    /// Floating-point operations per second.
    #[serde(default)]
    pub flops_per_second: f64,
    /// The versions of what was measured.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// What the ends of a window cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowCost>,
}

/// The engine that a worker measures.
#[derive(Debug, Clone, clap::Args)]
pub struct EngineWorker {
    #[arg(long)]
    model: String,
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// The parameters to start from: f32, little-endian, in canonical order
    #[arg(long)]
    parameters: PathBuf,
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    sequences: u16,
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=8192))]
    length: u16,
    /// A device of PyTorch, instead of the native engine
    #[arg(long, requires = "python")]
    engine: Option<DeviceName>,
    #[arg(long)]
    python: Option<PathBuf>,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=MAX_RANKS as i64))]
    ranks: u16,
    #[arg(long)]
    compiles: bool,
}

impl EngineWorker {
    fn shape(&self) -> Shape {
        Shape { sequences: usize::from(self.sequences), length: usize::from(self.length) }
    }

    /// The engine with the parameters in it.
    fn open(&self) -> Result<Box<dyn Engine>, EngineBenchError> {
        let (source, config) = match (&self.engine, &self.python) {
            (Some(device), Some(python)) => {
                let ranks = usize::from(self.ranks);
                let options = TorchOptions { ranks, compiles: self.compiles, ..TorchOptions::new(python.clone()) };
                let backend = Arc::new(TorchBackend::new(options));
                (EngineSource::new(device.clone(), backend), device_model(&self.model)?)
            }
            _ => (EngineSource::default(), model(&self.model)?),
        };
        let mut engine = source.open(OpenRequest::new(config).with_threads(usize::from(self.threads)))?;
        engine.write(Buffer::Parameters, 0, &read_values(&self.parameters)?)?;
        Ok(engine)
    }
}

/// Rounds of a burst: some milliseconds.
const BURST_ROUNDS: u64 = 1 << 21;

/// Measures one engine of ours: answers the requests of `input`, a line each, until it ends.
pub fn serve_worker(
    worker: &EngineWorker,
    input: impl BufRead,
    mut output: impl Write,
) -> Result<(), EngineBenchError> {
    let idle_bytes = memory_peak();
    let mut engine = worker.open()?;
    let batch = batch(engine.config(), worker.shape());
    let on = if worker.engine.is_some() { engine.device().to_owned() } else { Isa::best().to_string() };
    let version = format!("templar {} ({on})", env!("CARGO_PKG_VERSION"));
    let mut answer = |answer: &Answer| -> Result<(), EngineBenchError> {
        writeln!(output, "{}", serde_json::to_string(answer).map_err(EngineBenchError::Json)?)?;
        Ok(output.flush()?)
    };
    answer(&Answer { version, idle_bytes, ..Answer::default() })?;
    for line in input.lines() {
        let request = serde_json::from_str(&line?).map_err(EngineBenchError::Request)?;
        if let Request::Window { payloads } = request {
            let window = Some(window_cost(engine, worker.shape(), payloads)?);
            return answer(&Answer { window, ..Answer::default() });
        }
        let mut result = carry_out(engine.as_mut(), usize::from(worker.threads), &batch, request)?;
        (result.idle_bytes, result.peak_bytes) = (idle_bytes, memory_peak());
        answer(&result)?;
    }
    Ok(())
}

fn carry_out(
    engine: &mut dyn Engine,
    threads: usize,
    batch: &Batch,
    request: Request,
) -> Result<Answer, EngineBenchError> {
    let started = Instant::now();
    match request {
        Request::Train { steps } => {
            for _ in 0..steps {
                engine.train_step(std::slice::from_ref(batch), 3e-4)?;
            }
        }
        Request::Evaluate { steps } => {
            for _ in 0..steps {
                engine.evaluate(batch)?;
            }
        }
        Request::Gradient { out } => {
            engine.gradient(batch)?;
            write_values(&out, &engine.to_vec(Buffer::Gradient)?)?;
        }
        Request::Generate { tokens, texts } => {
            let options = GenerateOptions { max_new_tokens: tokens, ..GenerateOptions::default() };
            for _ in 0..texts {
                engine.generator()?.generate(&batch.tokens[..tokens], &options, &mut |_| true)?;
            }
        }
        Request::Peak => return Ok(Answer { flops_per_second: peak(Isa::best(), threads), ..Answer::default() }),
        // Takes the engine, so it is answered before.
        Request::Window { .. } => {}
    }
    Ok(Answer { seconds: started.elapsed().as_secs_f64(), ..Answer::default() })
}

/// The best of some bursts of fused multiply-adds, on all threads at once: what the cores can do at all.
fn peak(isa: Isa, threads: usize) -> f64 {
    let rate = |_| {
        let started = Instant::now();
        let operations: u64 = std::thread::scope(|scope| {
            let bursts: Vec<_> = (0..threads).map(|_| scope.spawn(|| fma_burst(isa, BURST_ROUNDS))).collect();
            bursts.into_iter().map(|burst| burst.join().unwrap_or(0)).sum()
        });
        operations as f64 / started.elapsed().as_secs_f64()
    };
    (0..8).map(rate).fold(0.0, f64::max)
}

/// The most memory that this process has held, in bytes; 0 where the system does not say.
fn memory_peak() -> u64 {
    status_bytes("VmHWM:").unwrap_or(0)
}

/// Reads a file of little-endian f32.
pub fn read_values(path: &Path) -> Result<Vec<f32>, EngineBenchError> {
    let bytes = std::fs::read(path).map_err(FileError::at("read", path))?;
    let (values, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(EngineBenchError::NotValues { path: path.to_owned(), bytes: bytes.len() });
    }
    Ok(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

/// Writes a file of little-endian f32.
pub fn write_values(path: &Path, values: &[f32]) -> Result<(), FileError> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(path, bytes).map_err(FileError::at("write", path))
}
