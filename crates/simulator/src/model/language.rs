//! A small language to learn: what follows on a token is drawn from a few successors of the token and its predecessor.

use std::sync::Arc;
use templar_base::random::Stream;
use templar_base::{ContentHash, Uid, Window};
use templar_corpus::AssignmentError;
use templar_engine::Batch;
use templar_trainer::{BatchRule, Text};

/// Tokens of the language.
pub(crate) const VOCABULARY: usize = 64;
/// Likely tokens after a pair. A model that knows them all has a loss near ln 4 with the noise on top.
const SUCCESSORS: usize = 4;
/// One token in this number is noise.
const NOISE: u64 = 10;
/// Predecessors are told apart by this number of kinds, so that a small model can learn the table.
const KINDS: usize = 4;

/// A language, given by a seed.
#[derive(Debug)]
pub(crate) struct Language {
    seed: [u8; 32],
    successors: Vec<u32>,
    pub rule: BatchRule,
    pub sequences: usize,
}

impl Language {
    pub fn new(seed: u64, sequence_length: usize, sequences: usize) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut draw = Stream::new(key, "language", 0);
        let successors = (0..VOCABULARY * KINDS * SUCCESSORS).map(|_| draw.below(VOCABULARY as u64) as u32).collect();
        let rule = BatchRule { sequence_length, end_of_text: None };
        Self { seed: key, successors, rule, sequences }
    }

    /// A batch of text; equal names, equal text.
    pub fn batch(&self, name: &str, number: u64, sequences: usize) -> Batch {
        let mut draw = Stream::new(self.seed, name, number);
        let mut tokens = Vec::with_capacity(sequences * (self.rule.sequence_length + 1));
        for _ in 0..sequences {
            let (mut before, mut last) = (0usize, draw.below(VOCABULARY as u64) as usize);
            tokens.push(last as u32);
            for _ in 0..self.rule.sequence_length {
                let place = (last * KINDS + before % KINDS) * SUCCESSORS + draw.below(SUCCESSORS as u64) as usize;
                let next = match draw.below(NOISE) {
                    0 => draw.below(VOCABULARY as u64) as u32,
                    _ => self.successors[place],
                };
                tokens.push(next);
                (before, last) = (last, next as usize);
            }
        }
        self.rule.batch(tokens)
    }
}

/// A miner's share of a window.
pub(crate) struct Share {
    pub language: Arc<Language>,
    pub window: Window,
    pub uid: Uid,
    pub batches: u32,
}

impl Text for Share {
    fn batches(&self) -> u32 {
        self.batches
    }

    fn batch(&self, number: u32) -> Result<Batch, AssignmentError> {
        if number >= self.batches {
            return Err(AssignmentError::NoBatch { batch: u64::from(number), batches: self.batches });
        }
        let name = format!("share of {} in {}", self.uid, self.window);
        Ok(self.language.batch(&name, u64::from(number), self.language.sequences))
    }

    fn digest(&self, first: u32, count: u32) -> Result<ContentHash, AssignmentError> {
        let mut hasher = blake3::Hasher::new();
        for number in first..first.saturating_add(count) {
            for token in self.batch(number)?.tokens {
                hasher.update(&token.to_le_bytes());
            }
        }
        Ok(ContentHash::new(*hasher.finalize().as_bytes()))
    }
}
