//! Writing in turns with a model.

use crate::stream::{GenerateError, stream};
use crate::{Checkpoint, Sampling};
use std::io;
use templar_engine::Engine;

/// A text that a person and a model continue in turns.
///
/// The model sees the newest half of what it can, so that there is room to write.
pub struct Conversation<'a> {
    checkpoint: &'a Checkpoint,
    engine: &'a mut dyn Engine,
    sampling: &'a Sampling,
    context: Vec<u32>,
    turns: u64,
}

impl<'a> Conversation<'a> {
    /// An empty text.
    pub fn new(checkpoint: &'a Checkpoint, engine: &'a mut dyn Engine, sampling: &'a Sampling) -> Self {
        Self { checkpoint, engine, sampling, context: vec![checkpoint.end_of_text()], turns: 0 }
    }

    /// Adds a person's line, and shows the model's continuation piece by piece.
    pub fn turn(&mut self, line: &str, show: impl FnMut(&str) -> io::Result<()>) -> Result<(), GenerateError> {
        let memory = (self.checkpoint.config.max_position_embeddings / 2).max(1);
        self.context.extend(self.checkpoint.tokenizer.encode(line)?);
        let seen = &self.context[self.context.len().saturating_sub(memory)..];
        let options = self.sampling.options(self.checkpoint, self.turns);
        let stops = self.sampling.stop_strings();
        let tokens = stream(self.checkpoint, self.engine, seen, (&options, stops), show)?;
        self.context.extend(tokens);
        self.context.drain(..self.context.len().saturating_sub(memory));
        self.turns += 1;
        Ok(())
    }
}
