//! `templar bench engine`.

use crate::config::{Config, DataFlag};
use crate::failure::Advise;
use crate::output::Output;
use clap::Args;
use std::io;
use std::path::PathBuf;
use templar_bench::engine::{Plan, Report, measure, names, python, serve_worker};
use templar_bench::sections;
use templar_engine_torch::{Environment, loads_torch};
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
    /// Models to measure, by their size; all by default
    #[arg(long = "model", value_name = "SIZE", value_parser = clap::builder::PossibleValuesParser::new(names()))]
    models: Vec<String>,
    /// Turns of each engine
    #[arg(long, value_name = "N", default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Create the Python environment first, if it is missing
    #[arg(long)]
    setup: bool,
    /// Python interpreter with PyTorch
    #[arg(long, value_name = "FILE", conflicts_with = "setup")]
    python: Option<PathBuf>,
    /// Leave out PyTorch's compiled mode, which takes a minute to compile each model
    #[arg(long)]
    no_compiled: bool,
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
        let python = self.python(&config, &mut progress)?;
        if python.is_none() {
            let missing = "PyTorch is not installed, so only our own engine is measured; --setup installs it";
            progress.note(missing);
        }
        let names = match self.models.is_empty() {
            true => names().map(str::to_owned).to_vec(),
            false => self.models.clone(),
        };
        let plan = Plan { rounds: self.rounds as usize, python, is_compiled_wanted: !self.no_compiled };
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

    /// The interpreter with PyTorch, if there is one.
    fn python(&self, config: &Config, progress: &mut Progress) -> anyhow::Result<Option<PathBuf>> {
        if let Some(python) = &self.python {
            if !loads_torch(python) {
                let fault = anyhow::anyhow!("{} cannot load PyTorch", python.display());
                return Err(fault).advise("name an interpreter that has PyTorch, or use --setup");
            }
            return Ok(Some(python.clone()));
        }
        let folder = config.data_folder().join("bench").join("python");
        let environment = Environment::new(&folder);
        if self.setup && !environment.is_ready() {
            python::set_up(&folder, progress)?;
        }
        Ok(environment.is_ready().then(|| environment.interpreter()))
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
