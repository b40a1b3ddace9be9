//! `templar bench gradient`.

use super::corpus::LearntText;
use crate::config::{Config, PresetFlag};
use crate::interrupt;
use crate::output::Output;
use clap::Args;
use templar_bench::gradient::GradientBench;
use templar_bench::sections;
use templar_screen::Progress;

/// Measure what pseudo-gradients cost: bits, error and speed of the codings, and of the aggregate of many.
///
/// Simulated workers train one model on real text, each on its own part, for some windows; what they would send is coded,
/// and the aggregate of each window. Beside this system's coding stand the published ones with 14 and 20 bits for each
/// value. Error is that of what is sent, relative to that of sending the same number of largest values exactly, so that
/// 1 is the best. The same is measured on synthetic values, which are the same on every machine. Speeds are in millions a
/// second: of kept values for codings, of parameters for aggregates, with their entries in brackets.
///
/// Example: templar bench gradient --workers 20
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct GradientCommand {
    /// Measure on synthetic values only, without training
    #[arg(long)]
    synthetic_only: bool,
    #[command(flatten)]
    bench: GradientBench,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    text: LearntText,
    #[command(flatten)]
    preset: PresetFlag,
}

impl GradientCommand {
    /// Measures and prints.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.text).with(&self.preset);
        let mut progress = Progress::new(config.is_quiet);
        let mut all = Vec::new();
        if !self.synthetic_only {
            let corpus = self.text.open(GradientBench::VOCABULARY, &config, &mut progress)?;
            all.push(self.bench.real(config.preset(), corpus, &*interrupt::stop_flag()?, &mut progress)?);
        }
        progress.say("measuring on synthetic values");
        all.push(self.bench.synthetic()?);
        drop(progress);
        let tables: Vec<_> = all.iter().flat_map(|figures| figures.sections()).collect();
        self.output.facts(&all, |paint| sections(paint, &tables))
    }
}
