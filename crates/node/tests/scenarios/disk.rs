//! Nodes whose disk is full or refuses for some time.

use crate::network::{Plan, World};
use std::time::Instant;
use templar_base::Window;

/// Bug: a node that could not write its state once never tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_refuses_says_so_and_goes_on_when_it_gives_way() {
    let mut world = World::new(Plan::new("disk", 4, 3)).await;
    world.run_through(Window(0)).await;
    let hindered_at = Instant::now();
    for name in ["miner-1", "validator-0"] {
        world.nodes.get_mut(name).unwrap().hinder();
    }
    world.run_through(Window(2)).await;
    for name in ["miner-1", "validator-0"] {
        let node = world.nodes.get_mut(name).unwrap();
        assert!(node.next <= Window(2), "{name} goes on without a disk");
        node.unhinder();
    }
    let last = world.run_until_caught_up(&["miner-1", "validator-0"]).await;
    let outcomes = world.assert_all_equal();
    let story = world.story();
    world.assert_no_quorum_lost(&outcomes);
    for (name, node) in &world.nodes {
        assert_eq!(node.next, last.next(), "{name} has not caught up\n{story}");
    }
    // It tries again every two seconds.
    let most = 2 + hindered_at.elapsed().as_secs() as usize / 2;
    for name in ["miner-1", "validator-0"] {
        let told = world.nodes[name].warnings().filter(|warning| warning.contains("cannot be applied")).count();
        assert!((1..=most).contains(&told), "{name} told {told} times that it cannot write\n{story}");
    }
}
