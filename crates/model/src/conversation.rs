//! Writing in turns with a model.

use crate::stream::{GenerateError, Streamed, stream};
use crate::{Checkpoint, Sampling};
use std::io;
use templar_engine::Engine;

/// A text that a person and a model continue in turns.
///
/// A line continues the text where the model left it, after a space where neither has one: a line end would end a text
/// for many models. Where the model ended the text itself, the next line begins a new one. The model sees the newest half
/// of what it can, so that there is room to write.
pub struct Conversation<'a> {
    checkpoint: &'a Checkpoint,
    engine: &'a mut dyn Engine,
    sampling: &'a Sampling,
    /// The tokens of the texts that have ended.
    ended: Vec<u32>,
    /// The text that is continued.
    text: String,
    turns: u64,
}

/// What a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Whether the model wrote nothing.
    pub is_silent: bool,
    /// Whether the model ended the text.
    pub is_end: bool,
}

impl<'a> Conversation<'a> {
    /// An empty text.
    pub fn new(checkpoint: &'a Checkpoint, engine: &'a mut dyn Engine, sampling: &'a Sampling) -> Self {
        Self { checkpoint, engine, sampling, ended: Vec::new(), text: String::new(), turns: 0 }
    }

    /// Adds a person's line, and shows the model's continuation piece by piece.
    pub fn turn(&mut self, line: &str, mut show: impl FnMut(&str) -> io::Result<()>) -> Result<Turn, GenerateError> {
        let line = line.trim_end_matches(['\n', '\r']);
        let is_apart = self.text.ends_with(char::is_whitespace) || line.starts_with(char::is_whitespace);
        if !(self.text.is_empty() || line.is_empty() || is_apart) {
            self.text.push(' ');
        }
        self.text += line;
        let memory = (self.checkpoint.config.max_position_embeddings / 2).max(1);
        let mut seen = self.ended.clone();
        seen.extend(self.checkpoint.prompt(&self.text)?);
        seen.drain(..seen.len().saturating_sub(memory));
        let options = self.sampling.options(self.checkpoint, self.turns);
        let stops = self.sampling.stop_strings();
        let mut written = String::new();
        let Streamed { tokens, is_end } = stream(self.checkpoint, self.engine, &seen, (&options, stops), |piece| {
            written += piece;
            show(piece)
        })?;
        self.text += &written;
        self.turns += 1;
        if is_end {
            seen.extend(tokens);
            seen.push(self.checkpoint.end_of_text());
            seen.drain(..seen.len().saturating_sub(memory));
            self.ended = seen;
            self.text.clear();
        }
        Ok(Turn { is_silent: written.trim().is_empty(), is_end })
    }
}
