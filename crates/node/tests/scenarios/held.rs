//! Miners whose buckets serve some validators only, in a run that agrees first on which payloads are held.

use crate::network::{Act, Plan, World};
use templar_base::{Genesis, Uid, Window};
use templar_gauntlet::Rejection;
use templar_record::KnownCandidates;

const LAST: Window = Window(4);

fn holding(genesis: &mut Genesis) {
    genesis.budget.hold_blocks = Some(6);
}

/// Whether a payload was a candidate, as somebody sees who has nothing but the public record.
async fn is_candidate(world: &World, window: Window, uid: Uid) -> bool {
    let record = world.public_record();
    record.learn_electors(&world.run, window).await.unwrap();
    let electors = record.electors(&world.run, window).await.unwrap();
    let known = record.candidates(&world.run, window, &electors).await.unwrap();
    let KnownCandidates::Stand(candidates) = known else { panic!("window {window}: {known:?}") };
    let explained = record.explain(&world.run, window, uid, true).await.unwrap();
    assert_eq!(explained.held.unwrap().is_candidate(), candidates.contains(uid), "window {window}");
    assert_eq!(explained.recomputed.unwrap().agrees(), Some(true), "window {window}");
    candidates.contains(uid)
}

/// Three equal validators. One miner serves two of them, so that the third judges it through a mirror and finds the same; another
/// serves one, and is nobody's candidate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_serves_some_validators_only_is_judged_by_all_or_by_none() {
    let plan = Plan {
        adversaries: vec![Act::Honest, Act::Brief],
        hides: vec![(0, "validator-2"), (1, "validator-0"), (1, "validator-1")],
        genesis: holding,
        ..Plan::new("held", 3, 3)
    };
    let mut world = World::new(plan).await;
    world.run_through(LAST).await;
    let outcomes = world.assert_all_equal();
    let story = world.story();
    assert_eq!(world.impatience, Vec::<String>::new(), "{story}");
    assert_eq!(outcomes.len() as u64, LAST.0 + 1, "{story}");
    world.assert_no_quorum_lost(&outcomes);
    let [most, few] = [0, 1].map(|number: usize| world.adversaries[number].uid);
    let mut judged = 0;
    for window in (0..=LAST.0).map(Window) {
        assert!(is_candidate(&world, window, most).await, "window {window}\n{story}");
        assert!(!is_candidate(&world, window, few).await, "window {window}\n{story}");
        // All say one thing of what they judge, and the third has judged it.
        let standing = world.standing(window, most).await.unwrap();
        assert!(standing.is_accepted(), "window {window}: {standing:?}\n{story}");
        judged += usize::from(world.verdict("validator-2", window).await.is_some());
        // The one that had the other payload says why it is not judged.
        if let Some(verdict) = world.verdict("validator-2", window).await {
            let standing = &verdict.miner(few).unwrap().standing;
            assert_eq!(*standing, templar_gauntlet::Standing::Rejected(Rejection::NotHeld), "window {window}\n{story}");
        }
        assert!(outcomes.values().all(|(selected, _)| !selected.contains(&few)), "{story}");
    }
    assert!(judged > 2, "the third validator judged {judged} windows\n{story}");
    for (name, node) in &world.nodes {
        assert_eq!(node.next, LAST.next(), "{name}\n{story}");
    }
}

/// Honest nodes, one of which is killed and comes back: what it stated before counts, and it judges again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_that_comes_back_goes_on_where_the_run_agrees_on_what_is_held() {
    let plan = Plan { genesis: holding, ..Plan::new("held-back", 3, 3) };
    let mut world = World::new(plan).await;
    world.run_through(Window(0)).await;
    // After its statement and before its vote.
    world.run_to(world.run.phases.hold(Window(1)).unwrap()).await;
    world.kill("validator-1").await;
    world.run_through(Window(2)).await;
    world.start("validator-1").await;
    world.run_until_caught_up(&["validator-1"]).await;
    let last = world.run_until_caught_up(&["validator-1"]).await;
    let outcomes = world.assert_all_equal();
    let story = world.story();
    world.assert_no_quorum_lost(&outcomes);
    assert!(world.verdict("validator-1", last).await.is_some(), "window {last}\n{story}");
}
