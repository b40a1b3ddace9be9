//! How the next token is chosen: flags that every command that generates text has.

use clap::Args;
use templar_model::Sampling;
use templar_screen::bounds;

/// How the next token is chosen.
#[derive(Debug, Args)]
pub struct SamplingFlags {
    /// Tokens to generate, at most
    #[arg(long, value_name = "N", default_value_t = 128, allow_hyphen_values = true, value_parser = bounds::tokens())]
    max_tokens: usize,
    /// Sampling temperature; 0 takes the most likely token each time
    #[arg(long, value_name = "X", default_value_t = 0.8, allow_hyphen_values = true, value_parser = bounds::temperature)]
    temperature: f32,
    /// Sample from the N most likely tokens; 0 for all
    #[arg(long, value_name = "N", default_value_t = 0, allow_hyphen_values = true, value_parser = bounds::tokens())]
    top_k: usize,
    /// Sample from the most likely tokens that together have this probability
    #[arg(long, value_name = "X", default_value_t = 0.95, allow_hyphen_values = true, value_parser = bounds::share)]
    top_p: f32,
    /// Divide the likelihood of tokens already in the text by this; 1 for no change
    #[arg(long, value_name = "X", default_value_t = 1.0, allow_hyphen_values = true, value_parser = bounds::penalty)]
    repetition_penalty: f32,
    /// Stop string; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Seed; the same seed gives the same text on every machine
    #[arg(long, value_name = "N", default_value_t = 0, allow_hyphen_values = true, value_parser = bounds::seed)]
    seed: u64,
}

impl SamplingFlags {
    /// The choice.
    pub fn sampling(self) -> Sampling {
        let Self { max_tokens, temperature, top_k, top_p, repetition_penalty, stop, seed } = self;
        Sampling { max_tokens, temperature, top_k, top_p, repetition_penalty, stop, seed }
    }
}
