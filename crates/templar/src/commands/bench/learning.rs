//! `templar bench learning`.

use super::corpus::LearntText;
use crate::config::{Config, Origin, PresetFlag, Setting};
use crate::failure::Usage;
use crate::interrupt;
use crate::output::Output;
use clap::Args;
use std::sync::atomic::Ordering;
use templar_bench::learning::{Learning, VOCABULARY};
use templar_screen::Progress;

/// Measure how a network learns under the rules of `templar up`, window by window, beside training alone.
///
/// Miners train, payloads are judged and merged as in a network, but in this process, on one thread, and with a fixed
/// number of steps in each window: the figures are the same however busy the machine is. With --alone one model trains
/// on the same sequences. A line has the window, the merged tokens, the held-out loss, the miners merged, what the step
/// was expected to bring and brought in thousandths of a nat, and each miner's contribution with its error.
///
/// Example: templar bench learning --windows 50 --steps 75
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct LearningCommand {
    #[command(flatten)]
    bench: Learning,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    text: LearntText,
    #[command(flatten)]
    preset: PresetFlag,
}

impl LearningCommand {
    /// Simulates and prints.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.text).with(&self.preset);
        if let Some(problem) = self.bench.problem() {
            return Err(Usage(problem).into());
        }
        // The model of `templar up`, where none is named.
        let preset = match config.get(Setting::Preset) {
            Some((name, origin)) if *origin != Origin::Default => name.to_owned(),
            _ => "nano".to_owned(),
        };
        let mut progress = Progress::new(config.is_quiet);
        let corpus = self.text.open(VOCABULARY, &config, &mut progress)?;
        drop(progress);
        let stop = interrupt::stop_flag()?;
        self.bench.run(&preset, corpus, &mut |learned| {
            anyhow::ensure!(!stop.load(Ordering::Relaxed), "interrupted");
            self.output.event(learned, |_| learned.line())
        })
    }
}
