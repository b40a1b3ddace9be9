//! The one way from tokens to a batch.

use templar_base::{DataRule, Documents};
use templar_corpus::{Corpus, CorpusError};
use templar_engine::{Batch, Engine, EngineError};

/// How token sequences become batches of an engine: the same for training, judging and held-out text, so that their
/// losses can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRule {
    /// Tokens that a sequence predicts; the sequence has one more.
    pub sequence_length: usize,
    /// The token that ends a document, where documents do not see each other; none where they do.
    pub end_of_text: Option<u32>,
}

impl BatchRule {
    /// The rule of a run, whose genesis says whether documents see each other; the corpus knows the token between them.
    pub fn of_run(data: &DataRule, corpus: &Corpus) -> Self {
        match data.documents {
            Documents::Apart => Self::apart(data.sequence_length, corpus),
            Documents::Together => Self { sequence_length: data.sequence_length, end_of_text: None },
        }
    }

    /// Documents do not see each other.
    pub fn apart(sequence_length: usize, corpus: &Corpus) -> Self {
        Self { sequence_length, end_of_text: Some(corpus.manifest().end_of_text) }
    }

    /// One batch of `tokens`, `[sequences, sequence_length + 1]`.
    pub fn batch(&self, tokens: Vec<u32>) -> Batch {
        let sequences = tokens.len() / (self.sequence_length + 1);
        let mut batch = Batch::new(tokens, sequences, self.sequence_length);
        batch.end_of_text = self.end_of_text;
        batch
    }

    /// Batches of up to `sequences` sequences out of `tokens`, `[any, sequence_length + 1]`; the last may have fewer.
    pub fn batches(&self, tokens: &[u32], sequences: usize) -> Vec<Batch> {
        let row = self.sequence_length + 1;
        tokens.chunks(sequences.max(1) * row).map(|tokens| self.batch(tokens.to_vec())).collect()
    }

    /// `count` sequences of a corpus's held-out part, in batches of up to `sequences`; the same set on every machine.
    pub fn held_out(&self, corpus: &Corpus, count: usize, sequences: usize) -> Result<Vec<Batch>, CorpusError> {
        let held_out = corpus.held_out_sequences(count, self.sequence_length)?;
        Ok(self.batches(&held_out.concat(), sequences))
    }
}

/// The mean loss in nats over all sequences of the batches at the engine's parameters, each sequence weighted alike;
/// summed in f64 in order.
pub fn mean_loss(engine: &mut dyn Engine, batches: &[Batch]) -> Result<f64, EngineError> {
    let (mut sum, mut sequences) = (0f64, 0usize);
    for batch in batches {
        let losses = engine.evaluate(batch)?;
        sum += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
        sequences += losses.len();
    }
    Ok(sum / sequences.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_every_sequence_once() {
        let rule = BatchRule { sequence_length: 2000, end_of_text: Some(7) };
        let tokens: Vec<u32> = (0..5 * 2001).collect();
        let batches = rule.batches(&tokens, 2);
        assert_eq!(batches.iter().map(|batch| batch.sequences).collect::<Vec<_>>(), [2, 2, 1]);
        assert!(batches.iter().all(|batch| batch.end_of_text == Some(7)));
        let again: Vec<u32> = batches.into_iter().flat_map(|batch| batch.tokens).collect();
        assert_eq!(again, tokens);
    }
}
