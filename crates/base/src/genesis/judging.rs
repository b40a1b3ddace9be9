//! How contributions are measured, rated and selected.

use super::problem::{Checks, Problem};
use crate::MAX_CANDIDATES;
use serde::{Deserialize, Serialize};

/// How contributions are measured, rated and selected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgingRule {
    /// Sequences of a window's evaluation batch.
    pub evaluation_sequences: usize,
    /// Parts that the evaluation batch is split into, for standard errors.
    pub evaluation_parts: usize,
    /// Most payloads that are judged in a window: those of the best rated, and of others by lot. A vote, which must fit the
    /// chain, has room for 64.
    pub pool: usize,
    /// Most miners whose payloads are merged.
    pub selected: usize,
    /// Places among the selected that a beacon gives to admitted newcomers.
    pub newcomer_places: usize,
    /// A miner counts as a newcomer in its first windows.
    pub newcomer_windows: u64,
    /// Admission: the share of the upper half's median contribution that a miner must surely reach (kappa).
    pub admission_share: f64,
    /// Confirmation: the part of the predicted decrease of the loss that the full step must reach.
    pub confirmation_share: f64,
    /// From this share of equal kept coordinates with an earlier payload on, a payload is a copy.
    pub copy_agreement: f64,
    /// Variance that a rating gains in each window.
    pub rating_process_noise: f64,
    /// Sequences of the fixed held-out part whose loss is reported in every window.
    pub held_out_sequences: usize,
}

impl Default for JudgingRule {
    fn default() -> Self {
        Self {
            evaluation_sequences: 64,
            evaluation_parts: 8,
            pool: MAX_CANDIDATES,
            selected: 15,
            newcomer_places: 2,
            newcomer_windows: 8,
            admission_share: 0.4,
            confirmation_share: 0.5,
            copy_agreement: 0.25,
            rating_process_noise: 0.02,
            held_out_sequences: 64,
        }
    }
}

impl JudgingRule {
    /// What cannot be used.
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks::of("judging");
        checks.range("evaluation_parts", self.evaluation_parts, 2..=64);
        checks.require(
            "evaluation_sequences",
            self.evaluation_sequences,
            self.evaluation_sequences >= self.evaluation_parts
                && self.evaluation_sequences.is_multiple_of(self.evaluation_parts)
                && self.evaluation_sequences <= 65_536,
            format!("a multiple of evaluation_parts ({}), 65536 at most", self.evaluation_parts),
        );
        checks.range("pool", self.pool, 1..=MAX_CANDIDATES);
        checks.range("selected", self.selected, 1..=self.pool.min(MAX_CANDIDATES));
        checks.require(
            "newcomer_places",
            self.newcomer_places,
            self.newcomer_places <= self.selected,
            format!("at most `selected` ({})", self.selected),
        );
        checks.range("admission_share", self.admission_share, 0.0..=1.0);
        checks.range("confirmation_share", self.confirmation_share, 0.0..=1.0);
        checks.range("copy_agreement", self.copy_agreement, 0.0..=1.0);
        checks.positive("rating_process_noise", self.rating_process_noise);
        checks.at_least("held_out_sequences", self.held_out_sequences, 1);
        checks.into_problems()
    }
}
