//! Cheats beside honest miners.

use crate::network::{Act, Plan, World};
use templar_base::{Alpha, Window};
use templar_gauntlet::{Rejection, Standing};

const LAST: Window = Window(4);

/// What a validator must say of an act in a window.
fn is_right(act: Act, window: Window, standing: Option<&Standing>) -> bool {
    let first = window == Window(0);
    let Some(standing) = standing else { return act == Act::Late };
    let unopened = |part: &str| match standing {
        Standing::Rejected(Rejection::Unopened { reason }) => reason.contains(part),
        _ => false,
    };
    let refused = |failure: Rejection| *standing == Standing::Rejected(failure);
    match act {
        Act::Honest | Act::Brief | Act::OtherText => {
            matches!(standing, Standing::Selected | Standing::Admitted | Standing::NotAdmitted)
        }
        Act::Noise | Act::SignFlip => matches!(standing, Standing::NotAdmitted | Standing::Harmful),
        Act::Zeros => refused(Rejection::Empty),
        Act::Garbage => matches!(standing, Standing::Rejected(Rejection::Undecodable { .. })),
        Act::Oversize => unopened("over the limit"),
        Act::Mismatch => unopened("not the one with the agreed hash"),
        Act::NoReveal => refused(Rejection::Missing),
        Act::WrongKey | Act::Thief => unopened("the key does not open"),
        Act::ForeignSignature => unopened("signature is not the miner's"),
        Act::Late => false,
        Act::BadCommitment => refused(Rejection::Commitment),
        Act::Stale => first || refused(Rejection::WrongWindow { actual: Window(0) }),
        Act::Relabelled => first || refused(Rejection::WrongData),
        Act::OtherUid => matches!(standing, Standing::Rejected(Rejection::WrongUid { .. })),
        // Where one payload is louder than the others, the largest are its values.
        Act::LastMerged => {
            first || matches!(standing, Standing::Rejected(Rejection::Merged { .. } | Rejection::Repeat { .. }))
        }
        Act::Twin => matches!(standing, Standing::Rejected(Rejection::Copy { .. })),
        Act::WrongData => refused(Rejection::WrongData),
        Act::WrongStart => refused(Rejection::WrongStart),
        Act::WrongRun => refused(Rejection::WrongRun),
        Act::MoreTokens => refused(Rejection::WrongSteps),
        Act::Huge => match standing {
            Standing::Rejected(failure) => matches!(failure, Rejection::OutOfBounds { .. }),
            // Without a history the merge alone bounds it: it counts four times the median and points the right way.
            _ => first,
        },
    }
}

/// Runs a network with these adversaries and checks what becomes of them.
async fn check(name: &'static str, acts: &[Act]) {
    let plan = Plan { adversaries: acts.to_vec(), ..Plan::new(name, 2, 3) };
    let mut world = World::new(plan).await;
    world.run_through(LAST).await;
    let story = world.story();
    assert_eq!(world.impatience, Vec::<String>::new(), "{story}");
    let outcomes = world.assert_all_equal();
    assert_eq!(outcomes.len() as u64, LAST.0 + 1, "{story}");
    for adversary in &world.adversaries {
        for (window, (selected, _)) in &outcomes {
            let standing = world.standing(*window, adversary.uid).await;
            assert!(
                is_right(adversary.act, *window, standing.as_ref()),
                "{:?} (uid {}) in window {window}: {standing:?}\n{story}",
                adversary.act,
                adversary.uid
            );
            // In the first window there is nothing yet that could be old.
            let may = adversary.act == Act::Honest
                || (*window == Window(0)
                    && matches!(adversary.act, Act::Stale | Act::Relabelled | Act::Huge | Act::LastMerged));
            assert!(may || !selected.contains(&adversary.uid), "{:?} in window {window}\n{story}", adversary.act);
        }
        let may_earn =
            matches!(adversary.act, Act::Honest | Act::Stale | Act::Relabelled | Act::Huge | Act::LastMerged);
        assert!(may_earn || world.stake(&adversary.hotkey) == Alpha::ZERO, "{:?} is paid\n{story}", adversary.act);
        assert!(
            adversary.act != Act::Honest || world.stake(&adversary.hotkey) > Alpha::ZERO,
            "the honest one is not\n{story}"
        );
    }
    for uid in world.miners() {
        let windows = outcomes.values().filter(|(selected, _)| selected.contains(&uid)).count() as u64;
        assert!(windows >= LAST.0, "honest uid {uid} is selected in {windows} windows only\n{story}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_its_commitment_is_refused_by_name() {
    use Act::*;
    check("sealing", &[Honest, Garbage, Oversize, Mismatch, NoReveal, WrongKey, ForeignSignature, Late, BadCommitment])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_ones_own_honest_work_is_refused_by_name() {
    use Act::*;
    check("claims", &[Honest, Stale, Relabelled, Thief, OtherUid, Twin, WrongData, WrongStart, WrongRun, MoreTokens])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_help_the_model_is_not_merged() {
    check("harm", &[Act::Noise, Act::Zeros, Act::SignFlip, Act::Huge]).await;
}

/// Hole S5: the last aggregate's largest values passed for a payload.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_merged_before_is_refused_by_name() {
    check("merged", &[Act::Honest, Act::LastMerged]).await;
}

/// Bug: validators took the many missing payloads for an outage of their own, and no window was ever voted on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_empty_promises_than_miners_do_not_stop_the_run() {
    let plan = Plan { adversaries: vec![Act::NoReveal; 5], ..Plan::new("promises", 2, 3) };
    let mut world = World::new(plan).await;
    world.adversaries_from = Window(2);
    world.run_through(LAST).await;
    let outcomes = world.assert_all_equal();
    let story = world.story();
    for (window, (selected, _)) in &outcomes {
        assert!(!selected.is_empty(), "window {window} is null\n{story}");
    }
    for adversary in &world.adversaries {
        assert_eq!(world.standing(LAST, adversary.uid).await, { Some(Standing::Rejected(Rejection::Missing)) });
        assert_eq!(world.stake(&adversary.hotkey), Alpha::ZERO);
    }
}
