//! A worker's window, from its data to the next shared parameters, and what goes wrong on the way.

mod worker;

use templar_base::Window;
use templar_gradient::OuterStep;
use templar_trainer::{Anchor, AnchorError, Outcome, SharedState, Trainer, TrainerError, Volatile};
use worker::{Refusing, STEPS, Worker, data, engine, first, outer, rules};

#[test]
fn a_window_ends_at_the_shared_parameters_and_the_drift_that_was_not_sent() {
    let mut worker = Worker::new();
    worker.trainer.begin(data(0)).unwrap();
    worker.steps(STEPS);
    let sealed = worker.seal().unwrap();
    let metadata = sealed.payload.metadata();
    assert_eq!((metadata.inner_steps, metadata.tokens_trained), (STEPS, u64::from(STEPS) * 32));
    let end_point = worker.parameters();
    worker.steps(1);
    let later = worker.parameters();
    let before = worker.shared();
    worker.apply(Some(&sealed.payload)).unwrap();
    let (shared, now) = (worker.shared(), worker.parameters());
    assert_ne!(shared, before);
    for i in 0..now.len() {
        assert_eq!(now[i].to_bits(), (shared[i] + (later[i] - end_point[i])).to_bits());
    }
}

#[test]
fn steps_after_a_seal_are_carried_into_the_next_payload() {
    let mut worker = Worker::new();
    worker.trainer.begin(data(0)).unwrap();
    worker.steps(STEPS);
    let sealed = worker.seal().unwrap();
    worker.steps(2);
    assert!(!worker.trainer.has_batch());
    worker.trainer.begin(data(1)).unwrap();
    worker.steps(1);
    assert!(matches!(worker.seal(), Err(TrainerError::Undecided { .. })));
    worker.apply(Some(&sealed.payload)).unwrap();
    worker.steps(2);
    let metadata = worker.seal().unwrap().payload.metadata().clone();
    assert_eq!((metadata.window, metadata.inner_steps), (Window(1), 5));
    assert_eq!((metadata.carried_start, metadata.carried_steps, metadata.steps_before_rebase), (STEPS, 2, 3));
}

#[test]
fn what_cannot_be_kept_takes_nothing_out_of_the_feedback() {
    let (mut worker, mut other) = (Worker::new(), Worker::new());
    for worker in [&mut worker, &mut other] {
        worker.trainer.begin(data(0)).unwrap();
        worker.steps(STEPS);
    }
    let (next, state) = (worker.next(), worker.state());
    let (residual, parameters) = (worker.residual(), worker.parameters());
    worker.trainer.seal(next, state, &mut Refusing).unwrap_err();
    assert_eq!((worker.residual(), worker.parameters()), (residual, parameters));
    assert!(worker.trainer.sent().is_none());
    // The next try makes the payload of a worker that never failed.
    let (sealed, expected) = (worker.seal().unwrap(), other.seal().unwrap());
    assert_eq!(sealed.payload.encode(), expected.payload.encode());

    let step = OuterStep::of(&worker.rules.outer, next);
    let aggregate = worker.merged(&sealed.payload);
    let outcome = Outcome { aggregate: Some(&aggregate), step: &step };
    let (residual, shared) = (worker.residual(), worker.shared());
    worker.trainer.apply(next, outcome, &mut Refusing).unwrap_err();
    worker.trainer.apply(next, Outcome { aggregate: None, step: &step }, &mut Refusing).unwrap_err();
    assert_eq!((worker.next(), worker.shared(), worker.residual()), (next, shared, residual));
    assert!(worker.trainer.sent().is_some());
    worker.apply(Some(&sealed.payload)).unwrap();
    other.apply(Some(&sealed.payload)).unwrap();
    assert_eq!((worker.state(), worker.parameters()), (other.state(), other.parameters()));
}

#[test]
fn a_window_in_which_nothing_was_merged_puts_the_payload_back() {
    let mut worker = Worker::new();
    worker.trainer.begin(data(0)).unwrap();
    worker.steps(STEPS);
    let drift = worker.trainer.learner_mut().drift().unwrap();
    worker.seal().unwrap();
    let before = worker.shared();
    worker.apply(None).unwrap();
    assert_eq!((worker.next(), worker.shared()), (Window(1), before));
    let residual = worker.residual();
    assert!(residual.iter().zip(&drift).all(|(kept, drift)| (kept - drift).abs() < 1e-6));
    assert!(worker.trainer.sent().is_none());
}

#[test]
fn what_came_too_late_for_a_merge_is_forgotten() {
    let mut worker = Worker::new();
    worker.trainer.begin(data(0)).unwrap();
    worker.steps(STEPS);
    let sealed = worker.seal().unwrap();
    worker.trainer.unsent(Window(0));
    worker.apply(Some(&sealed.payload)).unwrap();
    assert!(worker.residual().iter().all(|value| *value == 0.0));
    assert!(worker.trainer.sent().is_none());
}

/// Hole S19: an honest miner that had been away sent a drift from parameters of long before, and was taken for harmful.
#[test]
fn who_takes_over_parameters_begins_with_nothing_to_send() {
    let mut worker = Worker::new();
    worker.trainer.begin(data(0)).unwrap();
    worker.steps(STEPS);
    worker.seal().unwrap();
    assert!(worker.residual().iter().any(|value| *value != 0.0));
    worker.trainer.install(SharedState::new(Window(9), first().outer), &mut Volatile).unwrap();
    assert!(worker.residual().iter().all(|value| *value == 0.0));
    assert!(worker.trainer.sent().is_none());
    assert_eq!(worker.next(), Window(9));
}

#[test]
fn steps_that_were_not_sealed_are_undone() {
    let mut worker = Worker::new();
    worker.trainer.begin(data(0)).unwrap();
    worker.steps(STEPS);
    worker.trainer.begin(data(1)).unwrap();
    assert_eq!((worker.parameters(), worker.trainer.steps()), (worker.shared(), 0));
    assert!(matches!(worker.seal(), Err(TrainerError::Untrained { .. })));
}

#[test]
fn drift_that_was_sent_is_not_sent_again_after_a_window_without_a_seal() {
    let mut worker = Worker::new();
    worker.trainer.begin(data(0)).unwrap();
    worker.steps(STEPS);
    let sealed = worker.seal().unwrap();
    let end_point = worker.parameters();
    worker.trainer.begin(data(1)).unwrap();
    worker.steps(2);
    // Window 1 passed without a seal while the outcome of window 0 was open.
    worker.trainer.begin(data(2)).unwrap();
    assert_eq!(worker.parameters(), end_point);
    worker.apply(Some(&sealed.payload)).unwrap();
    assert!(worker.trainer.learner_mut().drift().unwrap().iter().all(|value| *value == 0.0));
}

/// Takes everything and gives nothing back.
struct Lossy;

impl Anchor for Lossy {
    fn write(&mut self, _start: usize, _values: &[f32]) -> Result<(), AnchorError> {
        Ok(())
    }

    fn read(&mut self, _start: usize, _out: &mut [f32]) -> Result<(), AnchorError> {
        Err(AnchorError { action: "read", source: "the disk is broken".into() })
    }
}

#[test]
fn an_end_point_that_cannot_be_read_costs_the_steps_since_and_nothing_else() {
    let (mut worker, mut other) = (Worker::new(), Worker::new());
    worker.trainer = Trainer::new(rules(outer()), engine(), first(), Box::new(Lossy)).unwrap();
    for worker in [&mut worker, &mut other] {
        worker.trainer.begin(data(0)).unwrap();
        worker.steps(STEPS);
    }
    let sealed = worker.seal().unwrap();
    other.seal().unwrap();
    worker.steps(2);
    let aggregate = worker.merged(&sealed.payload);
    let step = OuterStep::of(&worker.rules.outer, Window(0));
    let applied =
        worker.trainer.apply(Window(0), Outcome { aggregate: Some(&aggregate), step: &step }, &mut Volatile).unwrap();
    assert!(applied.lost.is_some());
    assert_eq!(applied.state, other.apply(Some(&sealed.payload)).unwrap().state);
    assert_eq!((worker.parameters(), worker.trainer.steps()), (worker.shared(), 0));
    worker.trainer.begin(data(1)).unwrap();
    worker.steps(1);
    worker.seal().unwrap();
}
