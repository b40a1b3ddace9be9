//! What is asked of the ranks, and what their answers must add up to.

use crate::TorchError;
use crate::exchange::{Exchange, Scratch};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use templar_engine::{Batch, Buffer, SparseDelta};

/// A buffer's name in the protocol.
pub(crate) fn name_of(what: Buffer) -> &'static str {
    match what {
        Buffer::Parameters => "parameters",
        Buffer::Gradient => "gradient",
        Buffer::FirstMoment => "first_moment",
        Buffer::SecondMoment => "second_moment",
    }
}

/// The tokens of some batches in one file, and for each batch where it is there, its sequences, their length, and the
/// token that ends a document, or -1.
pub(crate) fn put_batches(exchange: &Exchange, batches: &[Batch]) -> Result<(Scratch, Value), TorchError> {
    let words = batches.iter().flat_map(|batch| &batch.tokens).map(|token| token.to_le_bytes());
    let file = exchange.words("tokens", words)?;
    let mut at = 0;
    let places = batches.iter().map(|batch| {
        let end = batch.end_of_text.map_or(-1, i64::from);
        let place = json!([at, batch.sequences, batch.length, end]);
        at += batch.tokens.len();
        place
    });
    let places = places.collect();
    Ok((file, places))
}

/// A delta in rounds: in each, indices ascend and none occurs twice, so that a rank finds its own by bisection. An index
/// that occurs N times is in N rounds, in order.
fn rounds(delta: SparseDelta) -> Vec<Vec<(u32, f32)>> {
    let mut entries: Vec<(u32, f32)> = delta.indices.iter().copied().zip(delta.values.iter().copied()).collect();
    entries.sort_by_key(|(index, _)| *index);
    let mut rounds: Vec<Vec<(u32, f32)>> = Vec::new();
    let (mut last, mut round) = (None, 0);
    for (index, value) in entries {
        round = if last == Some(index) { round + 1 } else { 0 };
        last = Some(index);
        if rounds.len() == round {
            rounds.push(Vec::new());
        }
        rounds[round].push((index, value));
    }
    rounds
}

/// A delta's file, and what says where its rounds are in it.
pub(crate) fn put_delta(exchange: &Exchange, delta: SparseDelta) -> Result<(Scratch, Value), TorchError> {
    let rounds = rounds(delta);
    let words = rounds.iter().flat_map(|round| {
        let indices = round.iter().map(|(index, _)| index.to_le_bytes());
        indices.chain(round.iter().map(|(_, value)| value.to_le_bytes()))
    });
    let file = exchange.words("delta", words)?;
    let mut at = 0;
    let places = rounds.iter().map(|round| {
        let place = json!([at, round.len()]);
        at += 2 * round.len();
        place
    });
    let places: Value = places.collect();
    let delta = json!({"file": file.path, "rounds": places});
    Ok((file, delta))
}

/// The sum of a number over all ranks' answers.
pub(crate) fn sum_of(answers: &[Value], name: &str) -> Option<u64> {
    answers.iter().map(|answer| answer.get(name)?.as_u64()).sum()
}

/// A number that all ranks must state alike.
pub(crate) fn same_of(answers: &[Value], name: &str) -> Option<f64> {
    let mut numbers = answers.iter().map(|answer| answer.get(name)?.as_f64());
    let first = numbers.next()??;
    numbers.all(|number| number == Some(first)).then_some(first)
}

/// The slowest pass of each kind so far, in seconds a token: what deadlines follow.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    slowest: HashMap<&'static str, f64>,
}

impl Pace {
    /// How much longer than the slowest pass one may take.
    const PATIENCE: f64 = 10.0;

    /// The deadline of a pass of this kind over this number of tokens.
    pub(crate) fn deadline(&self, kind: &str, tokens: usize, first: Duration, least: Duration) -> Duration {
        match self.slowest.get(kind) {
            Some(slowest) => least.max(Duration::from_secs_f64(slowest * tokens as f64 * Self::PATIENCE)),
            None => first,
        }
    }

    /// Takes note of a pass.
    pub(crate) fn note(&mut self, kind: &'static str, tokens: usize, begun: Instant) {
        let speed = begun.elapsed().as_secs_f64() / tokens.max(1) as f64;
        let slowest = self.slowest.entry(kind).or_default();
        *slowest = slowest.max(speed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_occurs_twice_is_in_two_rounds_in_order() {
        let delta = SparseDelta { indices: &[5, 1, 5, 9, 5, 1], values: &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6] };
        let expected = [vec![(1, 0.2), (5, 0.1), (9, 0.4)], vec![(1, 0.6), (5, 0.3)], vec![(5, 0.5)]];
        assert_eq!(rounds(delta), expected);
        assert!(rounds(SparseDelta { indices: &[], values: &[] }).is_empty());
    }

    #[test]
    fn numbers_of_ranks_are_added_or_compared() {
        let answers = [json!({"copied": 2, "loss": 0.5}), json!({"copied": 3, "loss": 0.5})];
        assert_eq!((sum_of(&answers, "copied"), same_of(&answers, "loss")), (Some(5), Some(0.5)));
        assert_eq!((sum_of(&answers, "loss"), same_of(&answers, "copied")), (None, None));
        assert_eq!((sum_of(&answers, "none"), same_of(&[], "loss")), (None, None));
    }

    #[test]
    fn a_deadline_follows_the_slowest_pass() {
        let (first, least) = (Duration::from_secs(900), Duration::from_secs(60));
        let mut pace = Pace::default();
        assert_eq!(pace.deadline("train", 100, first, least), first);
        pace.slowest.insert("train", 0.5);
        assert_eq!(pace.deadline("train", 100, first, least), Duration::from_secs(500));
        assert_eq!(pace.deadline("train", 1, first, least), least);
        assert_eq!(pace.deadline("evaluate", 1, first, least), first);
    }
}
