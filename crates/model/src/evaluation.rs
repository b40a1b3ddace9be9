//! Batches to measure a model on, and its mean loss on them.

use templar_corpus::{Corpus, CorpusError};
use templar_engine::{Batch, Engine, EngineError};
use templar_trainer::BatchRule;

/// A batch is split into pieces of at most this many tokens, which bounds the memory for activations.
const PIECE_TOKENS: usize = 4096;

/// Held-out sequences of an evaluation where nothing else is asked for: about 8,000 tokens at the usual length.
pub const EVALUATION_SEQUENCES: usize = 32;

/// Sequences of a batch of bounded size.
pub(crate) fn piece_sequences(length: usize) -> usize {
    (PIECE_TOKENS / length).max(1)
}

/// The held-out sequences of a corpus, fewer where it is small; fails where it has not even one.
pub(crate) fn held_out_batches(corpus: &Corpus, length: usize) -> Result<Vec<Batch>, CorpusError> {
    let available = corpus.held_out_tokens().saturating_sub(1) as usize / length;
    batches_of_corpus(corpus, available.clamp(1, EVALUATION_SEQUENCES), length)
}

/// The mean loss in nats over all sequences of the batches, at the engine's parameters.
pub fn mean_loss(engine: &mut dyn Engine, batches: &[Batch]) -> Result<f32, EngineError> {
    Ok(templar_trainer::mean_loss(engine, batches)? as f32)
}

/// The mean loss in nats over all sequences of the batches, with the number of sequences; `progress` hears the share
/// that is done.
pub fn measure(
    engine: &mut dyn Engine,
    batches: &[Batch],
    mut progress: impl FnMut(f64),
) -> Result<(f64, usize), EngineError> {
    let (mut sum, mut sequences) = (0.0, 0);
    for (number, batch) in batches.iter().enumerate() {
        progress(number as f64 / batches.len() as f64);
        let loss = mean_loss(engine, std::slice::from_ref(batch))?;
        sum += f64::from(loss) * batch.sequences as f64;
        sequences += batch.sequences;
    }
    Ok((sum / sequences.max(1) as f64, sequences))
}

/// The batches to judge a model on: `sequences` of a corpus's held-out part.
pub fn batches_of_corpus(corpus: &Corpus, sequences: usize, length: usize) -> Result<Vec<Batch>, CorpusError> {
    BatchRule::apart(length, corpus).held_out(corpus, sequences, piece_sequences(length))
}

/// The batches to judge a model on: the first sequences of a stream of tokens, none of them where it is too short.
pub fn batches_of_tokens(tokens: &[u32], sequences: usize, length: usize, end_of_text: u32) -> Vec<Batch> {
    let count = (tokens.len().saturating_sub(1) / length).min(sequences);
    let rows = (0..count).flat_map(|number| &tokens[number * length..=(number + 1) * length]);
    let rule = BatchRule { sequence_length: length, end_of_text: Some(end_of_text) };
    rule.batches(&rows.copied().collect::<Vec<_>>(), piece_sequences(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_cut_into_overlapping_rows() {
        let batches = batches_of_tokens(&[0, 1, 2, 3, 4, 5], 9, 2, 9);
        assert_eq!(batches.len(), 1);
        assert_eq!(batches[0].tokens, [0, 1, 2, 2, 3, 4]);
        assert!(batches_of_tokens(&[0, 1], 9, 2, 9).is_empty());
    }
}
