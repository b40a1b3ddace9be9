//! The order of the text in a training without a network: each sequence once an epoch.

use crate::assignment::AssignmentError;
use crate::corpus::Corpus;
use crate::permutation::Permutation;
use crate::rule::PlanError;
use std::sync::Arc;

/// The batches of a training alone, numbered from 0 on, by a seed.
///
/// A part of the text may be left out for good, as a network leaves out the evaluation text of its only span: so a
/// comparison of the two is one of trainings on as much text. The sequences are cut at the same places as a network's.
#[derive(Debug, Clone)]
pub struct TextOrder {
    corpus: Arc<Corpus>,
    seed: [u8; 32],
    sequence_length: u32,
    sequences_per_batch: u32,
    /// Decides which sequences are left out: those at its first positions.
    choice: Permutation,
    left_out: u64,
}

impl TextOrder {
    /// An order of the corpus' training text without `left_out_percent` of its sequences; an error where the rest is less
    /// than one batch.
    pub fn new(
        corpus: Arc<Corpus>,
        seed: [u8; 32],
        sequence_length: u32,
        sequences_per_batch: u32,
        left_out_percent: u32,
    ) -> Result<Self, PlanError> {
        for (field, value) in [("sequence_length", sequence_length), ("sequences_per_batch", sequences_per_batch)] {
            if value == 0 {
                return Err(PlanError::ZeroInRule { field });
            }
        }
        let (tokens, length) = (corpus.train_tokens(), u64::from(sequence_length));
        let sequences = tokens.saturating_sub(1) / length;
        let most = sequences.saturating_sub(u64::from(sequences_per_batch));
        let left_out = (u128::from(sequences) * u128::from(left_out_percent) / 100).min(u128::from(most)) as u64;
        if sequences < u64::from(sequences_per_batch) {
            return Err(PlanError::too_small(tokens, u64::from(sequences_per_batch) * length + 1));
        }
        let choice = Permutation::new(sequences, seed, "text that is left out", 0);
        Ok(Self { corpus, seed, sequence_length, sequences_per_batch, choice, left_out })
    }

    /// Batches of an epoch; at least 1. Sequences that fill no batch are left out of that epoch only.
    pub fn batches_per_epoch(&self) -> u64 {
        self.sequences() / u64::from(self.sequences_per_batch)
    }

    /// The tokens of a batch: `sequences_per_batch` rows of `sequence_length + 1` tokens, one after the other.
    pub fn batch(&self, number: u64) -> Result<Vec<u32>, AssignmentError> {
        let mut tokens = Vec::with_capacity(self.sequences_per_batch as usize * (self.sequence_length as usize + 1));
        for index in self.indices(number) {
            self.corpus.read_sequence(index, self.sequence_length, &mut tokens)?;
        }
        Ok(tokens)
    }

    fn sequences(&self) -> u64 {
        self.choice.size() - self.left_out
    }

    fn indices(&self, number: u64) -> impl Iterator<Item = u64> {
        let (epoch, place) = (number / self.batches_per_epoch(), number % self.batches_per_epoch());
        let order = Permutation::new(self.sequences(), self.seed, "epoch of the text", epoch);
        let batch = u64::from(self.sequences_per_batch);
        (place * batch..(place + 1) * batch).map(move |position| self.choice.at(self.left_out + order.at(position)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CorpusBuilder, Source};
    use std::collections::BTreeSet;

    #[test]
    fn an_epoch_has_every_sequence_once_but_for_those_left_out_for_good() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("corpus");
        let text = Source::Synthetic { seed: 0, bytes: 60_000 };
        CorpusBuilder::new().source(text, "tales", "free").vocab_size(400).build(&folder, |_| {}).unwrap();
        let corpus = Arc::new(Corpus::open(&folder).unwrap());
        let order = |percent, batch| TextOrder::new(Arc::clone(&corpus), [1; 32], 32, batch, percent);
        let all = (corpus.train_tokens() - 1) / 32;

        let whole = order(0, 3).unwrap();
        let epoch = |order: &TextOrder, number: u64| -> BTreeSet<u64> {
            let batches = order.batches_per_epoch();
            (number * batches..(number + 1) * batches).flat_map(|batch| order.indices(batch)).collect()
        };
        assert_eq!(epoch(&whole, 0).len() as u64, all / 3 * 3);
        let part = order(10, 1).unwrap();
        let first = epoch(&part, 0);
        assert_eq!(first.len() as u64, all - all / 10);
        assert_eq!(first, epoch(&part, 1), "what is left out is left out in every epoch");
        assert_ne!(part.indices(0).collect::<Vec<_>>(), part.indices(part.batches_per_epoch()).collect::<Vec<_>>());
        assert_eq!(part.batch(5).unwrap().len(), 33);

        assert!(matches!(order(2, all as u32 + 1), Err(PlanError::TextTooSmall { .. })));
        assert_eq!(order(99, all as u32).unwrap().batches_per_epoch(), 1);
        assert!(matches!(order(2, 0), Err(PlanError::ZeroInRule { field: "sequences_per_batch" })));
    }
}
