//! `templar bench engine`.

use crate::config::{Config, DataFlag};
use crate::output::Output;
use clap::Args;
use std::io;
use std::path::PathBuf;
use templar_bench::engine::{EngineBench, Report, measure, serve_worker};
use templar_bench::sections;
use templar_screen::Progress;

/// Measure training, evaluation and generation beside PyTorch on the CPU, in turn, and print the ratios.
///
/// Each engine runs in a process of its own, and they take turns for some rounds: a ratio is the median over the
/// rounds, so that other load on the machine affects all alike; the ratio of the best turns is shown as well, which is
/// nearer to what a machine without other load would show. Evaluation comes first, as in a process that only judges.
/// PyTorch is in a scratch Python environment, which --setup creates (some hundred megabytes, from the Python registry).
/// Without it only our own engine is measured.
///
/// With --json the last line is one object: ratios over 1 mean that ours is faster, `memory_ratio` under 1 that it
/// needs less.
///
/// Example: templar bench engine --setup --model 8.5m
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct EngineCommand {
    #[command(flatten)]
    bench: EngineBench,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    data: DataFlag,
}

impl EngineCommand {
    /// Measures and prints.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.data);
        let mut progress = Progress::new(config.is_quiet);
        let folder = config.data_folder().join("bench").join("python");
        let python = self.bench.interpreter(&folder, &mut progress)?;
        if python.is_none() {
            let missing = "PyTorch is not installed, so only our own engine is measured; --setup installs it";
            progress.note(missing);
        }
        let (names, plan) = (self.bench.names(), self.bench.plan(python));
        let output = self.output;
        let mut measured = Vec::new();
        for name in &names {
            let figures = measure(name, &plan, &mut progress)?;
            progress.aside(|| output.event(&figures, |_| String::new()))?;
            measured.push(figures);
        }
        drop(progress);
        let whole = Report::new(measured);
        output.event(&whole, |paint| sections(paint, &whole.sections()))
    }
}

/// Measure one engine by the requests on standard input.
///
/// Example: templar bench engine-worker --model 8.5m --threads 1 --parameters start.f32
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct EngineWorker {
    #[arg(long)]
    model: String,
    #[arg(long)]
    threads: usize,
    /// The parameters to start from: f32, little-endian, in canonical order
    #[arg(long)]
    parameters: PathBuf,
}

impl EngineWorker {
    /// Answers requests until the input ends.
    pub fn run(self) -> anyhow::Result<()> {
        Ok(serve_worker(&self.model, self.threads, &self.parameters, io::stdin().lock(), io::stdout().lock())?)
    }
}
