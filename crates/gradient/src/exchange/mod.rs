//! Whole rules of a window behind one trait: what a worker sends of its drift, and what everybody does with it.
//!
//! The rule of this system and its kin ([`SparseSign`], by [`templar_base::MergeMethod`]) go over the wire as payloads
//! and aggregates. The others are here to be compared with: dense DiLoCo, the published sparse rules with their 14 and
//! 20 bits a value, DeMo's.

mod demo;
mod diloco;
mod quantised;
mod sparse_sign;

pub use demo::Demo;
pub use diloco::Diloco;
pub use quantised::{QuantisedError, QuantisedTopK};
pub use sparse_sign::SparseSign;

use crate::feedback::FeedbackError;
use crate::merge::MergeError;
use crate::outer::LengthMismatch;
use crate::payload::Payload;

/// What one worker sends of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its length on the wire.
    pub bytes: usize,
    content: Content,
}

#[derive(Debug, Clone, PartialEq)]
enum Content {
    Payload(Box<Payload>),
    /// One value for each parameter.
    Dense(Vec<f32>),
    /// Place and value, ascending.
    Sparse(Vec<(usize, f32)>),
}

/// A rule of a window. `memory` and `momentum` have one value for each parameter and begin at zero.
pub trait Exchange: Send + Sync {
    /// What a worker with this memory sends of its drift (window start minus endpoint); the memory is changed.
    fn send(&self, memory: &mut Vec<f32>, drift: &[f32]) -> Result<Message, ExchangeError>;

    /// Returns to the memory what a message took out that nobody merged.
    fn take_back(&self, memory: &mut Vec<f32>, message: &Message) -> Result<(), ExchangeError>;

    /// Steps the shared parameters by what was sent, `alpha` times; returns what each node downloads in bytes.
    /// `momentum` is the same on every node.
    fn apply(
        &self,
        params: &mut [f32],
        momentum: &mut [f32],
        messages: &[Message],
        alpha: f32,
    ) -> Result<usize, ExchangeError>;
}

/// An exchange that failed; the caller is at fault, or the training diverged.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ExchangeError {
    /// Nothing can be sent of the drift.
    #[error(transparent)]
    Feedback(#[from] FeedbackError),
    /// The messages cannot be merged.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// Buffers of different lengths.
    #[error(transparent)]
    Length(#[from] LengthMismatch),
    /// Messages of another rule, or none.
    #[error("the messages are not of this rule, or there are none; give those that it has made")]
    Foreign,
}

fn check_length(actual: usize, expected: usize) -> Result<(), LengthMismatch> {
    if actual == expected { Ok(()) } else { Err(LengthMismatch { actual, expected }) }
}

/// `memory ← decay · memory + drift`.
fn accumulate(memory: &mut [f32], drift: &[f32], decay: f32) -> Result<(), LengthMismatch> {
    check_length(drift.len(), memory.len())?;
    memory.iter_mut().zip(drift).for_each(|(e, delta)| *e = decay * *e + delta);
    Ok(())
}

/// The sum of sparse messages over their number, dense.
fn sparse_mean(messages: &[Message], parameters: usize) -> Result<Vec<f32>, ExchangeError> {
    let mut mean = vec![0f32; parameters];
    for message in messages {
        let Content::Sparse(values) = &message.content else { return Err(ExchangeError::Foreign) };
        for (place, value) in values {
            *mean.get_mut(*place).ok_or(ExchangeError::Foreign)? += value;
        }
    }
    let count = messages.len().max(1) as f32;
    mean.iter_mut().for_each(|value| *value /= count);
    Ok(mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::GradientLayout;
    use crate::merge::MergeRule;
    use templar_base::MergeMethod;

    /// Every rule, on a layout of 5000 values.
    fn rules() -> Vec<Box<dyn Exchange>> {
        let layout = GradientLayout::new([("t".to_owned(), 5000, 64)]).unwrap();
        let sparse = |method| -> Box<dyn Exchange> {
            let rule = MergeRule { method, ..MergeRule::default() };
            Box::new(SparseSign { layout: layout.clone(), rule, decay: 0.95 })
        };
        vec![
            sparse(MergeMethod::MeanOfSenders),
            sparse(MergeMethod::MeanOfAll),
            sparse(MergeMethod::CentredClipping { radius_percent: 100, iterations: 2 }),
            sparse(MergeMethod::TrimmedMean { trimmed: 1 }),
            sparse(MergeMethod::Krum { faulty: 1, chosen: 2 }),
            sparse(MergeMethod::SignVote),
            Box::new(Diloco { rate: 0.7, momentum: 0.9 }),
            Box::new(QuantisedTopK { layout: layout.clone(), bits: 2, decay: 0.95 }),
            Box::new(QuantisedTopK { layout: layout.clone(), bits: 8, decay: 0.95 }),
            Box::new(Demo { layout, decay: 0.95 }),
        ]
    }

    /// A drift that all workers share, beside an own one.
    fn drift(worker: usize) -> Vec<f32> {
        (0..5000).map(|j| ((j * 37 % 101) as f32 - 50.0 + (j * (worker + 3) % 7) as f32) * 1e-4).collect()
    }

    #[test]
    fn every_rule_goes_where_the_workers_went() {
        for (number, rule) in rules().iter().enumerate() {
            let (mut params, mut momentum) = (vec![0f32; 5000], vec![0f32; 5000]);
            let mut memories = vec![vec![0f32; 5000]; 4];
            let send = |(worker, memory): (usize, &mut Vec<f32>)| rule.send(memory, &drift(worker)).unwrap();
            let messages: Vec<Message> = memories.iter_mut().enumerate().map(send).collect();
            let downloaded = rule.apply(&mut params, &mut momentum, &messages, 1.0).unwrap();
            assert!(downloaded > 0 && messages.iter().all(|message| message.bytes > 0), "rule {number}");
            // The drift is start minus end, so a step against it goes on towards the end.
            let along: f64 = params.iter().zip(drift(0)).map(|(p, d)| f64::from(-p * d)).sum();
            assert!(along > 0.0, "rule {number}: {along}");
        }
    }

    #[test]
    fn what_nobody_merged_comes_back() {
        for (number, rule) in rules().iter().enumerate() {
            let mut memory = vec![0f32; 5000];
            let message = rule.send(&mut memory, &drift(1)).unwrap();
            rule.take_back(&mut memory, &message).unwrap();
            let furthest = memory.iter().zip(drift(1)).map(|(e, d)| (e - d).abs()).fold(0f32, f32::max);
            assert!(furthest < 1e-6, "rule {number}: {furthest}");
        }
    }

    #[test]
    fn messages_of_another_rule_are_refused() {
        let rules = rules();
        let dense = Message { bytes: 1, content: Content::Dense(vec![0.0; 5000]) };
        let sparse = Message { bytes: 1, content: Content::Sparse(vec![(5000, 1.0)]) };
        for rule in &rules {
            let apply = |messages: &[Message]| rule.apply(&mut vec![0.0; 5000], &mut vec![0.0; 5000], messages, 1.0);
            assert_eq!(apply(&[dense.clone(), sparse.clone()]), Err(ExchangeError::Foreign));
        }
    }
}
