//! Nodes that come late.

use crate::network::{Plan, Role, World};
use templar_base::{Alpha, Window};
use templar_node::JournalEntry;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_miner_that_comes_late_catches_up_by_aggregates_and_is_paid() {
    let mut world = World::new(Plan::new("late", 2, 3)).await;
    world.run_through(Window(2)).await;
    world.add("miner-late", Role::Miner).await;
    world.start("miner-late").await;
    // Weights stay hidden for an epoch, and pay by them comes an epoch later.
    world.run_through(Window(8)).await;
    let outcomes = world.assert_all_equal();
    let story = world.story();
    let late = &world.nodes["miner-late"];
    assert_eq!(late.next, Window(9), "{story}");
    assert_eq!(late.applied().len(), 9, "it applies every window\n{story}");
    assert!(outcomes.values().any(|(selected, _)| selected.contains(&late.uid)), "it is not selected\n{story}");
    assert!(world.stake(&late.hotkey) > Alpha::ZERO, "it is not paid\n{story}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_after_the_aggregates_are_gone_begins_with_a_checkpoint() {
    // A late contribution is small beside its error: not every one is admitted, but one of eight is.
    const LAST: Window = Window(16);
    let genesis = |genesis: &mut templar_base::Genesis| {
        (genesis.budget.retention_windows, genesis.budget.checkpoint_windows) = (4, 2);
    };
    let mut world = World::new(Plan { genesis, ..Plan::new("checkpoint", 2, 3) }).await;
    world.run_through(Window(7)).await;
    world.add("miner-late", Role::Miner).await;
    world.add("validator-late", Role::Validator).await;
    world.start("miner-late").await;
    world.start("validator-late").await;
    world.run_through(LAST).await;
    let outcomes = world.assert_all_equal();
    let story = world.story();
    for name in ["miner-late", "validator-late"] {
        let node = &world.nodes[name];
        let restored = node.entries.iter().filter(|entry| matches!(entry, JournalEntry::Restored { .. })).count();
        assert_eq!((restored, node.next), (1, Window(LAST.0 + 1)), "{name}\n{story}");
    }
    world.assert_no_quorum_lost(&outcomes);
    let late = &world.nodes["miner-late"];
    assert!(outcomes.values().any(|(selected, _)| selected.contains(&late.uid)), "it is not selected\n{story}");
    // The new validator has the agreed ratings: its verdict is the others' to the bit.
    // The last windows may be agreed on before the one or the other is done.
    let mut compared = 0;
    for window in (0..=LAST.0).map(Window) {
        let (late, other) = (world.verdict("validator-late", window).await, world.verdict("validator-0", window).await);
        if let (Some(late), Some(other)) = (late, other) {
            assert_eq!(late, other, "{story}");
            compared += 1;
        }
    }
    assert!(compared > 0, "{story}");
}
