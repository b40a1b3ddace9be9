//! `templar bench convergence`.

pub mod corpus;
pub mod kept;
mod plan;
mod plot;
mod report;
pub mod workers;

use crate::config::{Config, DataFlag, TextFlags, ThreadsFlag};
use crate::interrupt;
use crate::output::Output;
use crate::progress::Progress;
use anyhow::Context;
use clap::{Args, ValueEnum};
use kept::{KeptRuns, Run, Setting};
use plan::{Choice, DECAY_PERCENT, Method};
use plot::{Curve, Plot};
use report::World;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use templar_base::ModelConfig;
use templar_engine::preset;
use workers::{Ground, Simulation};

/// Compare the rules of exchange on real text: loss against tokens, bytes and simulated time.
///
/// Eight simulated workers train one model in this process: AdamW on all gradients in every step, dense DiLoCo, the
/// published 2-bit rule, and this system's rule with 64 and 104 kept values of 4096, in windows of three lengths; and at
/// the middle length the mean over all, overlap of training and transfer, a forgetful inner optimiser, windows that
/// merge three quarters of the workers. Ours are tried with each of the --decays of the error feedback.
///
/// In full, with models of about 1 and 10 million parameters and three seeds, it takes many hours on a small machine;
/// --quick takes one model of 0.2 million and one seed, and --models, --rules, --windows, --steps and --seeds choose.
/// With --out each finished run is kept, and a comparison that was stopped, or is asked for more, makes only what is
/// missing. Time is simulated: a step takes six operations for each parameter and token at --teraflops, an exchange
/// what the link takes, less what the overlap hides.
///
/// Example: templar bench convergence --quick --out curves
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Convergence {
    /// One small model and one seed
    #[arg(long)]
    quick: bool,
    /// Folder for the finished runs, points.csv and the plots; what it keeps is not run again
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Train nothing: make table, points.csv and plots of the runs that this folder keeps
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["out", "quick", "models", "rules", "seeds", "steps"])]
    from: Option<PathBuf>,
    /// Models by their size; 1m,10m, or 0.2m with --quick
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = ["0.2m", "1m", "10m"])]
    models: Option<Vec<String>>,
    /// Rules with windows of all lengths, and variants with the middle one; all of them if not given
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    rules: Option<Vec<Choice>>,
    /// Steps of a window; 10,30,100, or 10,30,60 with --quick
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    windows: Option<Vec<NonZeroUsize>>,
    /// Decays of the error feedback that our rules are tried with, in hundredths
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [DECAY_PERCENT])]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
    decays: Vec<u8>,
    /// Seeds of first parameters and of the order of the text; 3, or 1 with --quick
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: Option<u64>,
    /// Steps of each worker; 1500, or 300 with --quick
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(10..))]
    steps: Option<u32>,
    /// Simulated workers
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=256))]
    workers: u16,
    /// Simulated speed of a worker, in million million operations a second
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    teraflops: f64,
    /// Corpus made by `templar corpus build`, instead of one of the text
    #[arg(long, value_name = "FOLDER", conflicts_with = "text")]
    corpus: Option<PathBuf>,
    /// Print the table as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlag,
    #[command(flatten)]
    threads: ThreadsFlag,
    #[command(flatten)]
    text: TextFlags,
}

/// A model of the comparison with its training.
struct Size {
    name: &'static str,
    config: fn(usize) -> anyhow::Result<ModelConfig>,
    vocabulary: u32,
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

fn micro(vocabulary: usize) -> anyhow::Result<ModelConfig> {
    let sizes = (64, 172, 3, 4, 2);
    let (hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads) = sizes;
    let shape = ModelConfig { hidden_size, intermediate_size, num_hidden_layers, ..preset("nano", vocabulary)? };
    Ok(ModelConfig { num_attention_heads, num_key_value_heads, head_dim: hidden_size / num_attention_heads, ..shape })
}

fn tiny(vocabulary: usize) -> anyhow::Result<ModelConfig> {
    Ok(preset("tiny", vocabulary)?)
}

fn small(vocabulary: usize) -> anyhow::Result<ModelConfig> {
    Ok(preset("small", vocabulary)?)
}

impl Convergence {
    /// Runs the comparison and prints the table.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.data).with(&self.threads).with(&self.text);
        let output = Output::new(self.json);
        let folder = self.from.as_deref().or(self.out.as_deref());
        let mut kept = KeptRuns::open(folder)?;
        let lengths = self.lengths();
        if self.from.is_none() {
            let threads = config.threads()?;
            let stop = interrupt::stop_flag()?;
            let mut progress = Progress::new(config.is_quiet);
            for size in self.sizes() {
                let grounds = self.grounds(size, &config, &mut progress)?;
                kept = run_all(
                    size.name,
                    self.missing(size, &grounds, &lengths, &kept),
                    kept,
                    threads,
                    &stop,
                    &mut progress,
                )?;
            }
        }
        let runs = kept.in_order();
        anyhow::ensure!(!runs.is_empty(), "no run is kept there; give --from a folder that --out has filled");
        if let Some(folder) = folder {
            write_files(folder, &runs, self.teraflops)?;
        }
        let rows = report::rows(&runs, self.teraflops);
        output.facts(&rows, |paint| report::table(paint, &rows))
    }

    fn lengths(&self) -> Vec<usize> {
        let usual = if self.quick { [10, 30, 60] } else { [10, 30, 100] };
        // The parser takes no empty list.
        self.windows.as_ref().map_or(usual.to_vec(), |lengths| lengths.iter().map(|length| length.get()).collect())
    }

    fn sizes(&self) -> impl Iterator<Item = &'static Size> {
        let usual: &[&str] = if self.quick { &["0.2m"] } else { &["1m", "10m"] };
        SIZES.iter().filter(move |size| match &self.models {
            Some(names) => names.iter().any(|name| name == size.name),
            None => usual.contains(&size.name),
        })
    }

    /// What is not kept yet: every method with the first seed, then with the next.
    fn missing<'a>(
        &self,
        size: &Size,
        grounds: &'a [Ground],
        lengths: &[usize],
        kept: &KeptRuns,
    ) -> Vec<(&'a Ground, Method)> {
        let choices = self.rules.as_deref().unwrap_or(Choice::value_variants());
        let methods = Method::all(choices, lengths, &self.decays);
        let jobs = grounds.iter().flat_map(|ground| methods.iter().map(move |method| (ground, *method)));
        jobs.filter(|(ground, method)| !kept.has(&Setting::of(size.name, ground), *method, ground.seed)).collect()
    }

    fn grounds(&self, size: &Size, config: &Config, progress: &mut Progress) -> anyhow::Result<Vec<Ground>> {
        let corpus = corpus::open(self.corpus.as_deref(), size.vocabulary, config, progress)?;
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
    threads: usize,
    stop: &AtomicBool,
    progress: &mut Progress,
) -> anyhow::Result<KeptRuns> {
    let (next, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let kept = Mutex::new(kept);
    let work = || -> anyhow::Result<()> {
        while let Some((ground, method)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let keep = |run| kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner).keep(run);
            let result = run_one(model, ground, *method, stop).and_then(keep);
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
        results.collect::<anyhow::Result<()>>()
    })?;
    Ok(kept.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn run_one(model: &str, ground: &Ground, method: Method, stop: &AtomicBool) -> anyhow::Result<Run> {
    let joining = method.joining(ground)?;
    let mut points = Vec::new();
    Simulation::new(ground)?
        .run(&joining, POINTS, stop, &mut |point| points.push(point))
        .with_context(|| format!("{} with windows of {} steps", method.name(), method.inner_steps))?;
    Ok(Run { setting: Setting::of(model, ground), method, seed: ground.seed, points })
}

/// Writes every point, and the plots of each model with its training for each length of the windows.
fn write_files(folder: &Path, runs: &[Run], teraflops: f64) -> anyhow::Result<()> {
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

fn write_file(folder: &Path, name: &str, text: String) -> anyhow::Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The plots of one model's runs with windows of this length.
fn write_plots(folder: &Path, group: &[Run], world: World, inner_steps: usize) -> anyhow::Result<()> {
    let setting = &group[0].setting;
    let shown: Vec<&Run> =
        group.iter().filter(|run| run.seed == 0 && report::is_plotted(&run.method, inner_steps)).collect();
    let curves = |across: &dyn Fn(&Run, &workers::Point) -> f64| -> Vec<Curve> {
        let curve = |run: &&Run| Curve {
            name: run.method.name(),
            points: run.points.iter().map(|point| (across(run, point), f64::from(point.loss))).collect(),
        };
        shown.iter().map(curve).collect()
    };
    let title = format!("{} parameters, {} steps in windows of {inner_steps}", setting.model, setting.steps);
    let plot = |across: &str, is_logarithmic: bool, curves: &[Curve]| {
        Plot { title: &title, across, is_logarithmic, curves }.svg()
    };
    let write = |axis: &str, text| {
        write_file(folder, &format!("{}-{}-h{inner_steps}-{axis}.svg", setting.model, setting.steps), text)
    };
    write("tokens", plot("tokens of all workers", false, &curves(&|_, p| p.tokens as f64)))?;
    let moved = curves(&|_, point| (point.sent_bytes + point.received_bytes) as f64);
    write("bytes", plot("bytes sent and received by a worker", true, &moved))?;
    for link in report::LINKS {
        let across = format!("simulated seconds at {link} Mb/s");
        let timed = curves(&|run, point| world.seconds(&run.method, point, link));
        write(&format!("seconds-{link}"), plot(&across, true, &timed))?;
    }
    Ok(())
}
