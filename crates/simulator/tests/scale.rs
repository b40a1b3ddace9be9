//! Thousands of nodes take seconds, and what a node moves does not grow with them.

use templar_simulator::{Scenario, scale};

#[test]
fn four_thousand_nodes_are_in_step() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/honest.toml");
    let mut scenario = Scenario::read(path.as_ref()).unwrap();
    (scenario.windows, scenario.clock.window_blocks, scenario.rules.pool) = (2, 100, Some(32));
    let followers = scenario.groups[1].clone();
    scenario.groups[1].count = 1_000;
    scenario.groups.push(templar_simulator::Group {
        name: "followers".to_owned(),
        role: templar_simulator::RoleChoice::Follower,
        count: 3_000,
        ..followers
    });
    assert_eq!(scenario.problems(), []);
    let mut world = scenario.world(None).unwrap();
    world.run_to(scenario.last_block()).unwrap();
    let last = world.windows().last().unwrap();
    assert_eq!((last.in_step, last.merged, last.sealed), (4_004, 15, 1_000));
}

#[test]
fn what_a_node_moves_does_not_grow_with_the_network() {
    let mut rows = Vec::new();
    scale(|row| {
        rows.push(row.clone());
        Ok(())
    })
    .unwrap();
    let [one, few, many, most, groups] = rows.as_slice() else { panic!("{} sizes", rows.len()) };
    for row in &rows {
        assert_eq!(row.null, 0, "{row:?}");
        assert!(row.utilisation > 0.98 && row.utilisation > row.published.utilisation, "{row:?}");
        assert!(row.miner_down < row.published.down && row.miner_up < row.published.up, "{row:?}");
        assert!(row.join_seconds.is_some_and(|seconds| seconds < 3.0 * row.window_seconds), "{row:?}");
    }
    assert_eq!((few.miner_down, many.miner_down), (many.miner_down, most.miner_down));
    assert_eq!((many.validator_down, many.miner_up), (most.validator_down, most.miner_up));
    assert!(one.parameters < few.parameters / 50);
    // Groups merge what would be wasted, for a bounded addition to what each node moves.
    assert_eq!((most.merged, groups.merged), (15, 15 * 34));
    assert_eq!((groups.miners, groups.miner_up), (most.miners, most.miner_up));
    assert!(groups.miner_down < 3 * most.miner_down && groups.miner_down > most.miner_down, "{groups:?}");
}
