//! One window's judgement: who is refused under which name, who is selected and paid, and what the sums promise.

mod arena;

use arena::{Arena, PARAMETERS, genesis, hotkey, miner, standing};
use std::collections::BTreeSet;
use templar_base::random::Stream;
use templar_base::{BlockNumber, ContentHash, RunId, StateHash, StepShare, Uid, Window};
use templar_gauntlet::{
    Confirmation, Entry, Expectation, Nats, Promise, Rejection, Standing, Submission, Verdict, check_payload, confirm,
    measure,
};
use templar_gradient::{Aggregate, Metadata, Payload};

const HONEST: std::ops::Range<u16> = 0..8;
const CHEAT: Uid = Uid(40);

fn uids(range: std::ops::Range<u16>) -> BTreeSet<Uid> {
    range.map(Uid).collect()
}

fn payload_of(entry: &Entry) -> &Payload {
    match &entry.submission {
        Submission::Payload { payload, .. } => payload,
        Submission::Rejected(failure) => panic!("rejected: {failure}"),
    }
}

/// A run in its fourth window, honest entries of that window, and room for one cheat.
fn scene() -> (Arena, Vec<Entry>) {
    let mut arena = Arena::new();
    for _ in 0..3 {
        let entries = arena.honest_entries(HONEST);
        let verdict = arena.judge(&entries);
        arena.advance(&entries, &verdict);
    }
    let entries = arena.honest_entries(HONEST);
    (arena, entries)
}

/// Judges honest entries together with a cheat's, and checks that nobody else is touched by it.
fn judge_cheat(arena: &Arena, honest: &[Entry], cheat: Entry) -> Standing {
    let uid = cheat.uid;
    let entries: Vec<Entry> = honest.iter().cloned().chain([cheat]).collect();
    let verdict = arena.judge(&entries);
    let selected: BTreeSet<Uid> = verdict.selected.iter().copied().collect();
    assert_eq!(
        selected,
        uids(HONEST),
        "honest miners are selected, the cheat ({:?}) is not",
        standing(&verdict, uid.0)
    );
    let weights = arena.weights(&verdict.ratings);
    assert_eq!(weights.keys().copied().collect::<BTreeSet<_>>(), uids(HONEST), "the cheat is paid");
    for uid in HONEST {
        assert_eq!(standing(&verdict, uid), &Standing::Selected);
    }
    standing(&verdict, uid.0).clone()
}

fn noise(seed: u8) -> Vec<f32> {
    let mut stream = Stream::new([seed; 32], "noise", 0);
    (0..PARAMETERS).map(|_| stream.unit_f32() - 0.5).collect()
}

#[test]
fn the_rules_of_the_arena_are_rules_that_a_run_may_have() {
    genesis().check().unwrap();
}

#[test]
fn contributions_sum_to_what_the_step_really_brings() {
    let (arena, entries) = scene();
    let verdict = arena.judge(&entries);
    let confirmation = verdict.confirmation.as_ref().unwrap();
    let contributions: f64 = verdict.miners.iter().map(|m| m.contribution.as_ref().unwrap().mean.to_f64()).sum();
    assert!((confirmation.predicted.to_f64() - contributions).abs() < 1e-6);

    let merged: Vec<(&Payload, u32)> = entries.iter().map(|entry| (payload_of(entry), 1)).collect();
    let mut stepped = arena.start.clone();
    let aggregate = Aggregate::merge(&arena.layout, &merged, arena.rule_of(&verdict)).unwrap();
    arena.step().apply(&mut stepped, &aggregate).unwrap();
    let real = arena.model().loss_at(&arena.start.params) - arena.model().loss_at(&stepped.params);
    assert!(real > 0.0);
    assert!((contributions - real).abs() < 0.02 * real, "{contributions} was promised, {real} came");
    assert_eq!(confirmation.loss_before - confirmation.loss_after.unwrap(), real);
    assert_eq!(confirmation.evaluations, 2, "all is well: the start and the whole step; the half was seen on the way");
    assert_eq!(verdict.tokens(), 8 * 4 * 32);
    assert_eq!(verdict.findings.selected().collect::<Vec<_>>(), uids(HONEST).into_iter().collect::<Vec<_>>());
}

#[test]
fn what_a_payload_says_of_its_window_is_checked_and_named() {
    let (mut arena, honest) = scene();
    let payload = arena.honest(CHEAT, 1.0);
    let truth = arena.metadata(CHEAT);
    let refused = |metadata: Metadata| {
        let entry = arena.entry_as(CHEAT, &payload.clone().with_metadata(metadata).unwrap());
        match judge_cheat(&arena, &honest, entry) {
            Standing::Rejected(failure) => failure,
            other => panic!("{other:?}"),
        }
    };
    let other_state = StateHash::new([9; 32]);
    assert_eq!(refused(Metadata { run: RunId::new([9; 32]), ..truth.clone() }), Rejection::WrongRun);
    let stale = Window(arena.window.0 - 1);
    assert_eq!(refused(Metadata { window: stale, ..truth.clone() }), Rejection::WrongWindow { actual: stale });
    assert_eq!(refused(Metadata { uid: Uid(3), ..truth.clone() }), Rejection::WrongUid { actual: Uid(3) });
    assert_eq!(refused(Metadata { start_state: other_state, ..truth.clone() }), Rejection::WrongStart);
    let numerics = Rejection::WrongNumerics { actual: "fast-1".to_owned() };
    assert_eq!(refused(Metadata { numerics: "fast-1".to_owned(), ..truth.clone() }), numerics);
    let data_digest = arena.data_digest(Uid(0));
    assert_eq!(refused(Metadata { data_digest, ..truth.clone() }), Rejection::WrongData);
    for wrong in [
        Metadata { inner_steps: 0, tokens_trained: 0, ..truth.clone() },
        Metadata { inner_steps: 5, tokens_trained: 5 * 32, ..truth.clone() },
        Metadata { tokens_trained: 1_000_000, ..truth.clone() },
        Metadata { carried_steps: 5, ..truth.clone() },
        Metadata { carried_start: 4, carried_steps: 1, ..truth.clone() },
        Metadata { carried_start: u32::MAX, carried_steps: 1, ..truth.clone() },
    ] {
        assert_eq!(refused(wrong), Rejection::WrongSteps);
    }
    assert_eq!(
        judge_cheat(&arena, &honest[..], rejected_entry(Rejection::Missing)),
        Standing::Rejected(Rejection::Missing)
    );
}

fn rejected_entry(failure: Rejection) -> Entry {
    Entry { uid: CHEAT, hotkey: hotkey(CHEAT), block: BlockNumber(99), submission: Submission::Rejected(failure) }
}

#[test]
fn bytes_that_are_no_payload_are_refused_with_the_place() {
    let (mut arena, honest) = scene();
    let mut bytes = arena.honest(CHEAT, 1.0).encode();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    let error = Payload::decode(&bytes, &arena.layout).unwrap_err();
    let failure = Rejection::Undecodable { reason: error.to_string() };
    let standing = judge_cheat(&arena, &honest, rejected_entry(failure.clone()));
    assert_eq!(standing, Standing::Rejected(failure));
}

#[test]
fn a_uid_without_data_is_told_so() {
    let (mut arena, honest) = scene();
    let mut entry = arena.entry(&arena.payload_of(CHEAT, &noise(1)));
    let payload = arena.honest(CHEAT, 1.0);
    let hash = ContentHash::of(&payload.encode());
    entry.submission = Submission::Payload { payload: Box::new(payload), hash, data_digest: None };
    assert_eq!(judge_cheat(&arena, &honest, entry), Standing::Rejected(Rejection::NoAssignment));
}

#[test]
fn zeros_and_values_out_of_proportion_are_refused() {
    let (arena, honest) = scene();
    let zeros = arena.entry(&arena.payload_of(CHEAT, &[0.0; PARAMETERS]));
    assert_eq!(judge_cheat(&arena, &honest, zeros), Standing::Rejected(Rejection::Empty));

    let scaled: Vec<f32> = arena.honest_drift(CHEAT, 1.0).iter().map(|value| 100.0 * value).collect();
    let scaled = arena.entry(&arena.payload_of(CHEAT, &scaled));
    let standing = judge_cheat(&arena, &honest, scaled);
    assert!(matches!(standing, Standing::Rejected(Rejection::OutOfBounds { .. })), "{standing:?}");

    // Coordinates that nobody else sends, as large as the format allows.
    let sent: BTreeSet<usize> = honest.iter().flat_map(|entry| sent_by(payload_of(entry))).collect();
    let unique: Vec<f32> = (0..PARAMETERS).map(|j| if sent.contains(&j) { 0.0 } else { 14.75 }).collect();
    let unique = arena.entry(&arena.payload_of(CHEAT, &unique));
    let standing = judge_cheat(&arena, &honest, unique);
    assert!(matches!(standing, Standing::Rejected(Rejection::OutOfBounds { .. })), "{standing:?}");
}

fn sent_by(payload: &Payload) -> Vec<usize> {
    let mut indices = Vec::new();
    payload.for_each(|index, _| indices.push(index));
    indices
}

#[test]
fn in_a_first_window_without_any_history_huge_values_gain_nothing_either() {
    let mut arena = Arena::new();
    let honest = arena.honest_entries(HONEST);
    let sent: BTreeSet<usize> = honest.iter().flat_map(|entry| sent_by(payload_of(entry))).collect();
    let mut signs = noise(5);
    for (j, value) in signs.iter_mut().enumerate() {
        *value = if sent.contains(&j) || j >= 8192 { 0.0 } else { 14.75f32.copysign(*value) };
    }
    // By chance it may point downhill and have a place drawn; at the step it is found out.
    let entries: Vec<Entry> = honest.iter().cloned().chain([arena.entry(&arena.payload_of(CHEAT, &signs))]).collect();
    let verdict = arena.judge(&entries);
    assert_ne!(standing(&verdict, CHEAT.0), &Standing::Selected);
    assert!(verdict.selected.len() >= 7, "{:?}", verdict.selected);
    assert!(!arena.weights(&verdict.ratings).contains_key(&CHEAT), "the cheat is paid");
}

#[test]
fn noise_and_a_flipped_sign_are_not_admitted() {
    let (arena, honest) = scene();
    for seed in 0..8 {
        let standing = judge_cheat(&arena, &honest, arena.entry(&arena.payload_of(CHEAT, &noise(seed))));
        assert!(matches!(standing, Standing::NotAdmitted | Standing::Harmful), "{standing:?}");
    }
    let flipped: Vec<f32> = arena.honest_drift(CHEAT, 1.0).iter().map(|value| -value).collect();
    let standing = judge_cheat(&arena, &honest, arena.entry(&arena.payload_of(CHEAT, &flipped)));
    // It was never merged, so it did no harm.
    assert_eq!(standing, Standing::NotAdmitted);
}

#[test]
fn the_last_window_sent_again_is_a_payload_of_another_window() {
    let mut arena = Arena::new();
    let before = arena.honest_entries(HONEST);
    let verdict = arena.judge(&before);
    arena.advance(&before, &verdict);
    let honest = arena.honest_entries(1..8);
    let again = arena.entry(payload_of(&before[0]));
    let entries: Vec<Entry> = honest.into_iter().chain([again]).collect();
    let verdict = arena.judge(&entries);
    assert_eq!(standing(&verdict, 0), &Standing::Rejected(Rejection::WrongWindow { actual: Window(0) }));
    assert_eq!(verdict.selected.len(), 7);
}

#[test]
fn a_copy_is_refused_whether_it_is_exact_or_perturbed() {
    let (arena, honest) = scene();
    let original = payload_of(&honest[2]);
    let is_copy = |standing: &Standing| matches!(standing, Standing::Rejected(Rejection::Copy { of: Uid(2), .. }));

    let copy = original.clone().with_metadata(arena.metadata(CHEAT)).unwrap();
    let exact = judge_cheat(&arena, &honest, arena.entry(&copy));
    assert_eq!(exact, Standing::Rejected(Rejection::Copy { of: Uid(2), percent: 100 }));

    let mut values = vec![0.0; PARAMETERS];
    original.for_each_value(|index, value| values[index] = value);
    let scaled: Vec<f32> = values.iter().map(|value| 1.7 * value).collect();
    assert!(is_copy(&judge_cheat(&arena, &honest, arena.entry(&arena.payload_of(CHEAT, &scaled)))));

    // A quarter of its coordinates are replaced by others.
    let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let mut perturbed = values.clone();
    for (place, index) in sent_by(original).into_iter().enumerate().filter(|(place, _)| place % 4 == 0) {
        perturbed[index] = 0.0;
        perturbed[(index + 1 + place % 2) % 8192] = largest;
    }
    let standing = judge_cheat(&arena, &honest, arena.entry(&arena.payload_of(CHEAT, &perturbed)));
    assert!(is_copy(&standing), "{standing:?}");
}

/// Hole S5: what was sent in an earlier window passed again, with new metadata.
#[test]
fn what_was_sent_in_an_earlier_window_is_not_paid_again() {
    let (mut arena, honest) = scene();
    let own = payload_of(&honest[2]).clone();
    let verdict = arena.judge(&honest);
    arena.advance(&honest, &verdict);
    let before = Window(arena.window.0 - 1);
    let mut entries = arena.honest_entries(HONEST);
    for (place, uid) in [(2, Uid(2)), (3, CHEAT)] {
        let again = own.clone().with_metadata(arena.metadata(uid)).unwrap();
        if place == 2 {
            entries[place] = arena.entry(&again);
        } else {
            entries.push(arena.entry(&again));
        }
    }
    let verdict = arena.judge(&entries);
    let repeat = Standing::Rejected(Rejection::Repeat { of: Uid(2), window: before, percent: 100 });
    assert_eq!(standing(&verdict, 2), &repeat, "its own");
    let is_found = matches!(
        standing(&verdict, CHEAT.0),
        Standing::Rejected(Rejection::Repeat { of: Uid(2), .. } | Rejection::Copy { of: Uid(2), .. })
    );
    assert!(is_found, "another's: {:?}", standing(&verdict, CHEAT.0));
    let honest = HONEST.filter(|uid| *uid != 2).filter(|uid| *standing(&verdict, *uid) != Standing::Selected);
    assert_eq!(honest.count(), 0, "who sends something new is no copy");
}

/// Hole S5: the largest of what was merged last, sent as a payload, costs nothing and was paid.
#[test]
fn the_largest_of_what_was_merged_is_not_paid_again() {
    let (mut arena, honest) = scene();
    let verdict = arena.judge(&honest);
    arena.advance(&honest, &verdict);
    let before = Window(arena.window.0 - 1);
    let merged = arena.last_merged();
    let honest = arena.honest_entries(HONEST);
    let resent = judge_cheat(&arena, &honest, arena.entry(&arena.payload_of(CHEAT, &merged)));
    assert_eq!(resent, Standing::Rejected(Rejection::Merged { window: before, percent: 100 }));
    // Each value with noise of a seventh of its own size.
    let mut stream = Stream::new([7; 32], "disguise", 0);
    let disguised: Vec<f32> = merged.iter().map(|value| value * (0.86 + 0.28 * stream.unit_f32())).collect();
    let disguised = judge_cheat(&arena, &honest, arena.entry(&arena.payload_of(CHEAT, &disguised)));
    assert!(matches!(disguised, Standing::Rejected(Rejection::Merged { .. })), "{disguised:?}");
    // A window later it is still known.
    let entries = arena.honest_entries(HONEST);
    let verdict = arena.judge(&entries);
    arena.advance(&entries, &verdict);
    let mut entries = arena.honest_entries(HONEST);
    entries.push(arena.entry(&arena.payload_of(CHEAT, &merged)));
    let verdict = arena.judge(&entries);
    let resent = Rejection::Merged { window: before, percent: 100 };
    assert_eq!(standing(&verdict, CHEAT.0), &Standing::Rejected(resent));
}

#[test]
fn after_a_null_window_its_payload_may_come_again_and_another_s_may_not() {
    let (mut arena, honest) = scene();
    let verdict = arena.judge(&honest);
    arena.advance(&honest, &Verdict { selected: Vec::new(), ..verdict });
    let again = |uid: Uid| payload_of(&honest[2]).clone().with_metadata(arena.metadata(uid)).unwrap();
    let mut entries: Vec<Entry> = honest
        .iter()
        .map(|entry| {
            let own = payload_of(entry).clone().with_metadata(arena.metadata(entry.uid)).unwrap();
            arena.entry(&own)
        })
        .collect();
    entries[3] = arena.entry(&again(Uid(3)));
    let verdict = arena.judge(&entries);
    for uid in HONEST.filter(|uid| *uid != 3) {
        assert_eq!(standing(&verdict, uid), &Standing::Selected);
    }
    let is_known = matches!(
        standing(&verdict, 3),
        Standing::Rejected(Rejection::Repeat { of: Uid(2), .. } | Rejection::Copy { of: Uid(2), .. })
    );
    assert!(is_known, "{:?}", standing(&verdict, 3));
}

#[test]
fn who_was_sealed_first_is_the_author() {
    let (arena, mut honest) = scene();
    let copy = payload_of(&honest[2]).clone().with_metadata(arena.metadata(CHEAT)).unwrap();
    let mut copy = arena.entry(&copy);
    // The one with the lower uid was committed later.
    copy.block = BlockNumber(1);
    honest.push(copy);
    let verdict = arena.judge(&honest);
    assert_eq!(standing(&verdict, 2), &Standing::Rejected(Rejection::Copy { of: CHEAT, percent: 100 }));
    assert_eq!(standing(&verdict, CHEAT.0), &Standing::Selected);
}

#[test]
fn a_few_common_values_that_were_sealed_early_make_nobody_a_copier() {
    let (arena, honest) = scene();
    let mut few = vec![0.0; PARAMETERS];
    let mut place = 0;
    payload_of(&honest[3]).for_each_value(|index, value| {
        few[index] = if place % 32 == 0 { value } else { 0.0 };
        place += 1;
    });
    let mut early = arena.entry(&arena.payload_of(CHEAT, &few));
    early.block = BlockNumber(1);
    let standing = judge_cheat(&arena, &honest, early);
    assert_eq!(standing, Standing::NotAdmitted);
}

#[test]
fn honest_payloads_that_agree_strongly_are_no_copies() {
    let mut arena = Arena::new();
    // In a run's first windows everybody learns the same simple things.
    arena.noise = 0.15;
    for _ in 0..3 {
        let entries = arena.honest_entries(0..10);
        let agreement = payload_of(&entries[0]).agreement(payload_of(&entries[1]));
        assert!(agreement > 0.5 || arena.window > Window(0), "{agreement} is no strong agreement");
        let verdict = arena.judge(&entries);
        // While nobody is rated, half of the fifteen places are given.
        let merged = if arena.window == Window(0) { 8 } else { 10 };
        assert_eq!(
            verdict.selected.len(),
            merged,
            "{:?}",
            verdict.miners.iter().map(|m| &m.standing).collect::<Vec<_>>()
        );
        arena.advance(&entries, &verdict);
    }
}

#[test]
fn splitting_a_payload_among_sybils_gains_nothing() {
    let (arena, honest) = scene();
    let rest: Vec<&Payload> = honest[1..].iter().map(payload_of).collect();
    let whole = payload_of(&honest[0]);
    let half = |uid: u16, parity: usize| {
        let (mut values, mut place) = (vec![0.0; PARAMETERS], 0);
        whole.for_each_value(|index, value| {
            values[index] = if place % 2 == parity { value } else { 0.0 };
            place += 1;
        });
        arena.payload_of(Uid(uid), &values)
    };
    let (first, second) = (half(40, 0), half(41, 1));
    assert_eq!(first.kept() + second.kept(), whole.kept());
    let measured = |own: &[&Payload]| -> f64 {
        let all: Vec<&Payload> = own.iter().chain(&rest).copied().collect();
        let measured = measure(&mut arena.model(), &arena.start, &all, arena.rule(), arena.step()).unwrap();
        measured.contributions[..own.len()].iter().map(|contribution| contribution.mean.to_f64()).sum()
    };
    let (alone, together) = (measured(&[whole]), measured(&[&first, &second]));
    assert!((alone - together).abs() < 1e-6 * alone, "{alone} as one, {together} as two");
}

#[test]
fn a_verdict_is_the_same_to_the_byte_for_any_order_and_any_judge() {
    let (arena, mut entries) = scene();
    entries.push(arena.entry(&arena.payload_of(CHEAT, &noise(1))));
    entries.push(Entry { uid: Uid(41), ..rejected_entry(Rejection::Missing) });
    let json = |entries: &[Entry]| serde_json::to_string(&arena.judge(entries)).unwrap();
    let first = json(&entries);
    assert_eq!(json(&entries), first);
    let mut stream = Stream::new([3; 32], "order", 0);
    for _ in 0..5 {
        for place in (1..entries.len()).rev() {
            entries.swap(place, stream.below(place as u64 + 1) as usize);
        }
        assert_eq!(json(&entries), first);
    }
    let read: templar_gauntlet::Verdict = serde_json::from_str(&first).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), first, "whoever reads a verdict can write it again");
}

/// Honest work that hides a step into the wall: half of it is good, the whole of it is not.
fn trap(arena: &Arena, uid: Uid) -> Payload {
    let mut wanted = arena.honest_drift(uid, 1.0);
    for value in &mut wanted[8192..] {
        *value = -1.9 / arena.genesis.outer.alpha(arena.window);
    }
    arena.payload_of(uid, &wanted)
}

#[test]
fn a_payload_that_is_good_for_half_a_step_only_is_isolated() {
    let (arena, honest) = scene();
    let trap = trap(&arena, CHEAT);
    let mut entries = honest.clone();
    entries.push(arena.entry(&trap));
    let verdict = arena.judge(&entries);
    let cheat = miner(&verdict, CHEAT.0);
    assert!(cheat.contribution.as_ref().unwrap().sure().to_f64() > 0.0, "the small step looks good");
    assert_eq!(verdict.selected.iter().copied().collect::<BTreeSet<_>>(), uids(HONEST));
    assert!(!arena.weights(&verdict.ratings).contains_key(&CHEAT), "who failed the full step earns nothing");
    assert_eq!(
        cheat.standing,
        Standing::Harmful,
        "it is tested at the step that is taken, on top of what the others bring"
    );
    let confirmation = verdict.confirmation.unwrap();
    assert!(confirmation.loss_after.unwrap() < confirmation.loss_before);
    assert_eq!(confirmation.step, StepShare::Whole, "nobody takes a smaller step for it");
}

/// Bug: where nobody was rated, a majority that overshoots set the threshold, honest miners were not admitted, and every
/// window was null for ever.
#[test]
fn a_majority_of_strangers_that_overshoots_does_not_keep_the_honest_out() {
    let mut arena = Arena::new();
    let mut entries = arena.honest_entries(HONEST);
    for uid in 20..30 {
        entries.push(arena.entry(&trap(&arena, Uid(uid))));
    }
    let verdict = arena.judge(&entries);
    assert!(
        !verdict.selected.is_empty(),
        "{:?}",
        verdict.miners.iter().map(|miner| &miner.standing).collect::<Vec<_>>()
    );
    assert!(verdict.selected.iter().all(|uid| uid.0 < 20), "{:?}", verdict.selected);
    let confirmation = verdict.confirmation.unwrap();
    assert!(confirmation.loss_after.unwrap() < confirmation.loss_before);
}

/// Confirms honest payloads with some traps among them, all at the whole step.
fn confirm_with_traps(arena: &Arena, payloads: &[&Payload], agreed_before: &[Uid]) -> Confirmation {
    let measured = measure(&mut arena.model(), &arena.start, payloads, arena.rule(), arena.step()).unwrap();
    let candidates: Vec<_> = payloads
        .iter()
        .zip(&measured.contributions)
        .map(|(payload, contribution)| (payload.metadata().uid, *payload, contribution))
        .collect();
    let promise = Promise { share: 0.5, carried: Nats(0), is_strict: false };
    let (rule, step) = (arena.rule(), arena.step());
    confirm(&mut arena.model(), &arena.start, &candidates, rule, step, promise, agreed_before).unwrap()
}

#[test]
fn group_testing_leaves_out_a_culprit_wherever_it_stands_in_few_tests() {
    let (arena, honest) = scene();
    let traps: Vec<Payload> = [40, 41].map(|uid| trap(&arena, Uid(uid))).into();
    let before: Vec<Uid> = uids(HONEST).into_iter().collect();
    for place in 0..=honest.len() {
        let mut payloads: Vec<&Payload> = honest.iter().map(payload_of).collect();
        payloads.insert(place, &traps[0]);
        for set in [payloads.clone(), [payloads, vec![&traps[1]]].concat()] {
            let confirmation = confirm_with_traps(&arena, &set, &before);
            assert!(confirmation.loss_after.unwrap() < confirmation.loss_before);
            assert!(confirmation.confirmed.iter().all(|uid| HONEST.contains(&uid.0)), "place {place}");
            assert!(confirmation.confirmed.len() >= 4, "place {place}: {:?}", confirmation.confirmed);
            assert!(confirmation.evaluations <= 9, "{} evaluations", confirmation.evaluations);
        }
    }
}

#[test]
fn two_good_halves_that_overshoot_together_are_taken_at_half_the_step() {
    let (arena, honest) = scene();
    // Each goes to the wall's foot by half of what would pass it: any half of them is good, all together are not.
    let near = |uid: &Uid| {
        let mut wanted = arena.honest_drift(*uid, 1.0);
        wanted[8192..].fill(-0.9 / arena.genesis.outer.alpha(arena.window));
        arena.payload_of(*uid, &wanted)
    };
    let members: Vec<Payload> = uids(HONEST).iter().map(near).collect();
    let set: Vec<&Payload> = members.iter().collect();
    let confirmation = confirm_with_traps(&arena, &set, &[]);
    assert_eq!(confirmation.confirmed.len(), honest.len(), "nobody is dropped");
}

#[test]
fn when_nobody_brings_anything_nothing_is_applied() {
    let arena = Arena::new();
    let entries: Vec<Entry> = (0..5).map(|uid| arena.entry(&arena.payload_of(Uid(uid), &noise(uid as u8)))).collect();
    let verdict = arena.judge(&entries);
    assert!(verdict.selected.len() <= 1, "{:?}", verdict.selected);
    let verdict = arena.judge(&[]);
    assert_eq!((verdict.selected, verdict.confirmation), (Vec::new(), None));
}

#[test]
fn bounds_hold_exactly_at_their_edge() {
    let arena = Arena::new();
    let payload = arena.payload_of(CHEAT, &arena.honest_drift(CHEAT, 1.0));
    let mut units = 0;
    payload.for_each_chunk(|chunk| units += chunk.scale.units() as u64 * chunk.kept() as u64);
    let check = |magnitude_history: u64| {
        let expected = Expectation {
            run: arena.run(),
            window: arena.window,
            uid: CHEAT,
            start_state: arena.metadata(CHEAT).start_state,
            numerics: "strict-2",
            open_numerics: &[],
            tokens_per_step: 32,
            batches_per_window: 4,
            inner_steps: 4,
            data_digest: Some(arena.data_digest(CHEAT)),
            magnitude_history,
        };
        check_payload(&payload, &expected)
    };
    assert_eq!(check(0), Ok(()), "no history, no bound");
    assert_eq!(check(units.div_ceil(16)), Ok(()));
    assert!(matches!(check(units.div_ceil(16) - 1), Err(Rejection::OutOfBounds { times: 16.. })));
}
