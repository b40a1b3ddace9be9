//! What judging costs and how right it is, beside the original's, on small real models.
//!
//! Miners train on real text, each on its own share; the payloads of a window are judged by `templar_gauntlet` and by
//! the scheme of the dormant first templar ([`templar_simulator::Original`]), and what ours selects is merged and
//! applied. Every sequence that a judge runs the model on is counted ([`Counted`]). What is true of the payloads is
//! measured beside: what each brings, by leaving it out of the merge, and what the applied step brings, on the text of
//! judgement and on text held out.
//!
//! Miners differ, so that there is something to rank: a quarter of them each do a quarter, a half, three quarters and
//! all of the steps. Where more are registered than the pool has places for, those outside the pool of a window make
//! no payload: nobody would open it. Equal seeds give equal figures, but for seconds and memory.

mod counted;
mod error;
mod ranks;
mod report;
mod subnet;
mod trial;
mod truth;

pub use counted::{Counted, Sequences};
pub use error::JudgingBenchError;
pub use ranks::rank_correlation;
pub use report::{Cost, Figure, Gain, RankAgreement, Report};

use crate::Progress;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use subnet::Subnet;
use templar_corpus::Corpus;
use trial::Trial;

/// What is compared.
#[derive(Debug, Clone, clap::Args)]
pub struct JudgingBench {
    /// Registered miners; beyond the pool's 64 places those outside the pool make no payload
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [24u16, 100, 1000])]
    #[arg(value_parser = clap::value_parser!(u16).range(2..=1_000))]
    pub registered: Vec<u16>,
    /// Windows of each run
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub windows: u16,
    /// Steps of a window; a quarter of the miners each does a quarter, a half, three quarters and all of them
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub steps: u16,
    /// Seeds of first parameters and of all lots, from 0 on
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub seeds: u16,
}

impl JudgingBench {
    /// Vocabulary of the corpus: the model has 0.17 million parameters with it.
    pub const VOCABULARY: u32 = 512;

    /// Trains, judges and measures every run; ends early where `stop` says so.
    pub fn run(
        &self,
        corpus: &Arc<Corpus>,
        stop: &AtomicBool,
        progress: &mut dyn Progress,
    ) -> Result<Report, JudgingBenchError> {
        let runs = self.registered.iter().flat_map(|registered| (0..self.seeds).map(move |seed| (*registered, seed)));
        let all = self.registered.len() * usize::from(self.seeds) * usize::from(self.windows);
        let (mut windows, mut facts) = (Vec::with_capacity(all), None);
        for (registered, seed) in runs {
            let subnet = Subnet::new(self, registered, u64::from(seed), corpus)?;
            facts = Some(subnet.facts());
            let mut trial = Trial::new(subnet)?;
            for window in 1..=self.windows {
                if stop.load(Ordering::Relaxed) {
                    return Err(JudgingBenchError::Interrupted);
                }
                let what = format!("{registered} registered, seed {seed}: window {window} of {}", self.windows);
                progress.show(windows.len() as f64 / all as f64, &what);
                windows.push(trial.window()?);
            }
        }
        // The parser takes no empty list.
        Ok(Report::of(self, facts.unwrap_or_default(), &windows))
    }
}
