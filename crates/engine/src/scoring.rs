//! How likely texts are, token by token, where texts share their beginnings.
//!
//! A [`ReadText`] is a text that the engine has read up to some token. [`Scorer::read`] appends pieces to several texts
//! in one pass over the parameters and scores the tokens that follow; [`Scorer::branch`] begins a text with what another
//! has read, so that a shared beginning is computed once. The scores depend on a text's tokens alone, never on its
//! pieces, the other texts, the threads or the machine; they are those of [`crate::Engine::evaluate`], bit for bit.

use crate::EngineError;
use std::any::Any;

/// A text that an engine has read up to some token.
pub struct ReadText {
    /// What the engine keeps of it.
    pub(crate) cache: Box<dyn Any + Send>,
    pub(crate) tokens: usize,
    pub(crate) positions: usize,
}

impl ReadText {
    /// Tokens that were read.
    pub fn tokens(&self) -> usize {
        self.tokens
    }
}

/// What is appended to a text.
pub struct Piece<'a> {
    /// The text.
    pub text: &'a mut ReadText,
    /// The tokens to read, at least one.
    pub tokens: &'a [u32],
    /// The tokens to score: the last `targets.len()` tokens of the piece predict them. Nothing is predicted where it is
    /// empty.
    pub targets: &'a [u32],
}

/// How well the model predicted a token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenScore {
    /// The loss in nats: the negative logarithm of its probability.
    pub loss: f32,
    /// Whether the model had chosen it, as the first of the most likely tokens; none unless that was asked for.
    pub is_likeliest: Option<bool>,
}

/// Scoring of an engine, at its present parameters; see [`crate::Engine::scorer`].
pub trait Scorer: Send {
    /// A text of which nothing is read, with room for `positions` tokens; its memory is allocated at once.
    fn start(&mut self, positions: usize) -> Result<ReadText, EngineError>;

    /// A text that begins with the first `tokens` tokens of another, with room for `positions` tokens in all. What was
    /// read is copied, not computed.
    fn branch(&mut self, from: &ReadText, tokens: usize, positions: usize) -> Result<ReadText, EngineError>;

    /// Appends each piece to its text, all in one pass; gives the scores of each piece's targets. Whether each target is
    /// the likeliest token takes more work, so it is found only where `wants_likeliest` is set. After an error the texts
    /// are of no use.
    fn read(&mut self, pieces: &mut [Piece], wants_likeliest: bool) -> Result<Vec<Vec<TokenScore>>, EngineError>;
}
