//! What a worker trains on in a window.

use crate::BatchRule;
use std::sync::Arc;
use templar_base::{ContentHash, Window};
use templar_corpus::{Assignment, AssignmentError};
use templar_engine::Batch;

/// The batches of one worker in one window.
pub trait Text: Send + Sync {
    /// Batches that there are.
    fn batches(&self) -> u32;

    /// One of them.
    fn batch(&self, number: u32) -> Result<Batch, AssignmentError>;

    /// The digest of `count` batches from `first` on, as a payload states it.
    fn digest(&self, first: u32, count: u32) -> Result<ContentHash, AssignmentError>;
}

/// A worker's share of a corpus.
#[derive(Debug, Clone)]
pub struct AssignedText {
    /// The share.
    pub assignment: Assignment,
    /// How it becomes batches.
    pub rule: BatchRule,
}

impl Text for AssignedText {
    fn batches(&self) -> u32 {
        self.assignment.batches()
    }

    fn batch(&self, number: u32) -> Result<Batch, AssignmentError> {
        Ok(self.rule.batch(self.assignment.batch(number)?))
    }

    fn digest(&self, first: u32, count: u32) -> Result<ContentHash, AssignmentError> {
        self.assignment.digest(first, count)
    }
}

/// Batches in memory, for examples and tests; their digest is that of their tokens.
impl Text for Vec<Batch> {
    fn batches(&self) -> u32 {
        self.len() as u32
    }

    fn batch(&self, number: u32) -> Result<Batch, AssignmentError> {
        let past = AssignmentError::NoBatch { batch: u64::from(number), batches: self.batches() };
        self.get(number as usize).cloned().ok_or(past)
    }

    fn digest(&self, first: u32, count: u32) -> Result<ContentHash, AssignmentError> {
        let mut hasher = blake3::Hasher::new();
        let end = u64::from(first) + u64::from(count);
        if end > self.len() as u64 {
            return Err(AssignmentError::NoBatch { batch: end.saturating_sub(1), batches: self.batches() });
        }
        for batch in &self[first as usize..end as usize] {
            let tokens = &batch.tokens;
            hasher.update(&tokens.iter().flat_map(|token| token.to_le_bytes()).collect::<Vec<u8>>());
        }
        Ok(ContentHash::new(*hasher.finalize().as_bytes()))
    }
}

/// A window's text with what its rules say of training on it.
#[derive(Clone)]
pub struct WindowData {
    /// The window.
    pub window: Window,
    /// Its batches.
    pub text: Arc<dyn Text>,
    /// The most inner steps on them.
    pub inner_steps: u32,
    /// The learning rate of each step.
    pub learning_rate: f32,
}

impl WindowData {
    /// Batches that may be trained on.
    pub fn steps(&self) -> u32 {
        self.inner_steps.min(self.text.batches())
    }
}
