//! The text of a run: who trains on what, and what is measured on.

use crate::NodeError;
use std::sync::Arc;
use templar_corpus::{AssignmentRule, Assignments, Corpus};
use templar_engine::Batch;
use templar_record::Rules;

/// A run's text, shared out by its rules. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Data {
    /// Who trains on what.
    pub assignments: Assignments,
    sequence_length: usize,
    sequences_per_batch: usize,
    held_out_sequences: usize,
}

impl Data {
    /// Checks that a corpus is the run's, and large enough for its rules.
    pub fn new(run: &Rules, corpus: Arc<Corpus>) -> Result<Self, NodeError> {
        let rule = &run.genesis.data;
        corpus.check_names(rule.manifest, rule.tokenizer)?;
        let assignments = corpus.assignments(run.id, AssignmentRule::of_genesis(rule)?)?;
        Ok(Self {
            assignments,
            sequence_length: rule.sequence_length,
            sequences_per_batch: rule.sequences_per_batch,
            held_out_sequences: run.genesis.judging.held_out_sequences,
        })
    }

    /// Sequences of the run's length as one batch for the engine.
    pub(crate) fn batch(&self, sequences: &[Vec<u32>]) -> Batch {
        Batch::new(sequences.concat(), sequences.len(), self.sequence_length)
    }

    /// The text on which the model is never trained, in batches of the training's size.
    pub(crate) fn held_out(&self) -> Result<Vec<Batch>, NodeError> {
        let sequences = self.assignments.corpus().held_out_sequences(self.held_out_sequences, self.sequence_length)?;
        Ok(sequences.chunks(self.sequences_per_batch).map(|chunk| self.batch(chunk)).collect())
    }
}
