//! The text of a run: who trains on what, and what is measured on.

use crate::NodeError;
use std::sync::Arc;
use templar_corpus::{AssignmentRule, Assignments, Corpus};
use templar_engine::Batch;
use templar_record::Rules;
use templar_trainer::BatchRule;

/// A run's text, shared out by its rules. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Data {
    /// Who trains on what.
    pub assignments: Assignments,
    /// How its sequences become batches.
    pub batch_rule: BatchRule,
    sequences_per_batch: usize,
    held_out_sequences: usize,
}

impl Data {
    /// Checks that a corpus is the run's, and large enough for its rules.
    pub fn new(run: &Rules, corpus: Arc<Corpus>) -> Result<Self, NodeError> {
        let rule = &run.genesis.data;
        corpus.check_names(rule.manifest, rule.tokenizer)?;
        let batch_rule = BatchRule::of_run(rule, &corpus);
        let assignments = corpus.assignments(run.id, AssignmentRule::of_genesis(&run.genesis)?)?;
        Ok(Self {
            assignments,
            batch_rule,
            sequences_per_batch: rule.sequences_per_batch,
            held_out_sequences: run.genesis.judging.held_out_sequences,
        })
    }

    /// The text on which the model is never trained, in batches of the training's size.
    pub fn held_out(&self) -> Result<Vec<Batch>, NodeError> {
        let corpus = self.assignments.corpus();
        Ok(self.batch_rule.held_out(corpus, self.held_out_sequences, self.sequences_per_batch)?)
    }
}
