//! How likely texts are, token by token, where texts share their beginnings.
//!
//! A [`ReadText`] is a text that the engine has read up to some token. [`Scorer::read`] appends pieces to several texts
//! in one pass over the parameters and scores the tokens that follow; [`Scorer::branch`] begins a text with what another
//! has read, so that a shared beginning is computed once. The scores depend on a text's tokens alone, never on its
//! pieces, the other texts, the threads or the machine; they are those of [`crate::Engine::evaluate`], bit for bit.

use crate::{EngineError, check_tokens};
use std::any::Any;

/// A text that an engine has read up to some token.
pub struct ReadText {
    /// What the engine keeps of it.
    cache: Box<dyn Any + Send>,
    tokens: usize,
    positions: usize,
}

impl ReadText {
    /// A text of which an engine has read the first `tokens` tokens, with room for `positions`, and what the engine keeps
    /// of it: for those who write an engine.
    pub fn new(cache: impl Any + Send, tokens: usize, positions: usize) -> Self {
        Self { cache: Box::new(cache), tokens, positions }
    }

    /// Tokens that were read.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// What the engine keeps of it; another engine's text is rejected.
    pub fn cache<C: Any>(&self) -> Result<&C, EngineError> {
        self.cache.downcast_ref().ok_or(EngineError::ForeignText)
    }

    /// The same, to append `tokens` tokens to, which are counted.
    pub fn append<C: Any>(&mut self, tokens: usize) -> Result<&mut C, EngineError> {
        self.tokens += tokens;
        self.cache.downcast_mut().ok_or(EngineError::ForeignText)
    }

    /// Rejects a branch of more tokens than were read, or than there is room for.
    pub fn check_branch(&self, tokens: usize, positions: usize) -> Result<(), EngineError> {
        match self.tokens.min(positions) {
            limit if tokens > limit => Err(EngineError::TextTooLong { tokens, limit }),
            _ => Ok(()),
        }
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

impl Piece<'_> {
    /// Rejects a piece that is empty, unknown to the vocabulary, or longer than its text has room.
    pub fn check(&self, vocab: usize) -> Result<(), EngineError> {
        if self.tokens.is_empty() {
            return Err(EngineError::Empty("a piece of a text"));
        }
        if self.targets.len() > self.tokens.len() {
            let (targets, tokens) = (self.targets.len(), self.tokens.len());
            return Err(EngineError::MoreTargets { targets, tokens });
        }
        check_tokens(self.tokens, vocab, false)?;
        check_tokens(self.targets, vocab, false)?;
        let tokens = self.text.tokens + self.tokens.len();
        match self.text.positions {
            limit if tokens > limit => Err(EngineError::TextTooLong { tokens, limit }),
            _ => Ok(()),
        }
    }
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
