//! Judging under the other rules that a genesis can name: honest work is selected and promised what it brings, copies
//! and noise are not.

mod arena;

use arena::{Arena, PARAMETERS, standing};
use std::collections::BTreeSet;
use templar_base::random::Stream;
use templar_base::{MergeMethod, OuterRule, Uid};
use templar_gauntlet::{Entry, Rejection, Standing, Submission};
use templar_gradient::{Aggregate, Payload};

const HONEST: std::ops::Range<u16> = 0..8;

fn outer() -> OuterRule {
    arena::genesis().outer
}

fn payload_of(entry: &Entry) -> &Payload {
    match &entry.submission {
        Submission::Payload { payload, .. } => payload,
        Submission::Rejected(failure) => panic!("rejected: {failure}"),
    }
}

/// Some windows of honest miners under a rule, then one with a copy and a payload of noise among them. `nearness` is
/// how far from the promise, in parts of it, the selected's step may end.
fn judge_under(name: &str, outer: OuterRule, kept: u16, nearness: f64) {
    let mut arena = Arena::of_rule(outer, kept);
    let before = arena.model().loss_at(&arena.start.params);
    for window in 0..4 {
        let entries = arena.honest_entries(HONEST);
        let verdict = arena.judge(&entries);
        let selected: BTreeSet<Uid> = verdict.selected.iter().copied().collect();
        assert_eq!(selected, HONEST.map(Uid).collect(), "{name}, window {window}");
        let confirmation = verdict.confirmation.as_ref().unwrap();
        let merged: Vec<(&Payload, u32)> = entries.iter().map(|entry| (payload_of(entry), 1)).collect();
        let mut stepped = arena.start.clone();
        let aggregate = Aggregate::merge(&arena.layout, &merged, arena.rule_of(&verdict)).unwrap();
        arena.step().apply(&mut stepped, &aggregate).unwrap();
        let real = confirmation.loss_before - arena.model().loss_at(&stepped.params);
        let promised = confirmation.predicted.to_f64();
        assert!((promised - real).abs() < nearness * promised, "{name}: {promised} promised, {real} came");
        arena.advance(&entries, &verdict);
    }
    let after = arena.model().loss_at(&arena.start.params);
    assert!(after < before, "{name}: {before} to {after}");

    let mut entries = arena.honest_entries(HONEST);
    let mut stream = Stream::new([7; 32], "noise", 0);
    let mut noise = || -> Vec<f32> { (0..PARAMETERS).map(|_| stream.unit_f32() - 0.5).collect() };
    let mut copied = vec![0.0; PARAMETERS];
    payload_of(&entries[2]).for_each_value(|index, value| copied[index] = value);
    // What a payload says is already in the domain that is sent.
    let mut copier = templar_gradient::ErrorFeedback::from(copied);
    let copy = copier.compress(&arena.layout, arena.metadata(Uid(40))).unwrap();
    let small: Vec<f32> = noise().iter().map(|value| 0.05 * value).collect();
    entries.push(arena.entry(&copy));
    entries.push(arena.entry(&arena.payload_of(Uid(41), &small)));
    let verdict = arena.judge(&entries);
    assert!(
        matches!(standing(&verdict, 40), Standing::Rejected(Rejection::Copy { of: Uid(2), .. })),
        "{name}: {:?}",
        standing(&verdict, 40)
    );
    assert_ne!(standing(&verdict, 41), &Standing::Selected, "{name}");
    assert!(HONEST.map(Uid).all(|uid| verdict.selected.contains(&uid)), "{name}: {:?}", verdict.selected);
}

#[test]
fn dense_diloco() {
    judge_under("diloco", outer().into_diloco(), 4096, 0.05);
}

#[test]
fn demos_rule() {
    judge_under("demo", outer().into_demo(2e-3), 128, 0.25);
}

#[test]
fn merges_that_are_no_mean_promise_what_they_bring() {
    for (name, merge) in [
        ("trimmed mean", MergeMethod::TrimmedMean { trimmed: 1 }),
        ("sign vote", MergeMethod::SignVote),
        ("krum", MergeMethod::Krum { faulty: 1, chosen: 6 }),
        ("centred clipping", MergeMethod::CentredClipping { radius_percent: 100, iterations: 1 }),
    ] {
        judge_under(name, OuterRule { merge, ..outer() }, 128, 0.35);
    }
}
