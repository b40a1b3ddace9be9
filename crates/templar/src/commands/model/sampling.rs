//! How the next token is chosen: flags that `generate` and `chat` share.

use clap::Args;
use templar_engine::{GenerateOptions, StopStrings};
use templar_model::Checkpoint;

/// How a text goes on.
#[derive(Debug, Args)]
pub struct SamplingFlags {
    /// The most tokens to write
    #[arg(long, value_name = "N", default_value_t = 128)]
    max_tokens: usize,
    /// How bold the choice is; 0 takes the likeliest token each time
    #[arg(long, value_name = "X", default_value_t = 0.8)]
    temperature: f32,
    /// Choose among this many of the likeliest tokens; 0 for all
    #[arg(long, value_name = "N", default_value_t = 0)]
    top_k: usize,
    /// Choose among the likeliest tokens that together have this probability
    #[arg(long, value_name = "X", default_value_t = 0.95)]
    top_p: f32,
    /// Make tokens that the text has already this much less likely; 1 for no change
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    repetition_penalty: f32,
    /// End the text where it would say this; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Seed of the choice; the same seed gives the same text on every machine
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

impl SamplingFlags {
    /// The engine's options; `turn` sets one text of a talk, or of several, apart from the next.
    pub fn options(&self, checkpoint: &Checkpoint, turn: u64) -> GenerateOptions {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&turn.to_le_bytes());
        GenerateOptions {
            max_new_tokens: self.max_tokens,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            repetition_penalty: self.repetition_penalty,
            seed,
            stop_tokens: checkpoint.stop_tokens(),
        }
    }

    /// What watches for the strings that end a text.
    pub fn stop_strings(&self) -> StopStrings {
        StopStrings::new(self.stop.clone())
    }
}
