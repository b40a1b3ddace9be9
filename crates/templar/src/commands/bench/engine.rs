//! `templar bench engine`.

use crate::config::{Config, DataFlag};
use crate::output::Output;
use clap::Args;
use std::io;
use templar_bench::engine::{self, EngineBench, Report, serve_worker};
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
/// With --engine our engine on PyTorch is measured beside plain PyTorch on the same device, with products in bf16, and
/// what the ends of a window cost: sealing a payload, and judging some.
///
/// With --json the last line is one object: ratios over 1 mean that ours is faster, `memory_ratio` under 1 that it
/// needs less.
///
/// Example: templar bench engine --setup --model 8.5m
/// Example: templar bench engine --engine torch:cuda --python python3 --model 1b --length 2048 --peak 989
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
        if python.is_none() && self.bench.engine.is_none() {
            let missing = "PyTorch is not installed, so only our own engine is measured; --setup installs it";
            progress.note(missing);
        }
        let output = self.output;
        let mut measured = Vec::new();
        for name in self.bench.names() {
            let figures = self.bench.measure(&name, python.as_deref(), &mut progress)?;
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
/// Example: templar bench engine-worker --model 8.5m --threads 1 --sequences 8 --length 256 --parameters start.f32
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct EngineWorker {
    #[command(flatten)]
    worker: engine::EngineWorker,
}

impl EngineWorker {
    /// Answers requests until the input ends.
    pub fn run(self) -> anyhow::Result<()> {
        Ok(serve_worker(&self.worker, io::stdin().lock(), io::stdout().lock())?)
    }
}
