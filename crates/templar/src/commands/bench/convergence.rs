//! `templar bench convergence`.

use super::corpus::LearntText;
use crate::config::{Config, ThreadsFlag};
use crate::interrupt;
use crate::output::Output;
use anyhow::Context;
use clap::Args;
use std::path::PathBuf;
use templar_bench::convergence::{Comparison, KeptRuns, Running, rows, section, write_files};
use templar_bench::sections;
use templar_screen::Progress;

/// Compare the rules of exchange on real text: loss against tokens, bytes and simulated time.
///
/// Eight simulated workers train one model in this process: AdamW on all gradients in every step, dense DiLoCo, the
/// published 2-bit rule, and this system's rule with 64 and 104 kept values of 4096, in windows of three lengths; and at
/// the middle length the mean over all, overlap of training and transfer, a forgetful inner optimiser, windows that
/// merge three quarters of the workers. Ours are tried with each of the --decays of the error feedback.
///
/// In full, with models of about 1 and 10 million parameters and three seeds, it takes many hours on a small machine;
/// --quick takes one model of 0.2 million and one seed, and --models, --rules, --windows, --steps and --seeds choose.
/// With --out each finished run is kept, and a comparison that was stopped or extended runs only what is missing. Time is simulated: a step takes six operations for each parameter and token at --teraflops, an exchange
/// what the link takes, less what the overlap hides.
///
/// Example: templar bench convergence --quick --out curves
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Convergence {
    /// Folder for the finished runs, points.csv and the plots; what it keeps is not run again
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Train nothing: print the table of the runs that this folder keeps; with --out, write points.csv and plots there
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["quick", "models", "rules", "seeds", "steps"])]
    from: Option<PathBuf>,
    #[command(flatten)]
    comparison: Comparison,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    text: LearntText,
    #[command(flatten)]
    threads: ThreadsFlag,
}

impl Convergence {
    /// Runs the comparison and prints the table.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.text).with(&self.threads);
        let folder = self.out.as_deref();
        let mut kept = match &self.from {
            Some(from) => KeptRuns::read(from)?,
            None => KeptRuns::open(folder)?,
        };
        if self.from.is_none() {
            let (threads, stop) = (config.threads()?, interrupt::stop_flag()?);
            let mut progress = Progress::new(config.is_quiet);
            for size in self.comparison.sizes() {
                let corpus = self.text.open(size.vocabulary, &config, &mut progress)?;
                let running = Running { threads, stop: &stop, progress: &mut progress };
                kept = self.comparison.run(size, &corpus, kept, running)?;
            }
        }
        let runs = kept.in_order();
        anyhow::ensure!(!runs.is_empty(), "no run is kept there; give --from a folder that --out has filled");
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
            write_files(folder, &runs, self.comparison.teraflops)?;
        }
        let rows = rows(&runs, self.comparison.teraflops);
        self.output.facts(&rows, |paint| sections(paint, &[section(&rows)]))
    }
}
