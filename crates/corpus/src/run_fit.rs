//! How a run's genesis and a corpus fit each other.

use crate::{AssignmentRule, Corpus};
use templar_base::{Genesis, Problem};

/// The part of the training text that one window may hand out: the rest is for evaluation.
const WINDOW_SHARE: (u64, u64) = (3, 4);

/// What of a document does not fit a corpus.
pub fn corpus_problems(genesis: &Genesis, corpus: &Corpus) -> Vec<Problem> {
    let problem = |field: &str, value: String, wanted: String| Problem { field: field.to_owned(), value, wanted };
    let data = &genesis.data;
    let mut problems = Vec::new();
    let (tokenizer, manifest) = (corpus.tokenizer().hash(), corpus.manifest_hash());
    if data.tokenizer != tokenizer {
        problems.push(problem("data.tokenizer", data.tokenizer.to_string(), format!("{tokenizer} for this corpus")));
    }
    if data.manifest != manifest {
        problems.push(problem("data.manifest", data.manifest.to_string(), format!("{manifest} for this corpus")));
    }
    let enough = AssignmentRule::of_genesis(data).map_err(Into::into).and_then(|rule| {
        let vocabulary = u32::try_from(genesis.model.vocab_size).unwrap_or(u32::MAX);
        let (evaluation, held_out) = (genesis.judging.evaluation_sequences, genesis.judging.held_out_sequences);
        corpus.check_enough(rule, vocabulary, evaluation, held_out)
    });
    if let Err(error) = enough {
        let value = format!("more than this corpus of {} training tokens gives", corpus.train_tokens());
        problems.push(problem("data", value, format!("less ({error})")));
    }
    problems
}

/// As many steps as wanted, as far as the text reaches for this many sequences a step over all slots.
pub fn steps_that_fit(wanted: usize, corpus: &Corpus, sequence_length: usize, sequences: u64) -> usize {
    let available = corpus.train_tokens().saturating_sub(1) / sequence_length.max(1) as u64;
    let most = available * WINDOW_SHARE.0 / WINDOW_SHARE.1 / sequences.max(1);
    wanted.min(usize::try_from(most).unwrap_or(usize::MAX)).max(1)
}
