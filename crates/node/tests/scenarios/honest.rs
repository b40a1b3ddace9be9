//! Everybody does what the rules say.

use crate::network::{Plan, World};
use templar_base::{Alpha, Window};
use templar_node::JournalEntry;

const LAST: Window = Window(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_network_learns_together_and_everybody_is_paid() {
    let mut world = World::new(Plan::new("honest", 2, 3)).await;
    world.run_through(LAST).await;
    let story = world.story();
    assert_eq!(world.impatience, Vec::<String>::new(), "{story}");
    let outcomes = world.assert_all_equal();
    assert_eq!(outcomes.len() as u64, LAST.0 + 1, "{story}");
    let miners: Vec<_> = world.miners().into_iter().collect();
    for (window, (selected, _)) in &outcomes {
        assert!(selected.len() >= 2, "window {window} selects {selected:?}\n{story}");
    }
    for uid in &miners {
        let windows = outcomes.values().filter(|(selected, _)| selected.contains(uid)).count() as u64;
        assert!(windows >= LAST.0, "uid {uid} is selected in {windows} windows\n{story}");
    }
    let (first, last) = {
        let losses = world.nodes["validator-0"].held_out();
        (losses[&Window(0)], losses[&LAST])
    };
    assert!(last < first - 0.5, "held-out loss from {first} to {last}\n{story}");
    for (name, node) in &world.nodes {
        let is_miner = name.starts_with("miner");
        assert!(!is_miner || world.stake(&node.hotkey) > Alpha::ZERO, "{name} is not paid\n{story}");
        let sets_weights = node.entries.iter().any(|entry| matches!(entry, JournalEntry::Weights { .. }));
        assert_eq!(sets_weights, !is_miner, "{name}\n{story}");
        assert_eq!(node.skipped(), [], "{name}\n{story}");
    }
    // The public objects alone lead to the same parameters.
    world.observer.follow(&world.run, &mut world.nodes).await;
    assert_eq!(world.observer.state(), outcomes[&LAST].1);
}
