//! The text of a run and how it is shared out.

use super::problem::{Checks, Problem};
use crate::{ContentHash, ModelConfig};
use serde::{Deserialize, Serialize};

/// Most slots with data: as many as a vote, which must fit the chain, has bits for.
pub const MAX_SLOTS: u16 = 1_024;

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
    /// How many miners have disjoint data in one window; uids from here on get none.
    pub slots: u16,
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
        Self {
            tokenizer: corpus.tokenizer,
            manifest: corpus.manifest,
            sequence_length: positions.clamp(1, 128),
            sequences_per_batch: 8,
            batches_per_window: 100,
            slots: 16,
            documents: Documents::Apart,
        }
    }

    /// What cannot be used, with this model.
    pub fn problems(&self, model: &ModelConfig) -> Vec<Problem> {
        let mut checks = Checks::of("data");
        checks.require(
            "sequence_length",
            self.sequence_length,
            (1..=model.max_position_embeddings).contains(&self.sequence_length),
            format!("1 to {}, the model's max_position_embeddings", model.max_position_embeddings),
        );
        checks.range("sequences_per_batch", self.sequences_per_batch, 1..=4_096);
        checks.range("batches_per_window", self.batches_per_window, 1..=65_536);
        checks.range("slots", self.slots, 1..=MAX_SLOTS);
        checks.into_problems()
    }

    /// Tokens that a miner trains on in a window if it does all of its batches.
    pub fn tokens_per_window(&self) -> u64 {
        let sequences = (self.sequences_per_batch as u64).saturating_mul(self.batches_per_window as u64);
        sequences.saturating_mul(self.sequence_length as u64)
    }
}
