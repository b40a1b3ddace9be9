//! Scoring of texts with a key-value cache on the device.

use super::DeviceEngine;
use crate::ops::Ops;
use crate::scoring::{Piece, ReadText, Scorer, TokenScore};
use crate::transformer::{Cache, ScoredPiece, read};
use crate::{EngineError, check_tokens};

impl<O: Ops> DeviceEngine<O>
where
    O::Owned: 'static,
{
    /// Rejects pieces that are empty, unknown to the vocabulary, or longer than their text has room.
    fn check_piece(&self, piece: &Piece) -> Result<(), EngineError> {
        let vocab = self.model.config().vocab_size;
        if piece.tokens.is_empty() {
            return Err(EngineError::Empty("a piece of a text"));
        }
        if piece.targets.len() > piece.tokens.len() {
            let (targets, tokens) = (piece.targets.len(), piece.tokens.len());
            return Err(EngineError::MoreTargets { targets, tokens });
        }
        check_tokens(piece.tokens, vocab, false)?;
        check_tokens(piece.targets, vocab, false)?;
        let tokens = piece.text.tokens + piece.tokens.len();
        match piece.text.positions {
            limit if tokens > limit => Err(EngineError::TextTooLong { tokens, limit }),
            _ => Ok(()),
        }
    }

    fn check_positions(&self, tokens: usize) -> Result<(), EngineError> {
        match self.model.config().max_position_embeddings {
            limit if tokens > limit => Err(EngineError::TextTooLong { tokens, limit }),
            _ => Ok(()),
        }
    }
}

impl<O: Ops> Scorer for DeviceEngine<O>
where
    O::Owned: 'static,
{
    fn start(&mut self, positions: usize) -> Result<ReadText, EngineError> {
        self.check_positions(positions)?;
        let cache = self.model.cache(&mut self.ops, positions)?;
        Ok(ReadText { cache: Box::new(cache), tokens: 0, positions })
    }

    fn branch(&mut self, from: &ReadText, tokens: usize, positions: usize) -> Result<ReadText, EngineError> {
        self.check_positions(positions)?;
        if tokens > from.tokens || tokens > positions {
            return Err(EngineError::TextTooLong { tokens, limit: from.tokens.min(positions) });
        }
        let cache: &Cache<O::Owned> = from.cache.downcast_ref().ok_or(EngineError::ForeignText)?;
        let cache = self.model.branch(&mut self.ops, cache, tokens, positions)?;
        Ok(ReadText { cache: Box::new(cache), tokens, positions })
    }

    fn read(&mut self, pieces: &mut [Piece], wants_likeliest: bool) -> Result<Vec<Vec<TokenScore>>, EngineError> {
        if pieces.is_empty() {
            return Ok(Vec::new());
        }
        pieces.iter().try_for_each(|piece| self.check_piece(piece))?;
        let mut parts = Vec::with_capacity(pieces.len());
        for Piece { text, tokens, targets } in &mut *pieces {
            text.tokens += tokens.len();
            let cache = text.cache.downcast_mut::<Cache<O::Owned>>().ok_or(EngineError::ForeignText)?;
            parts.push(ScoredPiece { cache, tokens, targets });
        }
        let parameters = read(&self.buffers.parameters).memory;
        let scores = self.model.extend_scored(&mut self.ops, parameters, parts, wants_likeliest)?;
        let mut scores = scores.into_iter();
        Ok(pieces.iter().map(|piece| scores.by_ref().take(piece.targets.len()).collect()).collect())
    }
}
