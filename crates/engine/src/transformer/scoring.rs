//! The forward pass over pieces of texts whose beginnings are in caches, and the losses of the tokens that follow.

use super::{Cache, Extension, Transformer, read, write};
use crate::batch::Positions;
use crate::ops::{Head, Ops, OpsResult, View, ViewMut};
use crate::scoring::TokenScore;
use std::borrow::{Borrow, BorrowMut};

/// New tokens of a text, and what the last of them predict.
pub(crate) struct ScoredPiece<'a, B> {
    pub cache: &'a mut Cache<B>,
    pub tokens: &'a [u32],
    pub targets: &'a [u32],
}

impl<O: Ops> Transformer<O> {
    /// Room for `positions` positions, of which the first `filled` are those of another cache.
    pub(crate) fn branch(
        &self,
        ops: &mut O,
        from: &Cache<O::Owned>,
        filled: usize,
        positions: usize,
    ) -> OpsResult<Cache<O::Owned>> {
        assert!(filled <= from.filled && filled <= positions, "no such beginning");
        let mut cache = self.cache(ops, positions)?;
        for (from, to) in from.qkv.iter().zip(&mut cache.qkv) {
            ops.copy(read(from), write(to), filled * self.heads.row())?;
        }
        cache.filled = filled;
        Ok(cache)
    }

    /// Appends each piece to its cache; returns the scores of all targets, one piece after the other. The same bits as of
    /// one piece after the other, and as [`Self::losses`] of whole texts.
    pub(crate) fn extend_scored(
        &mut self,
        ops: &mut O,
        parameters: &O::Memory,
        pieces: Vec<ScoredPiece<O::Owned>>,
        wants_likeliest: bool,
    ) -> OpsResult<Vec<TokenScore>> {
        let tokens: Vec<u32> = pieces.iter().flat_map(|piece| piece.tokens).copied().collect();
        let targets: Vec<u32> = pieces.iter().flat_map(|piece| piece.targets).copied().collect();
        let mut scored = Vec::with_capacity(pieces.len());
        let mut end = 0;
        for piece in &pieces {
            end += piece.tokens.len();
            scored.push((end - piece.targets.len(), piece.targets.len()));
        }
        let extension = |ScoredPiece { cache, tokens, .. }| Extension { cache, count: <[u32]>::len(tokens) };
        let mut extensions: Vec<_> = pieces.into_iter().map(extension).collect();
        assert!(extensions.iter().all(|new| new.count <= new.cache.capacity - new.cache.filled), "no room in a cache");
        self.run_layers(ops, parameters, &Positions::of_prompt(&tokens), false, &mut extensions)?;
        if targets.is_empty() {
            return Ok(Vec::new());
        }
        self.norm_of(ops, parameters, &scored)?;
        if wants_likeliest {
            return self.scores_with_likeliest(ops, parameters, &targets);
        }
        let mut losses = vec![0.0; targets.len()];
        let head = Head { hidden: self.config.hidden_size, vocab: self.config.vocab_size };
        let weight = View::new(parameters, self.layout.head());
        ops.head_losses(head, read(&self.workspace.normed), weight, &targets, &mut losses)?;
        Ok(losses.into_iter().map(|loss| TokenScore { loss, is_likeliest: None }).collect())
    }

    /// The final norm of ranges of rows `(first, count)` of the stream, one after the other.
    fn norm_of(&mut self, ops: &mut O, parameters: &O::Memory, ranges: &[(usize, usize)]) -> OpsResult {
        let hidden = self.config.hidden_size;
        let mut row = 0;
        for &(first, count) in ranges.iter().filter(|(_, count)| *count > 0) {
            let norm = self.norm(count);
            let weight = View::new(parameters, self.layout.final_norm());
            let from = View::new(self.workspace.stream.borrow(), first * hidden);
            let to = ViewMut::new(self.workspace.normed.borrow_mut(), row * hidden);
            ops.rms_norm_forward(norm, from, weight, to)?;
            row += count;
        }
        Ok(())
    }

    /// The scores of the first normed rows, by way of all their logits.
    fn scores_with_likeliest(
        &mut self,
        ops: &mut O,
        parameters: &O::Memory,
        targets: &[u32],
    ) -> OpsResult<Vec<TokenScore>> {
        let (vocab, chunk) = (self.config.vocab_size, self.logit_rows());
        let mut logits = vec![0.0; chunk.min(targets.len()) * vocab];
        let mut losses = vec![0.0; targets.len()];
        let mut is_likeliest = Vec::with_capacity(targets.len());
        for (index, (targets, losses)) in targets.chunks(chunk).zip(losses.chunks_mut(chunk)).enumerate() {
            let logits = &mut logits[..targets.len() * vocab];
            self.logits(ops, parameters, index * chunk, targets.len())?;
            ops.download(read(&self.workspace.logits), logits)?;
            let rows = logits.chunks_exact(vocab).zip(targets);
            is_likeliest.extend(rows.map(|(logits, &target)| is_first_of_highest(logits, target as usize)));
            ops.cross_entropy(vocab, targets, 0.0, write(&mut self.workspace.logits), losses)?;
        }
        let scores = losses.into_iter().zip(is_likeliest);
        Ok(scores.map(|(loss, is_likeliest)| TokenScore { loss, is_likeliest: Some(is_likeliest) }).collect())
    }
}

/// Whether no logit is higher than this one, and none before it as high.
fn is_first_of_highest(logits: &[f32], place: usize) -> bool {
    let logit = logits[place];
    logits[..place].iter().all(|other| *other < logit) && logits[place..].iter().all(|other| *other <= logit)
}
