//! Whole networks of machines, driven by events alone: what must hold in every order of events.

mod support;

use support::{BLOCKS, World, draw_faults, genesis, world};
use templar_base::{RunSetting, Window};
use templar_round::SkipReason;
use templar_simulator::{Behaviour, Faults, Role, selected};

/// All nodes hold the parameters of the current window's start, and the ledger tells the same story as they do.
fn assert_in_step(world: &mut World) {
    let current = world.current();
    for (index, node) in world.nodes.iter().enumerate() {
        let machine = node.machine.as_ref().expect("every node is up");
        let position = machine.follower().position();
        let activity = machine.follower().activity();
        assert_eq!(position.next, current, "seed {}: node {index} is behind: it {activity}", world.seed);
        assert_eq!(position.state, world.states[&current], "seed {}: node {index} is in a stray state", world.seed);
    }
    world.check_history().unwrap();
}

/// Ends all faults, and gives everybody some windows to get back in step.
fn heal(world: &mut World) {
    heal_within(world, 4);
}

/// The same, over this many windows.
fn heal_within(world: &mut World, windows: u64) {
    world.faults = Faults::none();
    for node in 0..world.nodes.len() {
        world.nodes[node].back_at = world.nodes[node].back_at.min(world.head + 1);
    }
    let healed = (world.head / BLOCKS + windows) * BLOCKS;
    world.run_to(healed + BLOCKS + 25).unwrap();
    assert_in_step(world);
    let last = Window(world.current().0 - 1);
    assert!(world.decided[&last].is_some(), "seed {}: the window after the faults is null", world.seed);
    for (index, node) in world.nodes.iter().enumerate().filter(|(_, node)| node.role() == Role::Miner) {
        assert!(world.has_sent(index, last), "seed {}: miner {} sent nothing in window {last}", world.seed, node.uid);
    }
}

#[test]
fn the_rules_of_the_world_are_rules_that_a_run_may_have() {
    genesis().check().unwrap();
}

#[test]
fn without_faults_every_window_counts_and_every_miner_sends_in_each() {
    for seed in 0..300 {
        let mut world = world(seed, &[40, 35, 25], 4, 2, Faults::none());
        world.run_to(6 * BLOCKS + 25).unwrap();
        assert_in_step(&mut world);
        assert_eq!(world.skips, [], "seed {seed}");
        assert_eq!(world.diverged, [], "seed {seed}");
        for window in (0..6).map(Window) {
            assert!(world.decided[&window].is_some(), "seed {seed}: window {window} is null");
            assert!((3..7).all(|miner| world.has_sent(miner, window)), "seed {seed}: window {window}");
        }
    }
}

#[test]
fn after_any_faults_everybody_gets_back_in_step() {
    for seed in 0..2000 {
        let mut world = world(seed, &[30, 30, 20, 20], 3, 2, Faults::none());
        world.faults = draw_faults(&mut world);
        for node in 0..world.nodes.len() {
            // Memory goes wrong in few machines at a time: never in more than a third of the stake.
            world.nodes[node].may_be_corrupted = node >= 4 || node == 0;
        }
        let end = BLOCKS * (2 + world.below(6)) + world.below(BLOCKS);
        world.run_to(end).unwrap();
        heal(&mut world);
    }
}

/// Settings that are decided on while nodes crash, lag and read late: everybody goes by them from the same window on.
#[test]
fn decided_settings_hold_from_one_window_on_for_everybody() {
    for seed in 0..400 {
        let mut world = world(seed, &[40, 35, 25], 5, 2, Faults::none());
        if seed % 2 == 1 {
            world.faults = draw_faults(&mut world);
            world.faults.corruption = 0.0;
        }
        for _ in 0..1 + world.below(5) {
            let block = world.head + 1 + world.below(2 * BLOCKS);
            world.run_to(block).unwrap();
            let setting = match world.below(3) {
                0 => RunSetting::Selected(1 + world.below(4) as u16),
                1 => RunSetting::OuterAlpha(100_000 + world.below(900_000) as u32),
                _ => RunSetting::Selected(300),
            };
            world.decide(setting);
        }
        heal(&mut world);
        for window in world.decided.keys().copied().collect::<Vec<_>>() {
            let limit = world.rules_of(window).unwrap().0;
            if let Some(selected) = selected(&world.outcome(window).unwrap()) {
                assert!(selected.len() <= limit, "seed {seed}: window {window} merges over {limit}");
            }
        }
    }
}

#[test]
fn a_validator_that_votes_and_reports_at_random_decides_nothing() {
    for seed in 0..400 {
        let mut world = world(seed, &[33, 33, 34], 4, 1, Faults::none());
        world.nodes[0].spec.behaviour = Behaviour::Random;
        if seed % 2 == 0 {
            world.faults = draw_faults(&mut world);
            world.faults.corruption = 0.0;
        }
        world.run_to(5 * BLOCKS + 25).unwrap();
        if seed % 2 == 1 {
            assert_in_step(&mut world);
            assert!((0..5).all(|window| world.decided[&Window(window)].is_some()), "seed {seed}");
        }
        heal(&mut world);
    }
}

#[test]
fn without_more_than_half_of_the_stake_windows_are_null_and_the_run_continues_when_it_is_back() {
    for seed in 0..200 {
        let mut world = world(seed, &[50, 30, 20], 3, 2, Faults::none());
        world.run_to(2 * BLOCKS + 25).unwrap();
        // A validator with half of the stake vanishes.
        world.crash(0, u64::MAX);
        world.run_to(6 * BLOCKS + 25).unwrap();
        for window in (3..6).map(Window) {
            assert_eq!(world.decided[&window], None, "seed {seed}: window {window}");
            assert_eq!(world.states[&window], world.states[&window.next()], "seed {seed}");
        }
        assert!((3..8).all(|node| world.nodes[node].disk.next == Window(6)), "seed {seed}: the others stand still");
        heal(&mut world);
        assert_ne!(world.states[&world.current()], world.states[&Window(3)]);
    }
}

#[test]
fn a_validator_with_less_than_half_of_the_stake_is_not_missed() {
    for seed in 0..200 {
        let mut world = world(seed, &[49, 31, 20], 3, 1, Faults::none());
        let block = BLOCKS + world.below(BLOCKS);
        world.run_to(block).unwrap();
        world.crash(0, u64::MAX);
        world.run_to(6 * BLOCKS + 25).unwrap();
        assert!((0..6).all(|window| world.decided[&Window(window)].is_some()), "seed {seed}");
        heal(&mut world);
    }
}

#[test]
fn a_node_that_was_away_catches_up_from_the_objects_or_from_a_checkpoint() {
    for seed in 0..300 {
        let mut world = world(seed, &[40, 40, 20], 2, 2, Faults::none());
        let away = 1 + world.below(14);
        let block = BLOCKS + world.below(BLOCKS);
        world.run_to(block).unwrap();
        let back_at = world.head + away * BLOCKS;
        for node in [2, 4, 6] {
            world.crash(node, back_at);
        }
        // One window and a few blocks are enough, however long it was away.
        world.run_to((back_at / BLOCKS + 2) * BLOCKS + 25).unwrap();
        assert_in_step(&mut world);
        heal(&mut world);
    }
}

/// Requests get lost, whether or not they took effect: whoever waits for an answer asks again.
#[test]
fn an_io_that_never_answers_stops_nobody_for_ever() {
    for seed in 0..600 {
        let mut world = world(seed, &[30, 30, 20, 20], 3, 2, Faults::none());
        if seed % 2 == 1 {
            world.faults = draw_faults(&mut world);
            for node in 0..world.nodes.len() {
                world.nodes[node].may_be_corrupted = node >= 4 || node == 0;
            }
        }
        world.faults.silence = (1 + world.below(5)) as f32 / 10.0;
        let end = BLOCKS * (2 + world.below(6)) + world.below(BLOCKS);
        world.run_to(end).unwrap();
        // A checkpoint may be waited for as long as objects are kept.
        heal_within(&mut world, 4 + genesis().budget.retention_windows);
    }
}

#[test]
fn wrong_parameters_are_noticed_reported_and_replaced() {
    for seed in 0..300 {
        let mut world = world(seed, &[30, 30, 20, 20], 2, 2, Faults::none());
        let victim = [2, 4, 6][world.below(3) as usize];
        let block = (1 + world.below(4)) * BLOCKS - 1;
        world.run_to(block).unwrap();
        world.nodes[victim].may_be_corrupted = true;
        world.faults.corruption = 1.0;
        world.run_to((world.head / BLOCKS + 1) * BLOCKS + 25).unwrap();
        world.faults.corruption = 0.0;
        world.run_to((world.head / BLOCKS + 1) * BLOCKS + 25).unwrap();
        assert!(world.diverged.iter().any(|(node, _)| *node == victim), "seed {seed}: nothing was reported");
        assert!(world.diverged.iter().all(|(node, _)| *node == victim), "seed {seed}: the wrong node was blamed");
        assert!(world.nodes[victim].restores > 0, "seed {seed}");
        assert_in_step(&mut world);
    }
}

#[test]
fn a_run_survives_an_outage_of_everybody_that_is_longer_than_objects_are_kept() {
    for seed in 0..100 {
        let mut world = world(seed, &[40, 40, 20], 2, 2, Faults::none());
        let before = 2 + world.below(4);
        let block = before * BLOCKS + world.below(BLOCKS);
        world.run_to(block).unwrap();
        let back_at = world.head + (9 + world.below(10)) * BLOCKS;
        for node in 0..world.nodes.len() {
            world.crash(node, back_at);
        }
        world.run_to(back_at).unwrap();
        heal(&mut world);
        assert_ne!(world.states[&world.current()], world.states[&Window(0)]);
    }
}

#[test]
fn a_bucket_that_rejects_every_reveal_costs_only_those_windows() {
    let mut world = world(1, &[50, 50], 3, 1, Faults { failure: 0.9, ..Faults::none() });
    world.run_to(3 * BLOCKS).unwrap();
    assert!(world.skips.iter().any(|(_, _, reason)| *reason == SkipReason::CommitLate));
    heal(&mut world);
}
