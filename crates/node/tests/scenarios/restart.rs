//! Nodes that end without a farewell at any moment, and start again from their folders.

use crate::network::{Plan, World};
use templar_base::random::Stream;
use templar_base::{BlockNumber, Window};

/// A node that is away: from this block of a window on, for so many blocks.
struct Outage {
    node: &'static str,
    window: u64,
    block: u64,
    blocks: u64,
}

const fn outage(node: &'static str, window: u64, block: u64, blocks: u64) -> Outage {
    Outage { node, window, block, blocks }
}

/// Lets the network run through `last` while nodes go and come back.
async fn run_with_outages(world: &mut World, outages: &[Outage], last: Window) {
    let end = world.run.phases.seal(last.next());
    let from = |world: &World, outage: &Outage| world.run.phases.start(Window(outage.window)).plus(outage.block);
    while world.head() < end {
        for outage in outages {
            let begin: BlockNumber = from(world, outage);
            if world.head() == begin {
                world.kill(outage.node).await;
            }
            if world.head() == begin.plus(outage.blocks) {
                world.start(outage.node).await;
            }
        }
        world.next_block().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_are_killed_at_any_moment_come_back_to_the_same_state() {
    const LAST: Window = Window(7);
    let mut world = World::new(Plan::new("restart", 3, 3)).await;
    // Windows have 26 blocks: votes until 9, outcomes from about 5 on, seals from 21 on.
    let outages = [
        outage("miner-0", 1, 0, 3),
        outage("validator-0", 1, 1, 2),
        outage("miner-1", 1, 12, 4),
        outage("validator-1", 2, 4, 3),
        outage("miner-2", 2, 20, 2),
        outage("validator-2", 3, 7, 16),
        outage("miner-0", 3, 22, 2),
        outage("miner-1", 4, 24, 3),
        outage("validator-0", 4, 10, 2),
        outage("miner-2", 5, 3, 8),
        outage("validator-1", 5, 25, 2),
        outage("miner-0", 5, 21, 9),
        outage("validator-2", 6, 5, 1),
        outage("miner-1", 6, 6, 1),
    ];
    run_with_outages(&mut world, &outages, LAST).await;
    let outcomes = world.assert_all_equal();
    let story = world.story();
    assert_eq!(outcomes.len() as u64, LAST.0 + 1, "{story}");
    world.assert_no_quorum_lost(&outcomes);
    for (name, node) in &world.nodes {
        assert_eq!(node.next, LAST.next(), "{name} has not caught up\n{story}");
    }
    assert!(outcomes[&LAST].0.len() >= 2, "who came back is not selected again\n{story}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_most_of_the_stake_one_window_is_lost_for_each_outage_and_the_run_goes_on() {
    const LAST: Window = Window(5);
    let mut world = World::new(Plan::new("quorum", 2, 3)).await;
    // Away while window 0, and then while window 2 is voted on.
    let outages = [outage("validator-1", 1, 0, 14), outage("validator-0", 3, 2, 16)];
    run_with_outages(&mut world, &outages, LAST).await;
    let outcomes = world.assert_all_equal();
    let story = world.story();
    let null: Vec<Window> =
        outcomes.iter().filter(|(_, (selected, _))| selected.is_empty()).map(|(window, _)| *window).collect();
    // Of two, the one with a little more stake decides alone; which one that is follows from what they earned.
    assert!(null.iter().all(|window| [Window(0), Window(2)].contains(window)), "{null:?}\n{story}");
    assert_eq!(outcomes.len() as u64, LAST.0 + 1, "{story}");
    // What was not merged is not lost: all miners are there again.
    assert!(outcomes[&LAST].0.len() >= 2, "{story}");
    for (name, node) in &world.nodes {
        assert_eq!(node.next, LAST.next(), "{name} has not caught up\n{story}");
    }
}

/// Twelve windows with an outage of one node after the other, at blocks that a seed draws.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outages_at_drawn_moments_never_split_the_network() {
    const NODES: [&str; 6] = ["miner-0", "miner-1", "miner-2", "validator-0", "validator-1", "validator-2"];
    const SEED: u8 = 11;
    const LAST: Window = Window(12);
    let mut stream = Stream::new([SEED; 32], "outages", 0);
    let mut outages = Vec::new();
    // One node at a time: two of three validators are always there.
    let (mut at, blocks_per_window) = (26u64, 26u64);
    while at < blocks_per_window * LAST.0 {
        let (node, blocks) = (NODES[stream.below(6) as usize], 1 + stream.below(12));
        outages.push(outage(node, at / blocks_per_window, at % blocks_per_window, blocks));
        at += blocks + 2 + stream.below(12);
    }
    let mut world = World::new(Plan::new("drawn", 3, 3)).await;
    run_with_outages(&mut world, &outages, LAST).await;
    let outcomes = world.assert_all_equal();
    let story = world.story();
    assert_eq!(outcomes.len() as u64, LAST.0 + 1, "seed {SEED}\n{story}");
    world.assert_no_quorum_lost(&outcomes);
    for (name, node) in &world.nodes {
        assert_eq!(node.next, LAST.next(), "{name} has not caught up; seed {SEED}\n{story}");
    }
}
