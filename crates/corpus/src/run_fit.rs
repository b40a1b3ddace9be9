//! How a run's genesis and a corpus fit each other.

use crate::builder::HELD_OUT_PERCENT;
use crate::held_out::held_out_bytes;
use crate::{AssignmentRule, Corpus};
use templar_base::{Genesis, Problem};

/// The part of the training text that the expected miners may use in one window: over more of it they would meet often.
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
    let enough = AssignmentRule::of_genesis(genesis).map_err(Into::into).and_then(|rule| {
        let vocabulary = u32::try_from(genesis.model.vocab_size).unwrap_or(u32::MAX);
        corpus.check_enough(rule, vocabulary, genesis.judging.held_out_sequences)
    });
    if let Err(error) = enough {
        let value = format!("more than this corpus of {} training tokens gives", corpus.train_tokens());
        problems.push(problem("data", value, format!("less ({error})")));
    }
    problems
}

/// How many tokens a run asks of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextNeeded {
    /// Tokens to train on.
    pub train_tokens: u64,
    /// Tokens of the part that is kept back.
    pub held_out_tokens: u64,
}

impl TextNeeded {
    /// What a share-out by `rule` needs, with `held_out` sequences of the part that is kept back. A corpus of that size
    /// passes [`Corpus::check_enough`].
    pub fn of(rule: AssignmentRule, held_out: usize) -> Self {
        let length = u64::from(rule.sequence_length);
        Self {
            train_tokens: rule.tokens_needed(),
            held_out_tokens: (held_out as u64).saturating_mul(length).saturating_add(u64::from(held_out > 0)),
        }
    }

    /// Whether the corpus has them.
    pub fn is_met_by(&self, corpus: &Corpus) -> bool {
        corpus.train_tokens() >= self.train_tokens && corpus.held_out_tokens() >= self.held_out_tokens
    }

    /// The bytes of text that give these tokens, with the usual part kept back. `bytes_per_token` is 3.5 to 4.5 for
    /// English and a vocabulary of thousands, about 2.5 for 512; a built corpus has its own
    /// ([`Manifest::bytes_per_token`](crate::Manifest::bytes_per_token)).
    pub fn bytes(&self, bytes_per_token: f64) -> u64 {
        let of_tokens = |tokens: u64| (tokens as f64 * bytes_per_token.max(1.0)).ceil() as u64;
        let (train, held_out) = (of_tokens(self.train_tokens), of_tokens(self.held_out_tokens));
        let is_enough = |total: u64| {
            let kept_back = held_out_bytes(total, HELD_OUT_PERCENT);
            kept_back >= held_out && total - kept_back >= train
        };
        // More text never gives less of either part, so the least size is found by halving.
        let (mut low, mut high) = (0, u64::MAX / 2);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_enough(middle) { high = middle } else { low = middle + 1 }
        }
        low
    }
}

/// As many steps as wanted, as far as the text reaches for this many sequences a step over all expected miners.
pub fn steps_that_fit(wanted: usize, corpus: &Corpus, sequence_length: usize, sequences: u64) -> usize {
    let available = corpus.train_tokens().saturating_sub(1) / sequence_length.max(1) as u64;
    let most = available * WINDOW_SHARE.0 / WINDOW_SHARE.1 / sequences.max(1);
    wanted.min(usize::try_from(most).unwrap_or(usize::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CorpusBuilder, Source};
    use proptest::prelude::*;
    use std::sync::Arc;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_bytes_are_the_least_that_hold_the_tokens(train_tokens in 1u64..1 << 40, held_out_tokens in 0u64..1 << 30) {
            let needed = TextNeeded { train_tokens, held_out_tokens };
            let bytes = needed.bytes(3.0);
            let fits = |total: u64| {
                let kept_back = held_out_bytes(total, HELD_OUT_PERCENT);
                kept_back >= 3 * held_out_tokens && total - kept_back >= 3 * train_tokens
            };
            prop_assert!(fits(bytes) && !fits(bytes - 1));
        }
    }

    #[test]
    fn a_text_of_the_stated_size_is_enough() {
        let rule = AssignmentRule {
            sequence_length: 32,
            sequences_per_batch: 4,
            batches_per_window: 60,
            span_sequences: 10_000,
            span_windows: 64,
            evaluation_percent: 2,
            least_evaluation: 40,
        };
        let needed = TextNeeded::of(rule, 16);
        let root = tempfile::tempdir().unwrap();
        let build = |name: &str, bytes: u64| {
            let text = Source::Synthetic { seed: 0, bytes };
            let folder = root.path().join(name);
            CorpusBuilder::new().source(text, "tales", "free").vocab_size(400).build(&folder, |_| {}).unwrap();
            Arc::new(Corpus::open(&folder).unwrap())
        };
        let ratio = build("first", 60_000).manifest().bytes_per_token();
        // The synthetic text ends with a whole document, and a document less is cut at a word.
        let enough = build("enough", needed.bytes(ratio) * 11 / 10);
        assert!(needed.is_met_by(&enough));
        enough.check_enough(rule, 400, 16).unwrap();
        let too_little = build("too-little", needed.bytes(ratio) / 3);
        assert!(!needed.is_met_by(&too_little));
        assert!(too_little.check_enough(rule, 400, 16).is_err());
    }
}
