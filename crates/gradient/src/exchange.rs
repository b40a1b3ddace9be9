//! Whole rules of a window behind one trait: what a worker sends of its drift, and what everybody does with it.
//!
//! Whatever a genesis can name ([`PayloadExchange`]) goes over the wire as payloads and aggregates: this system's rule,
//! those that merge otherwise, and, with rounded values, DiLoCo and DeMo's. The others are here to be compared with:
//! the published sparse rules with their 14 and 20 bits a value, and DiLoCo and DeMo as their papers have them, in f32.

mod demo;
mod diloco;
mod payload_exchange;
mod quantised;

pub use demo::Demo;
pub use diloco::Diloco;
pub use payload_exchange::PayloadExchange;
pub use quantised::{QuantisedError, QuantisedTopK};

use crate::feedback::FeedbackError;
use crate::length::LengthMismatch;
use crate::merge::MergeError;
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
#[non_exhaustive]
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
    use crate::rule::MergeRule;
    use templar_base::{Domain, MergeMethod, ScaleRule, StepRule, ValueCoding};

    fn layout(kept: u16, values: ValueCoding) -> GradientLayout {
        GradientLayout::new([("t".to_owned(), 5000, kept)]).unwrap().with_values(values).unwrap()
    }

    fn mean_of_all() -> MergeRule {
        MergeRule { method: MergeMethod::MeanOfAll, scales: ScaleRule::Own, ..MergeRule::default() }
    }

    /// Dense DiLoCo as a genesis names it; alpha is its rate.
    fn diloco_of_payloads() -> PayloadExchange {
        PayloadExchange {
            step: StepRule::Nesterov { momentum: 0.9 },
            ..PayloadExchange::new(layout(4096, ValueCoding::Rounded { bits: 20 }), mean_of_all(), 1.0)
        }
    }

    /// DeMo's rule as a genesis names it.
    fn demo_of_payloads() -> PayloadExchange {
        PayloadExchange {
            domain: Domain::Frequencies,
            step: StepRule::Sign,
            ..PayloadExchange::new(layout(64, ValueCoding::Rounded { bits: 20 }), mean_of_all(), 0.95)
        }
    }

    /// Every rule, on a layout of 5000 values.
    fn rules() -> Vec<Box<dyn Exchange>> {
        let layout = layout(64, ValueCoding::Signs);
        let sparse = |method| -> Box<dyn Exchange> {
            let rule = MergeRule { method, ..MergeRule::default() };
            Box::new(PayloadExchange::new(layout.clone(), rule, 0.95))
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
            Box::new(diloco_of_payloads()),
            Box::new(demo_of_payloads()),
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

    /// Parameters and momentum after four windows of three workers, each of which goes where its number says.
    fn run(rule: &dyn Exchange, alpha: f32) -> (Vec<f32>, Vec<f32>) {
        let (mut params, mut momentum) = (vec![0f32; 5000], vec![0f32; 5000]);
        let mut memories = vec![vec![0f32; 5000]; 3];
        for window in 0..4 {
            let send =
                |(worker, memory): (usize, &mut Vec<f32>)| rule.send(memory, &drift(5 * worker + 3 * window)).unwrap();
            let messages: Vec<Message> = memories.iter_mut().enumerate().map(send).collect();
            rule.apply(&mut params, &mut momentum, &messages, alpha).unwrap();
        }
        (params, momentum)
    }

    fn largest_gap(left: &[f32], right: &[f32]) -> f32 {
        left.iter().zip(right).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max)
    }

    #[test]
    fn diloco_by_payloads_is_diloco() {
        let (by_payloads, its_momentum) = run(&diloco_of_payloads(), 0.7);
        let (params, momentum) = run(&Diloco { rate: 0.7, momentum: 0.9 }, 1.0);
        let furthest = params.iter().fold(0f32, |most, value| value.abs().max(most));
        assert!(furthest > 1e-2);
        assert!(largest_gap(&by_payloads, &params) < 1e-5 * furthest);
        assert!(largest_gap(&its_momentum, &momentum) < 1e-5 * furthest);
    }

    #[test]
    fn demo_by_payloads_is_demos_rule() {
        let (by_payloads, _) = run(&demo_of_payloads(), 0.25);
        let (params, _) = run(&Demo { layout: layout(64, ValueCoding::Signs), decay: 0.95 }, 0.25);
        // A step is a sign, so a value so near to zero that rounding turns it differs by two steps; few are.
        let differing = by_payloads.iter().zip(&params).filter(|(a, b)| (*a - *b).abs() > 1e-6).count();
        assert!(differing < 10, "{differing} of 5000 values went elsewhere");
        assert!(params.iter().any(|value| *value != 0.0));
    }

    #[test]
    fn what_nobody_merged_comes_back() {
        for (number, rule) in rules().iter().enumerate() {
            let mut memory = vec![0f32; 5000];
            let message = rule.send(&mut memory, &drift(1)).unwrap();
            rule.take_back(&mut memory, &message).unwrap();
            if number + 1 == rules().len() {
                // What waits is in the domain that is sent; the last rule's are frequencies.
                crate::frequencies::backwards(&layout(64, ValueCoding::Signs), &mut memory);
            }
            assert!(largest_gap(&memory, &drift(1)) < 1e-6, "rule {number}");
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
