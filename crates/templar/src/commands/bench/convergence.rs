//! `templar bench convergence`.

use super::corpus;
use crate::config::{Config, DataFlag, TextFlags, ThreadsFlag};
use crate::interrupt;
use crate::output::{Output, sections};
use crate::progress::Progress;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use templar_bench::convergence::{
    Choice, Comparison, DECAY_PERCENT, KeptRuns, Running, Size, rows, section, write_files,
};

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
    #[arg(value_parser = choices())]
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

fn choices() -> impl TypedValueParser<Value = Choice> {
    PossibleValuesParser::new(Choice::ALL.map(|(name, _)| name))
        .try_map(|name| Choice::named(&name).ok_or("there is no such rule"))
}

impl Convergence {
    /// Runs the comparison and prints the table.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.data).with(&self.threads).with(&self.text);
        let folder = self.from.as_deref().or(self.out.as_deref());
        let mut kept = KeptRuns::open(folder)?;
        if self.from.is_none() {
            let (threads, stop) = (config.threads()?, interrupt::stop_flag()?);
            let mut progress = Progress::new(config.is_quiet);
            let comparison = self.comparison();
            for size in Size::named(&self.sizes()) {
                let corpus = corpus::open(self.corpus.as_deref(), size.vocabulary, &config, &mut progress)?;
                let running = Running { threads, stop: &stop, progress: &mut progress };
                kept = comparison.run(size, &corpus, kept, running)?;
            }
        }
        let runs = kept.in_order();
        anyhow::ensure!(!runs.is_empty(), "no run is kept there; give --from a folder that --out has filled");
        if let Some(folder) = folder {
            write_files(folder, &runs, self.teraflops)?;
        }
        let rows = rows(&runs, self.teraflops);
        Output::new(self.json).facts(&rows, |paint| sections(paint, &[section(&rows)]))
    }

    fn comparison(&self) -> Comparison {
        let usual = if self.quick { [10, 30, 60] } else { [10, 30, 100] };
        Comparison {
            choices: self.rules.clone().unwrap_or(Choice::ALL.map(|(_, choice)| choice).to_vec()),
            // The parser takes no empty list.
            lengths: self.windows.as_ref().map_or(usual.to_vec(), |lengths| lengths.iter().map(|h| h.get()).collect()),
            decays: self.decays.clone(),
            seeds: self.seeds.unwrap_or(if self.quick { 1 } else { 3 }),
            steps: self.steps.unwrap_or(if self.quick { 300 } else { 1500 }) as usize,
            workers: usize::from(self.workers),
        }
    }

    fn sizes(&self) -> Vec<&str> {
        match &self.models {
            Some(names) => names.iter().map(String::as_str).collect(),
            None if self.quick => vec!["0.2m"],
            None => vec!["1m", "10m"],
        }
    }
}
