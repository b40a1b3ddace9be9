//! Many windows: ratings, places, weights, ramps, penalties, and uids that change hands.

mod arena;

use arena::{Arena, genesis, hotkey, standing};
use std::collections::BTreeSet;
use templar_base::{AgreedFindings, AuditLots, Mark, OwnText, Probe, PublicKey, Uid, Window};
use templar_gauntlet::{
    Entry, MinerRecord, Rating, Ratings, Rejection, Settlement, Standing, Submission, Verdict, weights,
};
use templar_gradient::Payload;

/// One window in which these miners do their work with an effort each.
fn window_of(arena: &mut Arena, efforts: &[(u16, f32)]) -> Verdict {
    let entries: Vec<Entry> = efforts
        .iter()
        .map(|(uid, effort)| {
            let payload = arena.honest(Uid(*uid), *effort);
            arena.entry(&payload)
        })
        .collect();
    let verdict = arena.judge(&entries);
    arena.advance(&entries, &verdict);
    verdict
}

fn payload_of(entry: &Entry) -> &Payload {
    match &entry.submission {
        Submission::Payload { payload, .. } => payload,
        Submission::Rejected(failure) => panic!("rejected: {failure}"),
    }
}

#[test]
fn whose_fraud_is_proven_is_never_paid_or_judged_again() {
    let mut arena = Arena::new();
    let entries = arena.honest_entries(0..6);
    let verdict = arena.judge(&entries);
    let mut findings = verdict.findings.clone();
    findings.mark_fraud(&[Uid(2), Uid(9)]);
    let settlement = Settlement { rule: &arena.genesis.judging, window: arena.window, registered: &arena.registered };
    let mut ratings = arena.ratings.clone();
    ratings.fold(&AgreedFindings::of_one(&findings), settlement);
    assert!(ratings.miners[&Uid(2)].is_void && ratings.miners[&Uid(9)].is_void);
    assert!(!ratings.miners[&Uid(2)].is_paid && !ratings.miners[&Uid(1)].is_void);
    arena.ratings = ratings;
    let verdict = arena.judge(&entries);
    assert_eq!(standing(&verdict, 2), &Standing::Rejected(Rejection::Void));
}

/// Folds the findings of a window of these miners, with those of `silent` marked, into the arena's ratings.
fn fold_with_silent(arena: &mut Arena, silent: &[(u16, bool)], probes: &[(u16, f64)]) {
    let entries = arena.honest_entries(0..6);
    let verdict = arena.judge(&entries);
    let mut findings = verdict.findings.clone();
    findings.mark_silent(&silent.iter().map(|(uid, is_third)| (Uid(*uid), *is_third)).collect());
    let probe = |(uid, own_text): &(u16, f64)| Probe { uid: Uid(*uid), own_text: OwnText::new(*own_text) };
    findings.probes = probes.iter().map(probe).collect();
    let settlement = Settlement { rule: &arena.genesis.judging, window: arena.window, registered: &arena.registered };
    let mut ratings = arena.ratings.clone();
    ratings.fold(&AgreedFindings::of_one(&findings), settlement);
    arena.advance(&entries, &Verdict { ratings, ..verdict });
}

#[test]
fn who_does_not_answer_an_audit_is_unpaid_and_drawn_for_certain_until_it_does_and_loses_its_ramp_the_third_time() {
    let mut arena = Arena::new();
    for _ in 0..3 {
        fold_with_silent(&mut arena, &[], &[]);
    }
    let before = arena.ratings.miners[&Uid(2)].clone();
    assert!(before.is_paid && before.ramp_since == Window(0));
    fold_with_silent(&mut arena, &[(2, false), (9, false)], &[]);
    let silent = &arena.ratings.miners[&Uid(2)];
    assert!(silent.owes_answer && !silent.is_paid && silent.ramp_since == Window(0));
    assert_eq!(silent.rating.mean, before.rating.mean, "nothing is said of its work");
    let lots = [1, 2, 9].map(|uid| arena.ratings.audit_lots(Uid(uid)));
    assert_eq!(lots, [AuditLots::Usual, AuditLots::Certain, AuditLots::Certain]);
    // Whoever is not mentioned owes it still; whoever is judged again has answered.
    fold_with_silent(&mut arena, &[(2, true)], &[]);
    let third = &arena.ratings.miners[&Uid(2)];
    assert!(third.owes_answer && third.ramp_since == Window(4) && third.since == Window(0));
    fold_with_silent(&mut arena, &[], &[]);
    assert_eq!([2, 9].map(|uid| arena.ratings.audit_lots(Uid(uid))), [AuditLots::Usual, AuditLots::Certain]);
}

#[test]
fn a_judge_that_knows_of_an_unanswered_audit_leaves_the_payload_out_and_says_so() {
    let mut arena = Arena::new();
    let mut entries = arena.honest_entries(0..6);
    entries[2].submission = Submission::Rejected(Rejection::Unanswered);
    let verdict = arena.judge(&entries);
    let marked = verdict.findings.miners.iter().find(|finding| finding.uid == Uid(2));
    assert_eq!(marked.map(|finding| finding.mark), Some(Mark::Silent));
    assert!(!verdict.selected.contains(&Uid(2)) && verdict.ratings.miners[&Uid(2)].owes_answer);
}

#[test]
fn probes_add_up_within_bounds_and_double_the_lots_of_audits_and_nothing_else() {
    let mut arena = Arena::new();
    for _ in 0..11 {
        fold_with_silent(&mut arena, &[], &[(1, 0.6), (2, -0.3)]);
    }
    let record = |arena: &Arena, uid: u16| arena.ratings.miners[&Uid(uid)].clone();
    assert_eq!((record(&arena, 1).own_text.to_f64(), record(&arena, 3).own_text.is_none()), (1.0, true));
    assert!(record(&arena, 2).own_text.is_doubted() && record(&arena, 2).is_paid);
    let lots = [1, 2, 3].map(|uid| arena.ratings.audit_lots(Uid(uid)));
    assert_eq!(lots, [AuditLots::Usual, AuditLots::Doubled, AuditLots::Usual]);
    // A miner that trains again gets out: it fell no further than −8.
    for _ in 0..99 {
        arena.ratings.fold(
            &AgreedFindings { probes: [(Uid(2), OwnText::new(-8.0))].into(), ..AgreedFindings::default() },
            Settlement { rule: &genesis().judging, window: arena.window, registered: &arena.registered },
        );
    }
    assert_eq!(record(&arena, 2).own_text.to_f64(), -8.0);
}

#[test]
fn the_model_learns_and_who_contributes_more_is_rated_and_paid_more() {
    let mut arena = Arena::new();
    let efforts = [(0, 0.7), (1, 0.8), (2, 0.9), (3, 1.0), (4, 1.1), (5, 1.2), (6, 1.6)];
    let mut losses = Vec::new();
    for _ in 0..20 {
        let verdict = window_of(&mut arena, &efforts);
        losses.push(verdict.confirmation.unwrap().loss_before);
    }
    assert!(losses[19] < 0.9 * losses[0], "{losses:?}");
    let weights = arena.weights(&arena.ratings);
    assert!(weights[&Uid(6)] > weights[&Uid(3)] && weights[&Uid(3)] > weights[&Uid(0)], "{weights:?}");
    assert_eq!(weights[&Uid(6)], u16::MAX);
    let value = |uid: u16| arena.ratings.miners[&Uid(uid)].rating.value();
    assert!(value(6) > value(3) && value(3) > value(0));
}

#[test]
fn the_best_ratings_and_some_newcomers_have_the_places() {
    let mut arena = Arena::new();
    let veterans: Vec<(u16, f32)> = (0..18).map(|uid| (uid, 1.0 + 0.05 * f32::from(uid))).collect();
    for window in 0..6 {
        let verdict = window_of(&mut arena, &veterans);
        assert_eq!(
            verdict.selected.len(),
            if window == 0 { 8 } else { 15 },
            "half of the places while nobody is rated"
        );
    }
    let (mut newcomers_seen, mut newcomers_left_out) = (BTreeSet::new(), 0);
    for _ in 0..4 {
        // Nothing waits in a newcomer's error feedback yet, so it must work harder to send as much.
        let all: Vec<(u16, f32)> = veterans.iter().copied().chain((20..25).map(|uid| (uid, 2.0))).collect();
        let before = arena.ratings.clone();
        let verdict = window_of(&mut arena, &all);
        assert_eq!(verdict.selected.len(), 15);
        let mut admitted: Vec<Uid> = verdict
            .miners
            .iter()
            .filter(|miner| matches!(miner.standing, Standing::Admitted | Standing::Selected))
            .map(|miner| miner.uid)
            .collect();
        let value = |uid: &Uid| before.miners.get(uid).map_or(f64::NEG_INFINITY, |record| record.rating.value());
        admitted.sort_by(|a, b| value(b).total_cmp(&value(a)).then(a.cmp(b)));
        assert_eq!(verdict.selected[..13], admitted[..13], "the best 13 have places, best first");
        let is_new = |uid: &&Uid| uid.0 >= 20;
        let waiting = admitted[13..].iter().filter(is_new).count();
        let lucky: Vec<Uid> = verdict.selected[13..].iter().filter(is_new).copied().collect();
        assert_eq!(lucky.len(), waiting.min(2), "two places go to newcomers");
        newcomers_left_out += waiting - lucky.len();
        newcomers_seen.extend(lucky);
    }
    assert!(newcomers_seen.len() > 2, "the lot falls on others in other windows: {newcomers_seen:?}");
    assert!(newcomers_left_out > 0, "there were more newcomers than places");
    let verdict = window_of(&mut arena, &veterans);
    let left_out = veterans.iter().find(|(uid, _)| !verdict.selected.contains(&Uid(*uid))).unwrap().0;
    assert_eq!(standing(&verdict, left_out), &Standing::Admitted);
    assert!(arena.weights(&verdict.ratings).contains_key(&Uid(left_out)), "whoever is admitted is paid by its rating");
}

#[test]
fn an_absence_costs_the_window_s_pay_and_rating_little_by_little() {
    let mut arena = Arena::new();
    let all: Vec<(u16, f32)> = (0..6).map(|uid| (uid, 1.0)).collect();
    for _ in 0..6 {
        window_of(&mut arena, &all);
    }
    let mut last = arena.ratings.miners[&Uid(5)].clone();
    for _ in 0..4 {
        window_of(&mut arena, &all[..5]);
        let record = arena.ratings.miners[&Uid(5)].clone();
        assert!(record.rating.value() < last.rating.value());
        assert_eq!(record.rating.mean, last.rating.mean);
        assert!(!record.is_paid);
        assert_eq!(record.ramp_since, last.ramp_since, "who is away keeps its ramp");
        last = record;
    }
    let verdict = window_of(&mut arena, &all);
    assert_eq!(standing(&verdict, 5), &Standing::Selected);
    assert!(arena.ratings.miners[&Uid(5)].is_paid);
}

#[test]
fn harm_resets_rating_and_ramp_and_mistakes_and_copies_are_only_unpaid() {
    let mut arena = Arena::new();
    let all: Vec<(u16, f32)> = (0..8).map(|uid| (uid, 1.0)).collect();
    for _ in 0..4 {
        window_of(&mut arena, &all);
    }
    let before = arena.ratings.clone();
    let mut entries = arena.honest_entries(0..5);
    let flipped: Vec<f32> = arena.honest_drift(Uid(5), 1.0).iter().map(|value| -value).collect();
    entries.push(arena.entry(&arena.payload_of(Uid(5), &flipped)));
    let copy = payload_of(&entries[0]).clone().with_metadata(arena.metadata(Uid(6))).unwrap();
    entries.push(arena.entry(&copy));
    let late = arena.entry(&copy);
    entries.push(Entry {
        uid: Uid(7),
        hotkey: hotkey(Uid(7)),
        submission: Submission::Rejected(Rejection::Missing),
        ..late
    });
    // Good for half a step and bad for the whole.
    let mut trap = arena.honest_drift(Uid(8), 1.0);
    trap[8192..].fill(-1.9 / arena.genesis.outer.alpha(arena.window));
    entries.push(arena.entry(&arena.payload_of(Uid(8), &trap)));
    let verdict = arena.judge(&entries);
    assert_eq!(standing(&verdict, 5), &Standing::NotAdmitted, "it was never merged");
    assert!(matches!(standing(&verdict, 6), Standing::Rejected(Rejection::Copy { of: Uid(0), .. })));
    assert_eq!(standing(&verdict, 8), &Standing::Harmful);
    let after = &verdict.ratings.miners;
    assert_eq!((after[&Uid(8)].ramp_since, after[&Uid(8)].rating), (arena.window, Rating::newcomer()));
    assert!(after[&Uid(5)].rating.mean < 0.0 && !after[&Uid(5)].is_proven);
    for uid in [5, 6, 7] {
        assert_eq!(after[&Uid(uid)].ramp_since, before.miners[&Uid(uid)].ramp_since, "uid {uid}");
    }
    for uid in [6, 7] {
        assert_eq!(after[&Uid(uid)].rating.mean, before.miners[&Uid(uid)].rating.mean, "uid {uid}");
    }
    let paid: Vec<Uid> = arena.weights(&verdict.ratings).into_keys().collect();
    assert_eq!(paid, (0..5).map(Uid).collect::<Vec<_>>());
}

#[test]
fn a_uid_that_changes_hands_starts_anew() {
    let mut arena = Arena::new();
    let all: Vec<(u16, f32)> = (0..6).map(|uid| (uid, 1.0)).collect();
    for _ in 0..5 {
        window_of(&mut arena, &all);
    }
    let owner = PublicKey::new([99; 32]);
    arena.registered.insert(Uid(3), owner);
    arena.registered.remove(&Uid(4));
    let entries = arena.honest_entries(0..4);
    let verdict = arena.judge(&entries);
    let record = &verdict.ratings.miners[&Uid(3)];
    assert_eq!((record.hotkey, record.since, record.ramp_since), (owner, arena.window, arena.window));
    let mut first = Rating::newcomer();
    first.predict(0.0);
    assert!(record.rating.variance < first.variance && record.rating.mean != arena.ratings.miners[&Uid(3)].rating.mean);
    assert!(!verdict.ratings.miners.contains_key(&Uid(4)), "who left is forgotten");
}

#[test]
fn all_the_free_riders_of_twenty_windows_earn_nothing() {
    let mut arena = Arena::new();
    for turn in 0..20u8 {
        let mut entries = arena.honest_entries(0..6);
        let copy = payload_of(&entries[1]).clone().with_metadata(arena.metadata(Uid(10))).unwrap();
        entries.push(arena.entry(&copy));
        entries.push(arena.entry(&arena.payload_of(Uid(11), &[0.0; arena::PARAMETERS])));
        let flat: Vec<f32> =
            (0..arena::PARAMETERS).map(|j| if (j + usize::from(turn)) % 3 == 0 { 0.3 } else { -0.3 }).collect();
        entries.push(arena.entry(&arena.payload_of(Uid(12), &flat)));
        let verdict = arena.judge(&entries);
        // While nobody is rated, whatever surely helps is merged, by chance too.
        if turn > 0 {
            assert_eq!(verdict.selected.iter().copied().collect::<BTreeSet<_>>(), (0..6).map(Uid).collect(), "{turn}");
        }
        arena.advance(&entries, &verdict);
    }
    let weights = arena.weights(&arena.ratings);
    assert_eq!(weights.keys().copied().collect::<Vec<_>>(), (0..6).map(Uid).collect::<Vec<_>>());
}

/// Late in a training the error of one window is as large as what a miner brings.
fn late(miners: u16, text_noise: f32) -> Arena {
    let mut arena = Arena::new();
    let all: Vec<(u16, f32)> = (0..miners).map(|uid| (uid, 1.0)).collect();
    for _ in 0..8 {
        window_of(&mut arena, &all);
    }
    arena.text_noise = text_noise;
    arena
}

#[test]
fn where_a_window_says_little_rated_miners_are_merged_and_the_model_goes_on_learning() {
    let mut arena = late(6, 30.0);
    let truth = |arena: &Arena| {
        let mut quiet = Arena::new();
        quiet.text_noise = 0.0;
        quiet.model().loss_at(&arena.start.params)
    };
    let before = truth(&arena);
    let (mut null, mut unsure) = (0, 0);
    for _ in 0..24 {
        let entries = arena.honest_entries(0..6);
        let verdict = arena.judge(&entries);
        null += usize::from(verdict.selected.is_empty());
        let doubtful = |miner: &&templar_gauntlet::MinerVerdict| miner.contribution.as_ref().unwrap().sure().0 <= 0;
        unsure += verdict.miners.iter().filter(doubtful).count();
        assert!(
            verdict.miners.iter().all(|miner| miner.standing != Standing::Harmful),
            "an honest miner is sanctioned"
        );
        arena.advance(&entries, &verdict);
    }
    assert!(unsure > 24 * 6 / 3, "{unsure} contributions were unsure: the test asks too little");
    assert!(null <= 1, "{null} of 24 windows were null");
    assert!(truth(&arena) < 0.97 * before, "{before} to {}", truth(&arena));
}

#[test]
fn a_late_miner_becomes_rated_by_what_several_windows_say_together() {
    let mut arena = late(5, 6.0);
    let windows = (1..24).find(|_| {
        let entries = arena.honest_entries(0..6);
        let verdict = arena.judge(&entries);
        arena.advance(&entries, &verdict);
        verdict.selected.contains(&Uid(5))
    });
    assert!(windows.is_some_and(|windows| windows <= 16), "merged after {windows:?} windows");
}

#[test]
fn nobody_is_paid_less_for_a_null_window() {
    let mut arena = late(4, 6.0);
    let before = arena.weights(&arena.ratings);
    let verdict = arena.judge(&[]);
    arena.advance(&[], &verdict);
    assert_eq!(arena.weights(&arena.ratings), before);
}

fn record(uid: u16, mean: f64, is_paid: bool, ramp_since: u64) -> (Uid, MinerRecord) {
    let record = MinerRecord {
        rating: Rating { mean, variance: 0.01 },
        is_paid,
        ramp_since: Window(ramp_since),
        ..MinerRecord::new(hotkey(Uid(uid)), Window(0))
    };
    (Uid(uid), record)
}

fn shares(records: impl IntoIterator<Item = (Uid, MinerRecord)>, window: u64) -> Vec<(u16, f64)> {
    let ratings = Ratings { miners: records.into_iter().collect(), ..Ratings::default() };
    let weights = weights(&ratings, &Arena::new().genesis.economics, Window(window));
    let total: f64 = weights.iter().map(|(_, weight)| f64::from(*weight)).sum();
    weights.into_iter().map(|(uid, weight)| (uid.0, f64::from(weight) / total)).collect()
}

fn assert_shares(actual: &[(u16, f64)], expected: &[(u16, f64)]) {
    assert_eq!(actual.len(), expected.len(), "{actual:?}");
    for ((uid, share), (other, wanted)) in actual.iter().zip(expected) {
        assert!(uid == other && (share - wanted).abs() < 1e-4, "{actual:?} where {expected:?} is due");
    }
}

#[test]
fn weights_are_what_a_miner_surely_brings_by_one_deviation() {
    let two = [record(1, 0.7, true, 0), record(2, 0.3, true, 0)];
    assert_shares(&shares(two.clone(), 100), &[(1, 0.75), (2, 0.25)]);
    let with_unpaid = two.into_iter().chain([record(3, 5.0, false, 0), record(4, 0.1, true, 0)]);
    assert_shares(&shares(with_unpaid, 100), &[(1, 0.75), (2, 0.25)]);
    assert_eq!(shares([record(1, 0.1, true, 0)], 100), []);
    assert_eq!(shares([], 100), []);
}

#[test]
fn weights_rise_over_the_ramp_in_equal_steps() {
    // The ramp takes 24 windows; the veteran's weight is the measure.
    let ratio = |window: u64| {
        let shares = shares([record(1, 1.0, true, 0), record(2, 1.0, true, 100)], window);
        shares[1].1 / shares[0].1
    };
    for window in 100..124 {
        let expected = (window - 99) as f64 / 24.0;
        assert!((ratio(window) - expected).abs() < 1e-3, "window {window}: {}", ratio(window));
    }
    assert!((ratio(130) - 1.0).abs() < 1e-4);
}
