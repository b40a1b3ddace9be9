//! Batches to measure a model on, and its mean loss on them.

use templar_corpus::{Corpus, CorpusError};
use templar_engine::{Batch, Engine, EngineError};

/// A batch is split into pieces of at most this many tokens, which bounds the memory for activations.
const PIECE_TOKENS: usize = 4096;

/// Held-out sequences of an evaluation: about 8,000 tokens at the usual length.
const EVALUATION_SEQUENCES: usize = 32;

/// Sequences of `length + 1` tokens, one after the other, as batches of bounded size.
pub(crate) fn pieces(tokens: &[u32], length: usize, end_of_text: u32) -> Vec<Batch> {
    let sequences = (PIECE_TOKENS / length).max(1);
    let piece = |tokens: &[u32]| {
        let mut batch = Batch::new(tokens.to_vec(), tokens.len() / (length + 1), length);
        batch.end_of_text = Some(end_of_text);
        batch
    };
    tokens.chunks(sequences * (length + 1)).map(piece).collect()
}

/// The held-out sequences of a corpus, fewer where it is small; fails where it has not even one.
pub(crate) fn held_out_batches(corpus: &Corpus, length: usize) -> Result<Vec<Batch>, CorpusError> {
    let available = corpus.held_out_tokens().saturating_sub(1) as usize / length;
    let sequences = corpus.held_out_sequences(available.clamp(1, EVALUATION_SEQUENCES), length)?;
    Ok(pieces(&sequences.concat(), length, corpus.manifest().end_of_text))
}

/// The mean loss in nats over all sequences of the batches, at the engine's parameters.
pub fn mean_loss(engine: &mut dyn Engine, batches: &[Batch]) -> Result<f32, EngineError> {
    let (mut sum, mut sequences) = (0.0, 0);
    for batch in batches {
        let losses = engine.evaluate(batch)?;
        sum += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
        sequences += losses.len();
    }
    Ok((sum / sequences.max(1) as f64) as f32)
}

/// The batches to judge a model on: `sequences` of a corpus's held-out part.
pub fn batches_of_corpus(corpus: &Corpus, sequences: usize, length: usize) -> Result<Vec<Batch>, CorpusError> {
    let tokens = corpus.held_out_sequences(sequences, length)?;
    Ok(pieces(&tokens.concat(), length, corpus.manifest().end_of_text))
}

/// The batches to judge a model on: the first sequences of a stream of tokens, none of them where it is too short.
pub fn batches_of_tokens(tokens: &[u32], sequences: usize, length: usize, end_of_text: u32) -> Vec<Batch> {
    let count = (tokens.len().saturating_sub(1) / length).min(sequences);
    let rows = (0..count).flat_map(|number| &tokens[number * length..=(number + 1) * length]);
    pieces(&rows.copied().collect::<Vec<_>>(), length, end_of_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_hold_every_sequence_once() {
        let tokens: Vec<u32> = (0..5 * 2001).collect();
        let pieces = pieces(&tokens, 2000, 7);
        assert_eq!(pieces.iter().map(|piece| piece.sequences).collect::<Vec<_>>(), [2, 2, 1]);
        let again: Vec<u32> = pieces.into_iter().flat_map(|piece| piece.tokens).collect();
        assert_eq!(again, tokens);
    }

    #[test]
    fn a_stream_is_cut_into_overlapping_rows() {
        let batches = batches_of_tokens(&[0, 1, 2, 3, 4, 5], 9, 2, 9);
        assert_eq!(batches.len(), 1);
        assert_eq!(batches[0].tokens, [0, 1, 2, 2, 3, 4]);
        assert!(batches_of_tokens(&[0, 1], 9, 2, 9).is_empty());
    }
}
