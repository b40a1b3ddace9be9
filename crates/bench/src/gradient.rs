//! What pseudo-gradients cost: bits, error and speed of the codings, and of the aggregate of many.

mod error;
mod kept;
mod measure;

pub use error::GradientBenchError;

use crate::convergence::kept::Setting;
use crate::convergence::workers::{Ground, Windows, accumulators};
use crate::{Progress, Section};
use indicatif::HumanCount;
use kept::{KeptValues, Training};
use measure::{AggregateFigures, CodingFigures};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use templar_base::random::Stream;
use templar_corpus::Corpus;
use templar_engine::preset;
use templar_gradient::exchange::PayloadExchange;
use templar_gradient::{GradientLayout, MergeRule};

/// Decay of the error feedback of the simulated workers.
const DECAY: f32 = 0.95;

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct GradientBench {
    /// Simulated workers, each of which contributes to the aggregate
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,
    /// Windows to train, the last of which has the codings measured on it
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub windows: u16,
    /// Steps of a window
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub inner_steps: u16,
    /// Steps of the run that begins with them: its rate warms up over a twentieth and falls over the last third
    #[arg(long, value_name = "N", default_value_t = 1500, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub run_steps: u32,
    /// Sequences of 128 tokens in a worker's step
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub sequences: u16,
    /// Kept values of each 4096
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub kept: u16,
    /// Keep the values there, and measure kept ones of the same training without training again
    #[arg(long, value_name = "FOLDER", conflicts_with = "synthetic_only")]
    pub keep: Option<PathBuf>,
    /// Synthetic values of each worker
    #[arg(long, value_name = "N", default_value_t = 4 << 20, value_parser = clap::value_parser!(u32).range(4096..=1 << 28))]
    pub synthetic_values: u32,
    /// Threads to measure on; trained is on one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
}

/// What was measured on one set of values.
#[derive(Debug, Serialize)]
pub struct Figures {
    values: &'static str,
    parameters: usize,
    workers: usize,
    codings: Vec<CodingFigures>,
    aggregates: Vec<AggregateFigures>,
}

impl GradientBench {
    /// Vocabulary of the corpus that it is measured on.
    pub const VOCABULARY: u32 = 2048;

    /// Measures on the values of a training of the model of this name on this corpus.
    pub fn real(
        &self,
        name: &str,
        corpus: Arc<Corpus>,
        stop: &AtomicBool,
        progress: &mut dyn Progress,
    ) -> Result<Figures, GradientBenchError> {
        let inner_steps = usize::from(self.inner_steps);
        let ground = Ground {
            model: preset(name, corpus.manifest().vocab_size as usize)?,
            corpus,
            workers: usize::from(self.workers),
            steps: self.run_steps as usize,
            sequence_length: 128,
            sequences: usize::from(self.sequences),
            learning_rate: 2e-3,
            held_out_sequences: 1,
            seed: 0,
        };
        let layout = ground.layout(self.kept)?;
        let mut figures = Figures::of("real", &layout, ground.workers);
        let training = Training {
            setting: Setting::of(name, &ground),
            windows: usize::from(self.windows),
            inner_steps,
            kept_per_chunk: self.kept,
        };
        let kept = self.keep.as_deref().map(|folder| KeptValues::open(folder, training)).transpose()?;
        match kept {
            Some(kept) if kept.is_whole() => {
                for window in 0..usize::from(self.windows) {
                    progress.say(&format!("measuring window {} of {}", window + 1, self.windows));
                    self.measure(&mut figures, &layout, &kept.read(window)?)?;
                }
            }
            kept => {
                self.train(&ground, &layout, (stop, progress), &mut |window, accumulated| {
                    if let Some(kept) = &kept {
                        kept.write(window, &accumulated)?;
                    }
                    self.measure(&mut figures, &layout, &accumulated)
                })?;
                if let Some(kept) = kept {
                    kept.finish()?;
                }
            }
        }
        Ok(figures)
    }

    /// Trains, and reports each window.
    fn train(
        &self,
        ground: &Ground,
        layout: &GradientLayout,
        (stop, progress): (&AtomicBool, &mut dyn Progress),
        measure: &mut dyn FnMut(usize, Vec<Vec<f32>>) -> Result<(), GradientBenchError>,
    ) -> Result<(), GradientBenchError> {
        let windows = Windows {
            exchange: Box::new(PayloadExchange::new(layout.clone(), MergeRule::default(), DECAY)),
            steps: usize::from(self.inner_steps),
            delay: 0,
            is_state_reset: false,
            selected: ground.workers,
            is_returned: false,
            alpha: 1.0,
            groups: None,
        };
        let count = usize::from(self.windows);
        accumulators(ground, &windows, DECAY, count, stop, &mut |window, accumulated| {
            let trained = window + 1;
            progress.show(trained as f64 / count as f64, &format!("training: window {trained} of {count}"));
            measure(window, accumulated)
        })
    }

    /// Measures on synthetic values, which are the same everywhere: a part common to all workers and a larger part of each
    /// worker, both heavy-tailed; rows and columns are all alike.
    pub fn synthetic(&self) -> Result<Figures, GradientBenchError> {
        let parameters = self.synthetic_values as usize;
        // The values, and as much again for what is made of them.
        let bytes = u64::from(self.workers).saturating_mul(u64::from(self.synthetic_values)).saturating_mul(8);
        templar_engine::check_memory("the synthetic values of all workers", bytes)
            .map_err(GradientBenchError::Memory)?;
        let layout = GradientLayout::new([("synthetic".to_owned(), parameters, self.kept)])?;
        let peaked = |stream: &mut Stream| {
            let sum: f32 = (0..3).map(|_| stream.unit_f32() - 0.5).sum();
            sum * (1.0 + sum * sum)
        };
        let values = |worker: u16| -> Vec<f32> {
            let mut shared = Stream::new([1; 32], "shared", 0);
            let mut own = Stream::new([1; 32], "own", u64::from(worker));
            (0..parameters).map(|_| 1e-3 * (0.35 * peaked(&mut shared) + peaked(&mut own))).collect()
        };
        let accumulated: Vec<Vec<f32>> = (0..self.workers).map(values).collect();
        let mut figures = Figures::of("synthetic", &layout, accumulated.len());
        self.measure(&mut figures, &layout, &accumulated)?;
        Ok(figures)
    }

    /// Measures what the workers have at the end of one more window. The codings are those of the last one's.
    fn measure(
        &self,
        figures: &mut Figures,
        layout: &GradientLayout,
        accumulated: &[Vec<f32>],
    ) -> Result<(), GradientBenchError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(usize::from(self.threads)).build()?;
        pool.install(|| {
            let window = figures.aggregates.len() + 1;
            figures.aggregates.push(measure::aggregate(layout, window, accumulated)?);
            figures.codings = measure::codings(layout, &accumulated[0])?;
            Ok(())
        })
    }
}

impl Figures {
    fn of(values: &'static str, layout: &GradientLayout, workers: usize) -> Self {
        Self { values, parameters: layout.parameters(), workers, codings: Vec::new(), aggregates: Vec::new() }
    }

    /// The figures for people.
    pub fn sections(&self) -> [Section; 2] {
        let mut codings = measure::coding_section(&self.codings);
        codings.title = format!("{} values, {} parameters", self.values, HumanCount(self.parameters as u64));
        let mut aggregates = measure::aggregate_section(&self.aggregates);
        aggregates.title = format!("aggregate of {}", self.workers);
        [codings, aggregates]
    }
}
