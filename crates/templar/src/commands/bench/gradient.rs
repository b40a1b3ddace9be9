//! `templar bench gradient`.

use super::corpus;
use crate::config::{Config, DataFlag, PresetFlag, TextFlags};
use crate::interrupt;
use crate::output::{Output, sections};
use crate::progress::Progress;
use clap::Args;
use std::path::PathBuf;
use templar_bench::gradient::GradientBench;

/// Measure what pseudo-gradients cost: bits, error and speed of the codings, and of the aggregate of many.
///
/// Simulated workers train one model on real text, each on its own part, for some windows; what they would send is coded,
/// and the aggregate of each window. Beside this system's coding stand the published ones with 14 and 20 bits for each
/// value. Error is that of what is sent, relative to that of sending the same number of largest values exactly, so that
/// 1 is the best. The same is measured on synthetic values, which are the same for everybody. Speeds are in millions a
/// second: of kept values for codings, of parameters for aggregates, with their entries in brackets.
///
/// Example: templar bench gradient --workers 20
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct GradientCommand {
    /// Simulated workers, each of which contributes to the aggregate
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// Windows to train, the last of which has the codings measured on it
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    windows: u16,
    /// Steps of a window
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    inner_steps: u16,
    /// Steps of the run that begins with them: its rate warms up over a twentieth and falls over the last third
    #[arg(long, value_name = "N", default_value_t = 1500, value_parser = clap::value_parser!(u32).range(1..))]
    run_steps: u32,
    /// Sequences of 128 tokens in a worker's step
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    sequences: u16,
    /// Kept values of each 4096
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    kept: u16,
    /// Keep the values there, and measure kept ones of the same training without training again
    #[arg(long, value_name = "FOLDER", conflicts_with = "synthetic_only")]
    keep: Option<PathBuf>,
    /// Measure on synthetic values only, without training
    #[arg(long)]
    synthetic_only: bool,
    /// Synthetic values of each worker
    #[arg(long, value_name = "N", default_value_t = 4 << 20, value_parser = clap::value_parser!(u32).range(4096..))]
    synthetic_values: u32,
    /// Threads to measure on; trained is on one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Corpus made by `templar corpus build`, instead of one of the text
    #[arg(long, value_name = "FOLDER", conflicts_with = "text")]
    corpus: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlag,
    #[command(flatten)]
    text: TextFlags,
    #[command(flatten)]
    preset: PresetFlag,
}

impl GradientCommand {
    /// Measures and prints.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.data).with(&self.text).with(&self.preset);
        let mut progress = Progress::new(config.is_quiet);
        let bench = GradientBench {
            preset: config.preset().to_owned(),
            workers: self.workers,
            windows: self.windows,
            inner_steps: self.inner_steps,
            run_steps: self.run_steps,
            sequences: self.sequences,
            kept: self.kept,
            keep: self.keep,
            synthetic_values: self.synthetic_values,
            threads: self.threads,
        };
        let mut all = Vec::new();
        if !self.synthetic_only {
            let corpus = corpus::open(self.corpus.as_deref(), GradientBench::VOCABULARY, &config, &mut progress)?;
            all.push(bench.real(corpus, &*interrupt::stop_flag()?, &mut progress)?);
        }
        progress.say("measuring on synthetic values");
        all.push(bench.synthetic()?);
        drop(progress);
        let tables: Vec<_> = all.iter().flat_map(|figures| figures.sections()).collect();
        Output::new(self.json).facts(&all, |paint| sections(paint, &tables))
    }
}
