//! Scoring of texts.
//!
//! Nothing is kept on the ranks between two passes: a text is its tokens, and each pass over a piece with targets reads
//! the text from its beginning, beside others of about its length. So what texts share is computed for each of them,
//! which a GPU does sooner than it could take turns with caches of another engine's form; pieces without targets cost
//! nothing.

use crate::TorchError;
use crate::engine::TorchEngine;
use templar_engine::{Batch, Engine, EngineError, IGNORED_TOKEN, Piece, ReadText, Scorer, TokenScore};

/// Lengths are rounded up to multiples of this, so that passes have few shapes: a compiled model is compiled for each.
const SCORE_LENGTHS: usize = 64;

/// A text whose last tokens are to be scored.
struct Scored<'a> {
    /// Its place among the pieces.
    place: usize,
    tokens: Vec<u32>,
    targets: &'a [u32],
}

impl TorchEngine {
    fn check_positions(&self, tokens: usize) -> Result<(), EngineError> {
        match self.config().max_position_embeddings {
            limit if tokens > limit => Err(EngineError::TextTooLong { tokens, limit }),
            _ => Ok(()),
        }
    }

    /// Losses of the targets of some texts, and whether each is the likeliest token, by text.
    fn scores_of(&mut self, texts: &[Scored]) -> Result<Vec<Vec<TokenScore>>, TorchError> {
        let longest = texts.iter().map(|text| text.tokens.len()).max().unwrap_or(1);
        let length = longest.next_multiple_of(SCORE_LENGTHS).min(self.config().max_position_embeddings).max(longest);
        // A row has the tokens that are read and then what each of them predicts.
        let filled = |tokens: usize| std::iter::repeat_n(IGNORED_TOKEN, tokens);
        let rows = texts.iter().flat_map(|Scored { tokens, targets, .. }| {
            let (before, after) = (tokens.len() - targets.len(), length - tokens.len());
            let inputs = tokens.iter().copied().chain(filled(after));
            inputs.chain(filled(before)).chain(targets.iter().copied()).chain(filled(after))
        });
        let batch = Batch::new(rows.collect(), texts.len(), 2 * length - 1);
        let values = self.fill_scores(&batch, length)?;
        let (losses, likeliest) = values.split_at(texts.len() * length);
        let own = |(row, Scored { tokens, targets, .. }): (usize, &Scored)| {
            let range = row * length + tokens.len() - targets.len()..row * length + tokens.len();
            let found = losses[range.clone()].iter().zip(&likeliest[range]);
            found.map(|(loss, one)| TokenScore { loss: *loss, is_likeliest: Some(*one == 1.0) }).collect()
        };
        Ok(texts.iter().enumerate().map(own).collect())
    }
}

impl Scorer for TorchEngine {
    fn start(&mut self, positions: usize) -> Result<ReadText, EngineError> {
        self.check_positions(positions)?;
        Ok(ReadText::new(Vec::<u32>::with_capacity(positions), 0, positions))
    }

    fn branch(&mut self, from: &ReadText, tokens: usize, positions: usize) -> Result<ReadText, EngineError> {
        self.check_positions(positions)?;
        from.check_branch(tokens, positions)?;
        let read = from.cache::<Vec<u32>>()?[..tokens].to_vec();
        Ok(ReadText::new(read, tokens, positions))
    }

    fn read(&mut self, pieces: &mut [Piece], wants_likeliest: bool) -> Result<Vec<Vec<TokenScore>>, EngineError> {
        let vocab = self.config().vocab_size;
        pieces.iter().try_for_each(|piece| piece.check(vocab))?;
        let mut texts = Vec::new();
        for (place, Piece { text, tokens, targets }) in pieces.iter_mut().enumerate() {
            let read = text.append::<Vec<u32>>(tokens.len())?;
            read.extend_from_slice(tokens);
            if !targets.is_empty() {
                texts.push(Scored { place, tokens: read.clone(), targets });
            }
        }
        texts.sort_by_key(|text| text.tokens.len());
        let mut scores = vec![Vec::new(); pieces.len()];
        let shape = |text: &Scored| text.tokens.len().div_ceil(SCORE_LENGTHS);
        for alike in texts.chunk_by(|a, b| shape(a) == shape(b)) {
            for (text, own) in alike.iter().zip(self.scores_of(alike)?) {
                scores[text.place] = own;
            }
        }
        if !wants_likeliest {
            scores.iter_mut().flatten().for_each(|score| score.is_likeliest = None);
        }
        Ok(scores)
    }
}
