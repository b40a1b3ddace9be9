//! How the next token of a text is chosen.

use crate::Checkpoint;
use templar_engine::{GenerateOptions, StopStrings};

/// How the next token of a text is chosen, and when the text ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Tokens to generate, at most.
    pub max_tokens: usize,
    /// Flattens the choice; 0 takes the most likely token each time.
    pub temperature: f32,
    /// Choose among the N most likely tokens; 0 for all.
    pub top_k: usize,
    /// Choose among the most likely tokens that together have this probability.
    pub top_p: f32,
    /// Divides the likelihood of tokens that the text already has; 1 for no change.
    pub repetition_penalty: f32,
    /// Strings that end the text.
    pub stop: Vec<String>,
    /// Seed; the same seed gives the same text on every machine.
    pub seed: u64,
}

impl Sampling {
    /// The engine's options; `turn` separates one text of a conversation, or of several, from the next.
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
            ..GenerateOptions::default()
        }
    }

    /// What watches for the strings that end a text.
    pub fn stop_strings(&self) -> StopStrings {
        StopStrings::new(self.stop.clone())
    }
}
