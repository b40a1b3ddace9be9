//! An honest payload's steps come to what it states, and a lie does not.

mod worker;

use templar_engine::{Buffer, OptimiserState, Segments};
use templar_gradient::Metadata;
use templar_trainer::{ReplayError, ReplayStart, WindowData, replay};
use worker::{STEPS, Worker, data, engine};

/// Two payloads of an honest worker, the second with carried steps and a rebase between, each with where it began.
fn payloads() -> [(ReplayStart, Metadata); 2] {
    let mut worker = Worker::new();
    worker.trainer.bind_steps();
    let optimiser = OptimiserState::new(worker.parameters().len());
    let first = ReplayStart { end_point: None, shared: worker.shared(), optimiser };
    worker.trainer.begin(data(0)).unwrap();
    worker.steps(STEPS);
    let sealed = worker.seal().unwrap();
    let (end_point, optimiser) =
        (worker.parameters(), OptimiserState::of(worker.trainer.learner_mut().engine_mut()).unwrap());
    worker.steps(2);
    worker.trainer.begin(data(1)).unwrap();
    worker.steps(1);
    worker.apply(Some(&sealed.payload)).unwrap();
    let second = ReplayStart { end_point: Some(end_point), shared: worker.shared(), optimiser };
    worker.steps(2);
    let second = (second, worker.seal().unwrap().payload.metadata().clone());
    [(first, sealed.payload.metadata().clone()), second]
}

fn agrees(start: &ReplayStart, data: &WindowData, previous: &WindowData, metadata: &Metadata) -> bool {
    replay(engine().as_mut(), start.clone(), data, Some(previous), metadata).unwrap().agrees_with(metadata)
}

#[test]
fn honest_payloads_replay_equal() {
    let [(start, metadata), (second_start, second)] = payloads();
    let mut engine = engine();
    let replayed = replay(engine.as_mut(), start, &data(0), None, &metadata).unwrap();
    assert!(replayed.agrees_with(&metadata));
    assert_eq!(engine.to_vec(Buffer::Parameters).ok(), second_start.end_point);
    assert!(second.carried_steps > 0 && second.steps_before_rebase > 0);
    assert!(agrees(&second_start, &data(1), &data(0), &second));
}

#[test]
fn a_lie_is_found() {
    let [(start, honest), (second_start, second)] = payloads();
    let lies = [
        // Fewer steps than stated, more tokens than trained, steps of another order, other data, a made-up root.
        Metadata { inner_steps: STEPS + 1, ..honest.clone() },
        Metadata { tokens_trained: honest.tokens_trained + 32, ..honest.clone() },
        Metadata { trajectory_root: honest.data_digest, ..honest.clone() },
        Metadata { data_digest: honest.trajectory_root, ..honest.clone() },
    ];
    for lie in lies {
        assert!(!agrees(&start, &data(0), &data(0), &lie), "{lie:?}");
    }
    assert!(!agrees(&start, &data(1), &data(0), &honest), "trained on other text");
    assert!(!agrees(&second_start, &data(1), &data(0), &Metadata { steps_before_rebase: 2, ..second }));
    let other_rate = WindowData { learning_rate: 2e-3, ..data(0) };
    assert!(!agrees(&start, &other_rate, &data(0), &honest), "trained at another rate");
}

#[test]
fn counts_that_contradict_each_other_are_rejected_before_any_step() {
    let [(start, honest), (second_start, second)] = payloads();
    let run = |start: &ReplayStart, metadata: &Metadata, previous: Option<&WindowData>| {
        replay(engine().as_mut(), start.clone(), &data(0), previous, metadata).unwrap_err()
    };
    let lie = Metadata { carried_steps: STEPS + 1, ..honest.clone() };
    assert!(matches!(run(&start, &lie, Some(&data(0))), ReplayError::Steps { .. }));
    let lie = Metadata { steps_before_rebase: STEPS + 1, ..honest.clone() };
    assert!(matches!(run(&start, &lie, None), ReplayError::Steps { .. }));
    assert!(matches!(run(&second_start, &second, None), ReplayError::NoData { .. }));
    let lie = Metadata { inner_steps: u32::MAX, ..honest };
    assert!(matches!(run(&start, &lie, None), ReplayError::Step(_)));
    let lie = Metadata { carried_start: u32::MAX, ..second.clone() };
    assert!(matches!(run(&second_start, &lie, Some(&data(0))), ReplayError::Steps { .. }));
    let lie = Metadata { carried_start: STEPS + 1, ..second };
    assert!(matches!(run(&second_start, &lie, Some(&data(0))), ReplayError::Step(_)));
}
