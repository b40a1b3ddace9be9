//! The rules of exchange compared on real text: loss against tokens, bytes and simulated time.

mod error;
pub(crate) mod kept;
mod plan;
mod report;
pub(crate) mod workers;

pub use error::{ConvergenceError, SimulationError};
pub use kept::{KeptRuns, Run};
pub use plan::{Choice, Method, Sweep};
pub use report::{Row, rows, section};

use crate::plot::{Chart, Page, Series};
use crate::{FileError, Progress};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use kept::Setting;
use report::World;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use templar_base::ModelConfig;
use templar_corpus::Corpus;
use templar_engine::{UnknownPreset, preset};
use workers::{Ground, Simulation};

/// A model of the comparison with its training.
pub struct Size {
    /// Its name, by its parameters.
    pub name: &'static str,
    config: fn(usize) -> Result<ModelConfig, UnknownPreset>,
    /// Vocabulary of the corpus.
    pub vocabulary: u32,
    sequence_length: usize,
    sequences: usize,
    learning_rate: f32,
}

const SIZES: [Size; 3] = [
    Size { name: "0.2m", config: micro, vocabulary: 512, sequence_length: 64, sequences: 2, learning_rate: 3e-3 },
    Size { name: "1m", config: tiny, vocabulary: 2048, sequence_length: 128, sequences: 4, learning_rate: 2e-3 },
    Size { name: "10m", config: small, vocabulary: 8192, sequence_length: 128, sequences: 4, learning_rate: 1e-3 },
];

/// Points of each curve.
const POINTS: usize = 20;

/// 0.17 million parameters with a vocabulary of 512 tokens.
pub(crate) fn micro(vocabulary: usize) -> Result<ModelConfig, UnknownPreset> {
    let sizes = (64, 172, 3, 4, 2);
    let (hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads) = sizes;
    let shape = ModelConfig { hidden_size, intermediate_size, num_hidden_layers, ..preset("nano", vocabulary)? };
    Ok(ModelConfig { num_attention_heads, num_key_value_heads, head_dim: hidden_size / num_attention_heads, ..shape })
}

fn tiny(vocabulary: usize) -> Result<ModelConfig, UnknownPreset> {
    preset("tiny", vocabulary)
}

fn small(vocabulary: usize) -> Result<ModelConfig, UnknownPreset> {
    preset("small", vocabulary)
}

/// What is compared.
#[derive(Debug, Clone, clap::Args)]
pub struct Comparison {
    /// One small model and one seed
    #[arg(long)]
    pub quick: bool,
    /// Models by their size; 1m,10m, or 0.2m with --quick
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = ["0.2m", "1m", "10m"])]
    pub models: Option<Vec<String>>,
    /// Rules with windows of all lengths, and variants with the middle one; all by default
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    #[arg(value_parser = choices())]
    pub rules: Option<Vec<Choice>>,
    /// Steps of a window; 10,30,100, or 10,30,60 with --quick
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub windows: Option<Vec<NonZeroUsize>>,
    /// Decays of the error feedback that rules are tried with, in hundredths [80 for ours, 95 for the published]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
    pub decays: Vec<u8>,
    /// Rates of the outer step that rules are tried with, in hundredths [100, 70 for diloco]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub outer_rates: Vec<u16>,
    /// Momenta of the outer step that diloco is tried with, in hundredths; 90 by default
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=99))]
    pub momenta: Vec<u8>,
    /// Seeds of first parameters and of the order of the text; 3, or 1 with --quick
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100))]
    pub seeds: Option<u64>,
    /// Steps of each worker; 1500, or 300 with --quick
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=100_000_000))]
    pub steps: Option<u32>,
    /// Simulated workers
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=256))]
    pub workers: u16,
    /// Simulated speed of a worker, in million million operations a second
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = positive)]
    pub teraflops: f64,
}

fn positive(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "it must be a number".to_owned())?;
    if value.is_finite() && value > 0.0 { Ok(value) } else { Err("it must be over 0".to_owned()) }
}

fn choices() -> impl TypedValueParser<Value = Choice> {
    PossibleValuesParser::new(Choice::ALL.map(|(name, _)| name))
        .try_map(|name| Choice::named(&name).ok_or("there is no such rule"))
}

/// How a comparison runs.
pub struct Running<'a> {
    /// Runs at the same time.
    pub threads: usize,
    /// Ends the comparison early.
    pub stop: &'a AtomicBool,
    /// Shows how far it is.
    pub progress: &'a mut dyn Progress,
}

impl Comparison {
    /// The models to compare on.
    pub fn sizes(&self) -> impl Iterator<Item = &'static Size> {
        let default: &[&str] = if self.quick { &["0.2m"] } else { &["1m", "10m"] };
        SIZES.iter().filter(move |size| match &self.models {
            Some(names) => names.iter().any(|name| name == size.name),
            None => default.contains(&size.name),
        })
    }

    fn methods(&self) -> Vec<Method> {
        let default = if self.quick { [10, 30, 60] } else { [10, 30, 100] };
        let all = Choice::ALL.map(|(_, choice)| choice);
        let choices = self.rules.as_deref().unwrap_or(&all);
        // The parser takes no empty list.
        let lengths =
            self.windows.as_ref().map_or(default.to_vec(), |lengths| lengths.iter().map(|h| h.get()).collect());
        let sweep =
            Sweep { decay_percents: &self.decays, rate_percents: &self.outer_rates, momentum_percents: &self.momenta };
        Method::all(choices, &lengths, sweep)
    }

    /// Runs what is not kept yet for one size of model, and keeps it.
    pub fn run(
        &self,
        size: &Size,
        corpus: &Arc<Corpus>,
        kept: KeptRuns,
        running: Running<'_>,
    ) -> Result<KeptRuns, ConvergenceError> {
        let grounds = self.grounds(size, corpus)?;
        let missing = self.missing(size, &grounds, &kept);
        run_all(size.name, missing, kept, running)
    }

    /// What is not kept yet: every method with the first seed, then with the next.
    fn missing<'a>(&self, size: &Size, grounds: &'a [Ground], kept: &KeptRuns) -> Vec<(&'a Ground, Method)> {
        let methods = self.methods();
        let jobs = grounds.iter().flat_map(|ground| methods.iter().map(move |method| (ground, *method)));
        jobs.filter(|(ground, method)| !kept.has(&Setting::of(size.name, ground), *method, ground.seed)).collect()
    }

    fn grounds(&self, size: &Size, corpus: &Arc<Corpus>) -> Result<Vec<Ground>, ConvergenceError> {
        let model = (size.config)(corpus.manifest().vocab_size as usize)?;
        let seeds = self.seeds.unwrap_or(if self.quick { 1 } else { 3 });
        let steps = self.steps.unwrap_or(if self.quick { 300 } else { 1500 }) as usize;
        let ground = |seed| Ground {
            corpus: corpus.clone(),
            model: model.clone(),
            workers: usize::from(self.workers),
            steps,
            sequence_length: size.sequence_length,
            sequences: size.sequences,
            learning_rate: size.learning_rate,
            held_out_sequences: 128,
            seed,
        };
        Ok((0..seeds).map(ground).collect())
    }
}

/// Runs all jobs, as many at once as there are threads, and keeps each when it is finished.
fn run_all(
    model: &str,
    jobs: Vec<(&Ground, Method)>,
    kept: KeptRuns,
    Running { threads, stop, progress }: Running<'_>,
) -> Result<KeptRuns, ConvergenceError> {
    let (next, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let kept = Mutex::new(kept);
    let work = || -> Result<(), ConvergenceError> {
        while let Some((ground, method)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let keep = |run| kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner).keep(run);
            let result = run_one(model, ground, *method, stop).and_then(|run| Ok(keep(run)?));
            if result.is_err() {
                stop.store(true, Ordering::Relaxed);
                return result;
            }
            finished.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(jobs.len())).map(|_| scope.spawn(work)).collect();
        while !workers.iter().all(|worker| worker.is_finished()) {
            let finished = finished.load(Ordering::Relaxed);
            progress.show(finished as f64 / jobs.len() as f64, &format!("{model}: {finished} of {} runs", jobs.len()));
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        let results = workers.into_iter().map(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        results.collect::<Result<(), ConvergenceError>>()
    })?;
    Ok(kept.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn run_one(model: &str, ground: &Ground, method: Method, stop: &AtomicBool) -> Result<Run, ConvergenceError> {
    let joining = method.joining(ground)?;
    let mut points = Vec::new();
    let failed = |source| ConvergenceError::Run { method: method.name(), inner_steps: method.inner_steps, source };
    Simulation::new(ground)?.run(&joining, POINTS, stop, &mut |point| points.push(point)).map_err(failed)?;
    Ok(Run { setting: Setting::of(model, ground), method, seed: ground.seed, points })
}

/// Writes every point, and the plots of each model with its training for each length of the windows.
pub fn write_files(folder: &Path, runs: &[Run], teraflops: f64) -> Result<(), FileError> {
    write_file(folder, "points.csv", report::csv(runs, teraflops))?;
    for group in runs.chunk_by(|a, b| a.setting == b.setting) {
        // What has no windows stands in every plot.
        let lengths: BTreeSet<usize> =
            group.iter().map(|run| run.method.inner_steps).filter(|length| *length > 1).collect();
        for length in lengths {
            write_plots(folder, group, World::of(&group[0].setting, teraflops), length)?;
        }
    }
    Ok(())
}

fn write_file(folder: &Path, name: &str, text: String) -> Result<(), FileError> {
    let path = folder.join(name);
    std::fs::write(&path, text).map_err(FileError::at("write", &path))
}

/// The plots of one model's runs with windows of this length.
fn write_plots(folder: &Path, group: &[Run], world: World, inner_steps: usize) -> Result<(), FileError> {
    let setting = &group[0].setting;
    let shown: Vec<&Run> =
        group.iter().filter(|run| run.seed == 0 && report::is_plotted(&run.method, inner_steps)).collect();
    let curves = |across: &dyn Fn(&Run, &workers::Point) -> f64| -> Vec<Series> {
        let curve = |(number, run): (usize, &&Run)| {
            let points = run.points.iter().map(|point| (across(run, point), f64::from(point.loss))).collect();
            Series::line(number, run.method.name(), points)
        };
        shown.iter().enumerate().map(curve).collect()
    };
    let title = format!("nats: {} parameters, {} steps in windows of {inner_steps}", setting.model, setting.steps);
    let plot = |across: &str, is_logarithmic: bool, series: Vec<Series>| {
        let charts = vec![Chart { title: title.clone(), series }];
        Page { charts, x_name: across.to_owned(), is_logarithmic, height: 400.0, is_legend_beside: true }.svg()
    };
    let write = |axis: &str, text| {
        write_file(folder, &format!("{}-{}-h{inner_steps}-{axis}.svg", setting.model, setting.steps), text)
    };
    write("tokens", plot("tokens of all workers", false, curves(&|_, p| p.tokens as f64)))?;
    let moved = curves(&|_, point| (point.sent_bytes + point.received_bytes) as f64);
    write("bytes", plot("bytes sent and received by a worker", true, moved))?;
    for link in report::LINKS {
        let across = format!("simulated seconds at {link} Mb/s");
        let timed = curves(&|run, point| world.seconds(&run.method, point, link));
        write(&format!("seconds-{link}"), plot(&across, true, timed))?;
    }
    Ok(())
}
