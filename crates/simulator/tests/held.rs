//! Networks that agree first on which payloads are held: buckets that serve some only, validators that claim what they do not
//! have, mirrors that are lost. Without the rule votes differ in each of these networks.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use support::{BLOCKS, draw_faults, holding_genesis, world_of};
use templar_base::{Finding, Uid, Window};
use templar_simulator::{Behaviour, Faults, Group, Scenario, World, selected};

const WINDOWS: u64 = 6;
const ALL: [&str; 3] = ["north", "east", "south"];

fn scenario() -> Scenario {
    Scenario::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/held.toml"))).unwrap()
}

fn group<'a>(scenario: &'a mut Scenario, name: &str) -> &'a mut Group {
    scenario.groups.iter_mut().find(|group| group.name == name).unwrap()
}

fn serve(scenario: &mut Scenario, miner: &str, to: &[&str]) {
    group(scenario, miner).serves = Some(to.iter().map(|name| (*name).to_owned()).collect());
}

fn uid(scenario: &Scenario, name: &str) -> Uid {
    Uid(scenario.places(&[name.to_owned()])[0] as u16)
}

fn run(scenario: &Scenario) -> World {
    assert_eq!(scenario.problems(), []);
    let mut world = scenario.world(None).unwrap();
    world.run_to(scenario.last_block()).unwrap();
    world.check_history().unwrap();
    assert!(world.windows().iter().all(|window| window.null.is_none()), "{:?}", world.windows());
    world
}

/// What these validators found in a window, none of one that did not vote; a single entry where all found the same.
fn findings(world: &World, window: u64, scenario: &Scenario, validators: &[&str]) -> Vec<Option<Vec<Finding>>> {
    let votes = world.votes(Window(window));
    let of = |name: &&str| votes.get(&uid(scenario, name)).map(|vote| vote.findings().miners.clone());
    let mut found: Vec<Option<Vec<Finding>>> = validators.iter().map(of).collect();
    found.dedup();
    found
}

/// Asserts that all vote for the same in every window; gives whose payloads they speak of.
fn equal_votes(world: &World, scenario: &Scenario) -> BTreeSet<Uid> {
    (0..WINDOWS).flat_map(|window| equal_votes_on(world, window, scenario, &ALL)).collect()
}

/// The same of a window and of these validators.
fn equal_votes_on(world: &World, window: u64, scenario: &Scenario, validators: &[&str]) -> BTreeSet<Uid> {
    let found = findings(world, window, scenario, validators);
    assert!(found.len() == 1 && found[0].is_some(), "window {window}: {found:?}, {:?}", world.skips);
    found.into_iter().flatten().flatten().map(|finding| finding.uid).collect()
}

/// Asserts that without the rule validators of this network vote differently.
fn differ_without(scenario: &Scenario) {
    let mut without = scenario.clone();
    without.clock.hold_blocks = None;
    let world = run(&without);
    let differs = |window| findings(&world, window, &without, &ALL).len() > 1;
    assert!((0..WINDOWS).all(differs), "all vote the same without the rule too");
}

#[test]
fn a_payload_that_is_served_to_less_than_half_of_the_stake_is_nobody_s_candidate() {
    let mut scenario = scenario();
    serve(&mut scenario, "for-most", &["north", "east", "south"]);
    differ_without(&scenario);
    let world = run(&scenario);
    let (named, few) = (equal_votes(&world, &scenario), uid(&scenario, "for-few"));
    assert!(!named.contains(&few) && named.contains(&uid(&scenario, "for-most")), "{named:?}");
    assert!((0..WINDOWS).all(|window| !world.candidates(Window(window)).unwrap().contains(few)));
    // It costs its owner the windows, and nobody else anything.
    assert!(world.skips.is_empty() && world.windows().iter().all(|window| window.merged == 9), "{:?}", world.windows());
}

#[test]
fn a_payload_that_is_served_to_a_bare_majority_is_judged_by_all_through_mirrors() {
    let mut scenario = scenario();
    serve(&mut scenario, "for-few", &["north", "east", "south"]);
    differ_without(&scenario);
    let mut world = run(&scenario);
    let most = uid(&scenario, "for-most");
    assert!(equal_votes(&world, &scenario).contains(&most));
    for window in (0..WINDOWS).map(Window) {
        let outcome = world.outcome(window).unwrap();
        assert!(selected(&outcome).unwrap().contains(&most), "window {window}");
    }
    let last = world.windows().last().unwrap();
    assert_eq!((last.in_step, last.merged), (world.nodes.len(), 10), "who lacks it merges it all the same");
}

#[test]
fn both_at_once() {
    let scenario = scenario();
    differ_without(&scenario);
    let named = equal_votes(&run(&scenario), &scenario);
    assert!(!named.contains(&uid(&scenario, "for-few")) && named.contains(&uid(&scenario, "for-most")));
}

#[test]
fn who_claims_to_hold_what_it_does_not_makes_nobody_judge_anything_else() {
    let mut scenario = scenario();
    group(&mut scenario, "south").behaviour = Behaviour::Claiming;
    // With the claim most of the stake holds it, and one that is drawn to mirror it has nothing.
    serve(&mut scenario, "for-most", &["north"]);
    // Of this one nobody has anything, and the claim alone is not enough.
    serve(&mut scenario, "for-few", &[]);
    differ_without(&scenario);
    let world = run(&scenario);
    let named = equal_votes(&world, &scenario);
    assert!(named.contains(&uid(&scenario, "for-most")) && !named.contains(&uid(&scenario, "for-few")), "{named:?}");
    // Where the only one that has it does not serve it either, the others judge without it, and the window counts.
    group(&mut scenario, "north").behaviour = Behaviour::Stalling;
    let world = run(&scenario);
    for window in 0..WINDOWS {
        let named = equal_votes_on(&world, window, &scenario, &["east", "south"]);
        assert!(!named.contains(&uid(&scenario, "for-most")), "window {window}");
    }
}

#[test]
fn a_mirror_that_is_lost_is_left_for_another() {
    let mut scenario = scenario();
    serve(&mut scenario, "for-few", &["north", "east", "south"]);
    for lost in ["north", "east"] {
        let mut scenario = scenario.clone();
        group(&mut scenario, lost).behaviour = Behaviour::Stalling;
        differ_without(&scenario);
        // Later some are out of step, since it does not serve its aggregate either.
        let (world, most) = (run(&scenario), uid(&scenario, "for-most"));
        assert!(equal_votes_on(&world, 0, &scenario, &ALL).contains(&most), "{lost} serves nothing");
    }
    // One that is killed as soon as it is drawn.
    let mut world = scenario.world(None).unwrap();
    world.run_to(3 * 60 + 12).unwrap();
    let killed = scenario.places(&["north".to_owned()])[0];
    world.crash(killed, 4 * 60);
    world.run_to(scenario.last_block()).unwrap();
    world.check_history().unwrap();
    assert!(equal_votes_on(&world, 2, &scenario, &["east", "south"]).contains(&uid(&scenario, "for-most")));
}

#[test]
fn without_faults_every_window_counts_and_nobody_skips_any() {
    for seed in 0..200 {
        let mut world = world_of(holding_genesis(), seed, &[40, 35, 25], (4, 2), Faults::none());
        world.run_to(6 * BLOCKS + 29).unwrap();
        world.check_history().unwrap();
        assert_eq!((world.in_step(), world.skips.as_slice()), (world.nodes.len(), &[][..]), "seed {seed}");
        assert!((0..6).all(|window| world.decided[&Window(window)].is_some()), "seed {seed}");
    }
}

/// A validator that votes at random, one that claims everything, and miners that serve a part of the validators each.
#[test]
fn whatever_faults_come_liars_and_choosy_buckets_keep_nobody_out_of_step() {
    for seed in 0..300 {
        let mut world = world_of(holding_genesis(), seed, &[30, 30, 20, 10, 10], (4, 2), Faults::none());
        world.nodes[3].spec.behaviour = Behaviour::Claiming;
        world.nodes[4].spec.behaviour = Behaviour::Random;
        for miner in [5, 6] {
            let hidden = (0..world.nodes.len()).filter(|_| world.below(2) == 0).collect();
            world.nodes[miner].spec.hides_from = hidden;
        }
        world.faults = draw_faults(&mut world);
        world.faults.corruption = 0.0;
        world.run_to(5 * BLOCKS).unwrap();
        world.faults = Faults::none();
        for node in 0..world.nodes.len() {
            world.nodes[node].back_at = world.nodes[node].back_at.min(world.head + 1);
        }
        let healed = (world.head / BLOCKS + 4) * BLOCKS;
        world.run_to(healed + BLOCKS + 29).unwrap();
        world.check_history().unwrap();
        assert_eq!(world.in_step(), world.nodes.len(), "seed {seed}");
        let last = Window(world.current().0 - 1);
        assert!(
            world.decided[&last].is_some(),
            "seed {seed}: window {last} after the faults is null: {:?}",
            world.skips
        );
    }
}
