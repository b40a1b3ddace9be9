//! The text of a run and how it is shared out.

use super::problem::{Checks, Problem};
use crate::{ContentHash, ModelConfig};
use serde::{Deserialize, Serialize};

/// Windows of a span in a new document.
const SPAN_WINDOWS: u64 = 64;
/// Miners that a new document's span has text for, without two of them meeting.
const EXPECTED_MINERS: u16 = 16;
/// Most sequences of a span: more than any text has.
const MAX_SPAN: u64 = 1 << 48;

/// Text, tokens, and how they are shared out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRule {
    /// Hash of the `tokenizer.json`.
    pub tokenizer: ContentHash,
    /// Hash of the manifest of the token shards.
    pub manifest: ContentHash,
    /// Tokens that the model sees at once.
    pub sequence_length: usize,
    /// Sequences in one batch, which is one inner step.
    pub sequences_per_batch: usize,
    /// Batches of one miner in one window: the most inner steps that it can do (H).
    pub batches_per_window: usize,
    /// Least sequences of a span: the part of the epoch's order that all miners train on for `span_windows` windows. A
    /// corpus that is smaller is one span.
    pub span_sequences: u64,
    /// Windows of a span.
    pub span_windows: u64,
    /// The part of a span, in percent, on which its windows are judged and which no miner is assigned; at least
    /// `judging.evaluation_sequences`.
    pub evaluation_percent: u32,
    /// Whether the documents of one sequence see each other.
    #[serde(default)]
    pub documents: Documents,
}

/// Whether the documents of one sequence see each other. A sequence is cut from the text at a fixed length, so it can
/// hold the end of one document and the beginning of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Documents {
    /// Attention and positions restart after each end of text: a document is read without the one before it.
    #[default]
    Apart,
    /// A sequence is read as one text; the end of a document is a token like any other.
    Together,
}

/// The corpus of a run, by its hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CorpusHashes {
    /// Hash of the `tokenizer.json`.
    pub tokenizer: ContentHash,
    /// Hash of the manifest of the token shards.
    pub manifest: ContentHash,
}

impl DataRule {
    /// The default shares of this corpus, for a model that sees `positions` tokens at most.
    pub fn of(corpus: CorpusHashes, positions: usize) -> Self {
        let mut rule = Self {
            tokenizer: corpus.tokenizer,
            manifest: corpus.manifest,
            sequence_length: positions.clamp(1, 128),
            sequences_per_batch: 8,
            batches_per_window: 100,
            span_sequences: 0,
            span_windows: SPAN_WINDOWS,
            evaluation_percent: 2,
            documents: Documents::Apart,
        };
        rule.span_sequences = rule.span_for(EXPECTED_MINERS, 0);
        rule
    }

    /// Sequences of one miner in one window if it does all of its batches.
    pub fn sequences_per_miner(&self) -> u64 {
        (self.sequences_per_batch as u64).saturating_mul(self.batches_per_window as u64)
    }

    /// Sequences of a span in which this many miners seldom meet: as many as they use in its windows.
    pub fn span_for(&self, miners: u16, evaluation_sequences: usize) -> u64 {
        let used = self.sequences_per_miner().saturating_mul(self.span_windows).saturating_mul(u64::from(miners));
        used.clamp(self.least_span(evaluation_sequences).min(MAX_SPAN), MAX_SPAN)
    }

    /// The least that `span_sequences` may be: one miner's window and the evaluation of one fit into half of it.
    pub(crate) fn least_span(&self, evaluation_sequences: usize) -> u64 {
        self.sequences_per_miner().saturating_add(evaluation_sequences as u64).saturating_mul(2)
    }

    /// What cannot be used, with this model and this many evaluation sequences of a window.
    pub fn problems(&self, model: &ModelConfig, evaluation_sequences: usize) -> Vec<Problem> {
        let mut checks = Checks::of("data");
        checks.require(
            "sequence_length",
            self.sequence_length,
            (1..=model.max_position_embeddings).contains(&self.sequence_length),
            format!("1 to {}, the model's max_position_embeddings", model.max_position_embeddings),
        );
        checks.range("sequences_per_batch", self.sequences_per_batch, 1..=4_096);
        checks.range("batches_per_window", self.batches_per_window, 1..=65_536);
        let least = self.least_span(evaluation_sequences);
        checks.require(
            "span_sequences",
            self.span_sequences,
            (least..=MAX_SPAN).contains(&self.span_sequences),
            format!("{least} (twice a miner's sequences in a window and judging's) to {MAX_SPAN}"),
        );
        checks.range("span_windows", self.span_windows, 1..=1_000_000);
        checks.range("evaluation_percent", self.evaluation_percent, 1..=50);
        checks.into_problems()
    }

    /// Tokens that a miner trains on in a window if it does all of its batches.
    pub fn tokens_per_window(&self) -> u64 {
        self.sequences_per_miner().saturating_mul(self.sequence_length as u64)
    }
}
