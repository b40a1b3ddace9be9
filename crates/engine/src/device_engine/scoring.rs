//! Scoring of texts with a key-value cache on the device.

use super::DeviceEngine;
use crate::EngineError;
use crate::ops::Ops;
use crate::scoring::{Piece, ReadText, Scorer, TokenScore};
use crate::transformer::{Cache, ScoredPiece, read};

impl<O: Ops> DeviceEngine<O>
where
    O::Owned: 'static,
{
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
        Ok(ReadText::new(cache, 0, positions))
    }

    fn branch(&mut self, from: &ReadText, tokens: usize, positions: usize) -> Result<ReadText, EngineError> {
        self.check_positions(positions)?;
        from.check_branch(tokens, positions)?;
        let cache: &Cache<O::Owned> = from.cache()?;
        let cache = self.model.branch(&mut self.ops, cache, tokens, positions)?;
        Ok(ReadText::new(cache, tokens, positions))
    }

    fn read(&mut self, pieces: &mut [Piece], wants_likeliest: bool) -> Result<Vec<Vec<TokenScore>>, EngineError> {
        if pieces.is_empty() {
            return Ok(Vec::new());
        }
        let vocab = self.model.config().vocab_size;
        pieces.iter().try_for_each(|piece| piece.check(vocab))?;
        let mut parts = Vec::with_capacity(pieces.len());
        for Piece { text, tokens, targets } in &mut *pieces {
            let cache = text.append::<Cache<O::Owned>>(tokens.len())?;
            parts.push(ScoredPiece { cache, tokens, targets });
        }
        let parameters = read(&self.buffers.parameters).memory;
        let scores = self.model.extend_scored(&mut self.ops, parameters, parts, wants_likeliest)?;
        let mut scores = scores.into_iter();
        Ok(pieces.iter().map(|piece| scores.by_ref().take(piece.targets.len()).collect()).collect())
    }
}
