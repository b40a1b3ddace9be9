//! How a run shares its text out, and what text that takes.

use serde::{Deserialize, Serialize};
use templar_base::Genesis;

/// How the text is shared out in a run; every node takes it from the genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentRule {
    /// Tokens that a sequence predicts; the sequence itself has one more.
    pub sequence_length: u32,
    /// Sequences of one inner step's batch.
    pub sequences_per_batch: u32,
    /// Batches that one miner gets per window: the most inner steps, and those that are carried into the next window.
    pub batches_per_window: u32,
    /// Least sequences of a span, the part of an epoch that all miners train on for `span_windows` windows. A smaller
    /// text is one span.
    pub span_sequences: u64,
    /// Windows of a span.
    pub span_windows: u64,
    /// The part of a span, in percent, that is its evaluation text: no miner is assigned any of it.
    pub evaluation_percent: u32,
    /// Least sequences of the evaluation text: what the judgement of one window takes.
    pub least_evaluation: u32,
}

impl AssignmentRule {
    /// The rule in a genesis document.
    pub fn of_genesis(genesis: &Genesis) -> Result<Self, PlanError> {
        let number = |field, value: usize| u32::try_from(value).map_err(|_| PlanError::TooLargeInRule { field });
        let data = &genesis.data;
        Ok(Self {
            sequence_length: number("sequence_length", data.sequence_length)?,
            sequences_per_batch: number("sequences_per_batch", data.sequences_per_batch)?,
            batches_per_window: number("batches_per_window", data.batches_per_window)?,
            span_sequences: data.span_sequences,
            span_windows: data.span_windows,
            evaluation_percent: data.evaluation_percent,
            least_evaluation: number("evaluation_sequences", genesis.judging.evaluation_sequences)?,
        })
    }

    /// Sequences that one miner gets per window.
    pub fn sequences_per_miner(&self) -> u64 {
        u64::from(self.sequences_per_batch) * u64::from(self.batches_per_window)
    }

    /// Sequences of the evaluation text of a span of this size.
    pub(crate) fn evaluation_of(&self, span: u64) -> u64 {
        let share = u128::from(span) * u128::from(self.percent()) / 100;
        // Less than the span itself.
        (share as u64).max(u64::from(self.least_evaluation))
    }

    /// A span without anything to train on is no span; no genesis has one.
    fn percent(&self) -> u32 {
        self.evaluation_percent.min(99)
    }

    /// Sequences of the smallest span that has a window's batches for a miner beside its evaluation text.
    pub fn least_span(&self) -> u64 {
        let (own, kept) = (self.sequences_per_miner(), 100 - self.percent());
        // The least size with `size - size * percent / 100 >= own`.
        let by_share = u128::from(own.saturating_sub(1)) * 100 / u128::from(kept) + 1;
        u64::try_from(by_share).unwrap_or(u64::MAX).max(own.saturating_add(u64::from(self.least_evaluation)))
    }

    /// Training tokens that the rule needs.
    pub fn tokens_needed(&self) -> u64 {
        self.least_span().saturating_mul(u64::from(self.sequence_length)).saturating_add(1)
    }

    /// Whether every number that must not be zero is none.
    pub(crate) fn check(&self) -> Result<(), PlanError> {
        let numbers = [
            ("sequence_length", u64::from(self.sequence_length)),
            ("sequences_per_batch", u64::from(self.sequences_per_batch)),
            ("batches_per_window", u64::from(self.batches_per_window)),
            ("span_sequences", self.span_sequences),
            ("span_windows", self.span_windows),
        ];
        match numbers.into_iter().find(|(_, value)| *value == 0) {
            Some((field, _)) => Err(PlanError::ZeroInRule { field }),
            None => Ok(()),
        }
    }
}

/// Why a text cannot be shared out by a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A number of the rule is zero.
    #[error("`{field}` of the assignment rule is zero; the genesis is at fault")]
    ZeroInRule {
        /// The name of the number.
        field: &'static str,
    },
    /// A number of the rule is beyond any text.
    #[error("`{field}` of the assignment rule does not fit in 32 bits; the genesis is at fault")]
    TooLargeInRule {
        /// The name of the number.
        field: &'static str,
    },
    /// One miner's window and the evaluation text need more text than there is.
    #[error(
        "the text has {tokens} training tokens, and one window needs {tokens_needed} (about {bytes_needed} bytes of \
         text) for a miner and for judging: give more text, or take smaller batches, fewer steps, shorter sequences or \
         fewer evaluation sequences"
    )]
    TextTooSmall {
        /// Training tokens that there are.
        tokens: u64,
        /// Training tokens that there must be.
        tokens_needed: u64,
        /// Bytes of text that have about this number of tokens.
        bytes_needed: u64,
    },
}

/// Bytes of English text per token, rounded up: what an error tells people. Byte-level BPE has 3.5 to 4.5 bytes a
/// token at vocabularies of 4 to 50 thousand.
const BYTES_PER_TOKEN: u64 = 5;

impl PlanError {
    /// The error of a text with too few tokens.
    pub(crate) fn too_small(tokens: u64, tokens_needed: u64) -> Self {
        Self::TextTooSmall { tokens, tokens_needed, bytes_needed: tokens_needed.saturating_mul(BYTES_PER_TOKEN) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use templar_base::{CorpusHashes, ModelConfig};

    #[test]
    fn the_rule_of_a_genesis_is_taken_over() {
        let mut genesis = Genesis::new(ModelConfig::tiny(256), CorpusHashes::default());
        genesis.data.batches_per_window = 30;
        let rule = AssignmentRule::of_genesis(&genesis).unwrap();
        assert_eq!((rule.sequences_per_miner(), rule.least_evaluation), (240, 64));
        assert_eq!((rule.span_windows, rule.evaluation_percent), (64, 2));
        genesis.data.batches_per_window = usize::MAX;
        assert_eq!(
            AssignmentRule::of_genesis(&genesis),
            Err(PlanError::TooLargeInRule { field: "batches_per_window" })
        );
    }

    proptest! {
        #[test]
        fn the_least_span_is_just_enough(
            batch in 1u32..9, batches in 1u32..9, evaluation_percent in 0u32..=50, least_evaluation in 0u32..40,
        ) {
            let rule = AssignmentRule {
                sequence_length: 8,
                sequences_per_batch: batch,
                batches_per_window: batches,
                span_sequences: 1,
                span_windows: 1,
                evaluation_percent,
                least_evaluation,
            };
            let is_enough = |size: u64| {
                size.checked_sub(rule.evaluation_of(size)).is_some_and(|rest| rest >= rule.sequences_per_miner())
            };
            let least = rule.least_span();
            prop_assert!(is_enough(least) && !is_enough(least - 1));
        }
    }
}
