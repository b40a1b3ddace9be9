//! How a network learns, window by window, beside training alone on the same sequences.
//!
//! Real trainers, payloads, judging and merges under the rules of `templar up`, in one process and on one thread, with a
//! fixed number of steps in each window: what a network comes to does not depend on how busy the machine is. Left out are
//! what only a network has: ledger, buckets, sealing and votes. What they cost is a delay, which is given in steps.

mod error;
mod network;

pub use error::LearningError;
pub use network::Network;

use serde::Serialize;
use std::sync::Arc;
use templar_base::{BlockHash, BlockNumber, ContentHash, Genesis};
use templar_corpus::Corpus;
use templar_engine::{EngineSource, preset};
use templar_evaluation::NewEvaluation;
use templar_localnet::{Inputs, NETUID, Plan, RuleName};

/// Vocabulary of the corpus: that of `templar up`.
pub const VOCABULARY: u32 = 4096;

/// What is simulated.
#[derive(Debug, Clone, clap::Args)]
pub struct Learning {
    /// Windows to train
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub windows: u16,
    /// Steps of a miner in a window
    #[arg(long, value_name = "N", default_value_t = 75, value_parser = clap::value_parser!(u16).range(2..=4096))]
    pub steps: u16,
    /// Of those, the steps after the payload is sealed, which go into the next one
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub after_seal: u16,
    /// Steps of a window until the outcome of the one before is applied
    #[arg(long, value_name = "N", default_value_t = 28)]
    pub delay: u16,
    /// Miners
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub miners: u16,
    /// Seed of the first parameters and of all lots
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Train one model alone on the sequences of all miners, with the same rates, instead of a network
    #[arg(long)]
    pub alone: bool,
    /// Change a field of the genesis, such as outer.alpha=0.7; can be repeated
    #[arg(long, value_name = "FIELD=VALUE")]
    pub set: Vec<String>,
}

/// One window, as it was applied.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Learned {
    /// Number of the window, from 1 on: how many there were.
    pub window: u64,
    /// Tokens that were merged up to here; of training alone those that were trained on.
    pub tokens: u64,
    /// Held-out loss after the window, in nats.
    pub loss: f64,
    /// The learning rate of its steps.
    pub learning_rate: f32,
    /// Miners whose payload was merged; 0 in a null window.
    pub merged: usize,
    /// What the judges expected of the step, in thousandths of a nat.
    pub expected_mnats: f64,
    /// What it brought on their text.
    pub gained_mnats: f64,
    /// Mean, error (in thousandths of a nat) and standing of each miner.
    pub miners: Vec<String>,
}

impl Learned {
    /// A line for people.
    pub fn line(&self) -> String {
        let Self { window, tokens, loss, merged, expected_mnats, gained_mnats, .. } = self;
        let miners = self.miners.join("  ");
        format!(
            "{window:4}  {tokens:>10}  {loss:.4}  {merged:2} merged  {expected_mnats:7.1} {gained_mnats:7.1}  {miners}"
        )
    }
}

impl Learning {
    /// The rules: those of `templar up` for this many miners, with the changes.
    pub fn genesis(&self, model: &str, corpus: &Corpus) -> Result<Genesis, LearningError> {
        let inputs = Inputs {
            model: preset(model, corpus.manifest().vocab_size as usize)?,
            corpus,
            seed: *ContentHash::of(format!("learning {}", self.seed).as_bytes()).as_bytes(),
            miners: usize::from(self.miners),
            validators: 2,
            cores: 2,
            audit_rate: 0,
            rule: RuleName::default(),
            window_seconds: None,
            engine: EngineSource::default(),
            open_numerics: Vec::new(),
            evaluation: NewEvaluation::default(),
        };
        let plan = Plan::at_pace(&inputs, 24, f64::from(self.steps))?;
        let genesis = plan.genesis(BlockHash::default(), NETUID, BlockNumber::ZERO);
        let mut document = serde_json::to_value(&genesis).map_err(LearningError::Json)?;
        for change in &self.set {
            let not_one = || LearningError::NotAChange { change: change.clone() };
            let (field, value) = change.split_once('=').ok_or_else(not_one)?;
            let place = field.split('.').try_fold(&mut document, |place, key| place.get_mut(key));
            *place.ok_or_else(|| LearningError::NoField { field: field.to_owned() })? =
                serde_json::from_str(value).unwrap_or_else(|_| value.into());
        }
        Ok(Genesis::from_json(document.to_string().as_bytes())?)
    }

    /// What cannot be simulated, in words.
    pub fn problem(&self) -> Option<String> {
        let (steps, apart) = (u32::from(self.steps), u32::from(self.after_seal) + u32::from(self.delay));
        (apart >= steps)
            .then(|| format!("--after-seal and --delay take {apart} steps; a window has {steps}: give fewer"))
    }

    /// Runs, and reports each window; ends with the error of the report where that fails.
    pub fn run<E: From<LearningError>>(
        &self,
        model: &str,
        corpus: Arc<Corpus>,
        report: &mut dyn FnMut(&Learned) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut network = Network::new(self.genesis(model, &corpus)?, corpus, self)?;
        for _ in 0..self.windows {
            report(&if self.alone { network.train_alone()? } else { network.window()? })?;
        }
        Ok(())
    }
}
