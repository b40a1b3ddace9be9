//! Buckets that are away for a while.

use crate::network::{Plan, World};
use templar_base::Window;
use templar_bucket::Bucket;
use templar_node::JournalEntry;

/// Says on the ledger that a node's bucket is this one.
fn point(world: &World, name: &str, bucket: &Bucket) {
    world.chain.announce(&world.nodes[name].hotkey, bucket);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn miners_whose_buckets_are_away_miss_those_windows_only() {
    const LAST: Window = Window(8);
    let mut world = World::new(Plan::new("away", 2, 3)).await;
    let miners = ["miner-0", "miner-1", "miner-2"];
    let empty = world.bucket("empty");
    let phases = world.run.phases.clone();
    world.run_through(Window(1)).await;
    // One bucket is away while windows 2 and 3 are gathered.
    point(&world, miners[0], &empty);
    world.run_to(phases.seal(Window(4))).await;
    point(&world, miners[0], &world.nodes[miners[0]].bucket);
    // All are away while window 5 is gathered.
    world.run_to(phases.seal(Window(5))).await;
    for miner in miners {
        point(&world, miner, &empty);
    }
    world.run_to(phases.seal(Window(6))).await;
    for miner in miners {
        point(&world, miner, &world.nodes[miner].bucket);
    }
    world.run_through(LAST).await;
    let outcomes = world.assert_all_equal();
    let story = world.story();
    assert_eq!(outcomes.len() as u64, LAST.0 + 1, "{story}");
    let first = world.nodes[miners[0]].uid;
    for (window, (selected, _)) in &outcomes {
        match window.0 {
            2 | 3 => assert!(!selected.is_empty() && !selected.contains(&first), "{window}: {selected:?}\n{story}"),
            5 => assert!(selected.is_empty(), "{window}: {selected:?}\n{story}"),
            _ => assert!(!selected.is_empty(), "{window}: {selected:?}\n{story}"),
        }
    }
    assert!(outcomes[&LAST].0.contains(&first), "who was away is not selected again\n{story}");
    for (name, node) in &world.nodes {
        assert_eq!(node.next, LAST.next(), "{name}\n{story}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn miners_build_the_aggregate_themselves_when_no_validator_serves_it() {
    const LAST: Window = Window(6);
    let mut world = World::new(Plan::new("bare", 2, 3)).await;
    let empty = world.bucket("empty");
    world.run_to(world.run.phases.start(Window(0))).await;
    for name in ["validator-0", "validator-1"] {
        point(&world, name, &empty);
    }
    world.run_through(Window(2)).await;
    for name in ["validator-0", "validator-1"] {
        point(&world, name, &world.nodes[name].bucket);
    }
    world.run_through(LAST).await;
    let outcomes = world.assert_all_equal();
    let story = world.story();
    world.assert_no_quorum_lost(&outcomes);
    for (name, node) in &world.nodes {
        assert_eq!(node.next, LAST.next(), "{name}\n{story}");
    }
    // Buckets that moved are found again after one failure.
    for (name, node) in world.nodes.iter().filter(|(name, _)| name.starts_with("miner")) {
        let warned = |window: u64| {
            let begin = format!("window {window}: object");
            let warning = |entry: &&JournalEntry| matches!(entry, JournalEntry::Warning { message } if message.starts_with(&begin));
            node.entries.iter().filter(warning).count()
        };
        assert!((0..3).map(warned).sum::<usize>() > 0, "{name}: the buckets were not away\n{story}");
        assert!((3..=LAST.0).map(warned).sum::<usize>() <= 1, "{name} still looks in the old buckets\n{story}");
    }
}
