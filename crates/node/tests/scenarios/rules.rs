//! Networks under the other rules that a genesis can name.

use crate::network::{Plan, Role, World};
use templar_base::{Genesis, MergeMethod, Window};
use templar_node::JournalEntry;

/// Runs a network of two validators and three miners, and checks that it stays in step and learns this much.
async fn learns(name: &'static str, genesis: fn(&mut Genesis), last: Window, nats: f64) -> World {
    let mut world = World::new(Plan { genesis, ..Plan::new(name, 2, 3) }).await;
    world.run_through(last).await;
    let outcomes = world.assert_all_equal();
    let story = world.story();
    let merged = outcomes.values().filter(|(selected, _)| selected.len() >= 2).count() as u64;
    assert!(merged >= last.0, "{name}: {merged} windows merge something\n{story}");
    let losses = world.nodes["validator-0"].held_out();
    let (first, reached) = (losses[&Window(0)], losses[&last]);
    assert!(reached < first - nats, "{name}: held-out loss from {first} to {reached}\n{story}");
    world.observer.follow(&world.run, &mut world.nodes).await;
    assert_eq!(world.observer.state(), outcomes[&last].1, "the public objects alone lead there\n{story}");
    world
}

fn with_outer(genesis: &mut Genesis, change: fn(templar_base::OuterRule) -> templar_base::OuterRule) {
    genesis.outer = change(genesis.outer.clone());
    genesis.check().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_diloco_all_keep_one_momentum_those_who_restart_and_those_who_come_late() {
    let genesis = |genesis: &mut Genesis| {
        with_outer(genesis, |outer| outer.into_diloco());
        (genesis.budget.retention_windows, genesis.budget.checkpoint_windows) = (4, 2);
    };
    let mut world = learns("diloco", genesis, Window(4), 0.3).await;
    for name in ["validator-1", "miner-1"] {
        world.kill(name).await;
    }
    // Without a second validator there is no quorum: a null window, after which everybody's momentum begins anew.
    world.run_through(Window(5)).await;
    for name in ["validator-1", "miner-1"] {
        world.start(name).await;
    }
    world.run_through(Window(8)).await;
    for (name, role) in [("miner-late", Role::Miner), ("validator-late", Role::Validator)] {
        world.add(name, role).await;
        world.start(name).await;
    }
    world.run_through(Window(11)).await;
    let outcomes = world.assert_all_equal();
    let story = world.story();
    assert!(outcomes.values().any(|(selected, _)| selected.is_empty()), "no window was null\n{story}");
    for name in ["miner-late", "validator-late"] {
        let node = &world.nodes[name];
        let restored = node.entries.iter().filter(|entry| matches!(entry, JournalEntry::Restored { .. })).count();
        assert_eq!((restored, node.next), (1, Window(12)), "{name}\n{story}");
    }
    world.observer.follow(&world.run, &mut world.nodes).await;
    assert_eq!(world.observer.state(), outcomes[&Window(11)].1, "the public objects alone lead there\n{story}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_demos_rule_a_network_learns() {
    let genesis = |genesis: &mut Genesis| with_outer(genesis, |outer| outer.into_demo(4e-3));
    learns("demo", genesis, Window(4), 0.3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_every_merge_a_network_learns() {
    let clipping = |g: &mut Genesis| {
        g.outer.merge = MergeMethod::CentredClipping { radius_percent: 100, iterations: 2 };
    };
    learns("mean-of-all", |g| g.outer.merge = MergeMethod::MeanOfAll, Window(2), 0.05).await;
    learns("clipping", clipping, Window(2), 0.05).await;
    // Of three sparse payloads the middle value of most coordinates is nothing.
    learns("trimmed", |g| g.outer.merge = MergeMethod::TrimmedMean { trimmed: 1 }, Window(2), 0.02).await;
    learns("krum", |g| g.outer.merge = MergeMethod::Krum { faulty: 0, chosen: 2 }, Window(2), 0.05).await;
    learns("sign-vote", |g| g.outer.merge = MergeMethod::SignVote, Window(2), 0.05).await;
}
