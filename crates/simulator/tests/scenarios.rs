//! The scenarios of the repository, each run to its end.

use std::path::PathBuf;
use templar_base::{ElectorRule, Uid, Window};
use templar_simulator::{NullReason, Scenario, ScenarioError, Summary, World};

fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios")).join(format!("{name}.toml"))
}

fn run(name: &str) -> (Scenario, World) {
    let scenario = Scenario::read(&path(name)).unwrap();
    let mut world = scenario.world(None).unwrap();
    world.run_to(scenario.last_block()).unwrap();
    world.check_history().unwrap();
    for window in world.windows() {
        println!("{}", window.line());
    }
    assert_eq!(world.windows().len() as u64, scenario.windows);
    (scenario, world)
}

#[test]
fn honest() {
    let (_, world) = run("honest");
    for window in world.windows() {
        assert_eq!((window.merged, window.sealed, window.in_step), (15, 16, 20), "{window:?}");
        assert!(window.window == 0 || window.utilisation > 0.98, "{window:?}");
        assert!(window.miner.most_up > 10_000_000 && window.miner.most_down < 1_000_000_000, "{window:?}");
    }
    assert!(world.skips.is_empty() && world.diverged.is_empty());
}

#[test]
fn partition() {
    let (scenario, world) = run("partition");
    let away = scenario.places(&["far".to_owned(), "far-validator".to_owned()]).len();
    // The rest continues without those that are cut off, and all are together again at the end.
    assert!(world.windows().iter().all(|window| window.null.is_none()));
    assert!(world.windows().iter().any(|window| window.in_step == window.nodes - away));
    assert_eq!(world.windows().last().unwrap().in_step, world.nodes.len());
}

#[test]
fn silent_validator() {
    let (_, world) = run("silent-validator");
    assert!(world.windows().iter().all(|window| window.null.is_none() && window.turnout < 0.81));
}

#[test]
fn stalling_buckets() {
    let (_, world) = run("stalling-buckets");
    for window in world.windows() {
        assert_eq!((window.sealed, window.null), (24, None), "{window:?}");
        assert_eq!(window.in_step, window.nodes, "{window:?}");
    }
}

/// Bug (B9): no node could ever restore after all validators had been away for longer than objects are kept.
#[test]
fn a_long_night_ends_with_all_in_step() {
    let (scenario, world) = run("long-night");
    let validators = scenario.places(&["validators".to_owned()]);
    let night = world.windows().iter().filter(|window| window.null.is_some()).count() as u64;
    let kept = scenario.clock.retention_windows.unwrap();
    assert!(night > kept, "{night} null windows are to be more than the {kept} that are kept");
    assert!(validators.iter().all(|node| world.nodes[*node].restores > 0), "they were out of reach");
    let last = world.windows().last().unwrap();
    assert_eq!((last.null, last.in_step), (None, world.nodes.len()), "{last:?}");
    assert!(world.diverged.is_empty(), "{:?}", world.diverged);
}

#[test]
fn late_joiner() {
    let (scenario, world) = run("late-joiner");
    let late = scenario.places(&["late".to_owned(), "late-follower".to_owned()]);
    assert!(late.iter().all(|node| world.nodes[*node].restores > 0), "they take a checkpoint");
    let last = world.windows().last().unwrap();
    assert_eq!((last.in_step, last.sealed), (world.nodes.len(), 18));
}

#[test]
fn a_run_without_enough_stake_is_null_and_says_why() {
    let mut scenario = Scenario::read(&path("silent-validator")).unwrap();
    scenario.groups.iter_mut().find(|group| group.name == "silent").unwrap().stake = 1_000;
    let mut world = scenario.world(None).unwrap();
    world.run_to(scenario.last_block()).unwrap();
    assert!(world.windows().iter().all(|window| window.null == Some(NullReason::NoQuorum)));
}

/// Equal seeds, equal logs to the byte; another seed, another log.
#[test]
fn a_seed_gives_one_log() {
    let scenario = Scenario::read(&path("silent-validator")).unwrap();
    let log = |seed| {
        let mut world = scenario.world(Some(seed)).unwrap();
        world.keep_log();
        world.run_to(scenario.last_block()).unwrap();
        (world.log_lines().to_vec(), world.log_digest())
    };
    let first = log(5);
    let elsewhere = std::thread::scope(|scope| scope.spawn(|| log(5)).join().unwrap());
    assert!(first.0.len() > 100 && first == elsewhere);
    assert_ne!(first.1, log(6).1);
}

#[test]
fn what_cannot_be_simulated_is_named_with_file_field_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.toml");
    let sound = std::fs::read_to_string(path("partition")).unwrap();
    let read = |text: String| {
        std::fs::write(&file, text).unwrap();
        Scenario::read(&file).unwrap_err()
    };
    let unknown = read(sound.replace("latency_ms", "latency")).to_string();
    assert!(unknown.contains("wrong.toml") && unknown.contains("latency_ms"), "{unknown}");
    let wrong = sound.replace("count = 16", "count = 0").replace("\"1b\"", "\"9b\"").replace("\"far\", ", "\"near\", ");
    let ScenarioError::Values { problems, .. } = read(wrong) else { panic!("the values are sound") };
    let fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["model.preset", "group[1].count", "partition[0].groups"]);
    let missing = Scenario::read(&folder.path().join("none.toml")).unwrap_err().to_string();
    assert!(missing.contains("cannot read") && missing.contains("none.toml"), "{missing}");
}

#[test]
fn held() {
    let (scenario, world) = run("held");
    let few = Uid(scenario.places(&["for-few".to_owned()])[0] as u16);
    for window in world.windows() {
        assert_eq!((window.sealed, window.merged, window.in_step), (10, 9, window.nodes), "{window:?}");
        assert!(!world.candidates(Window(window.window)).unwrap().contains(few), "{window:?}");
    }
}

/// A third of the stake votes at random: with right votes in the scenario's rules it loses its weight.
#[test]
fn a_scenario_may_ask_for_right_votes() {
    let mut scenario = Scenario::read(&path("silent-validator")).unwrap();
    let random = scenario.places(&["random".to_owned()])[0] as u16;
    scenario.windows = 14;
    scenario.electors = Some(ElectorRule { right_votes: 8, within: 9 });
    let mut world = scenario.world(None).unwrap();
    world.run_to(scenario.last_block()).unwrap();
    world.check_history().unwrap();
    let counts = |window: u64| world.electors(Window(window)).iter().any(|elector| elector.uid == Uid(random));
    assert!(counts(2) && !counts(13));
    scenario.electors = Some(ElectorRule { right_votes: 0, within: 9 });
    assert_eq!(scenario.problems()[0].field, "electors.right_votes");
}

/// A real model learns, whoever flips the sign is merged next to never, and the losses are the same to the bit again.
#[test]
fn learning() {
    let (scenario, world) = run("learning");
    let losses: Vec<f64> = world.windows().iter().filter_map(|window| window.loss).collect();
    assert_eq!(losses.len() as u64, scenario.windows);
    assert!(losses[losses.len() - 1] < losses[0] - 0.5, "{losses:?}");
    assert!(world.windows().iter().all(|window| window.sealed == 6 && window.in_step == window.nodes));
    let merged: usize = world.windows().iter().map(|window| window.merged).sum();
    assert!(merged <= 5 * world.windows().len() + 2, "the flipped payloads are merged: {merged}");
    let again = run("learning").1;
    assert_eq!(world.windows(), again.windows());
    assert_eq!(world.log_digest(), again.log_digest());
}

/// Bug: a machine with a quarter of the usual speed was left out by the threshold of machines with all of it.
#[test]
fn strong_and_weak_machines() {
    let scenario = Scenario::read(&path("strong-and-weak")).unwrap();
    let (usual, strong, weak) = (
        scenario.places(&["usual".to_owned()]),
        scenario.places(&["strong".to_owned()])[0],
        scenario.places(&["weak".to_owned()])[0],
    );
    let (mut merged, mut pay) = (0, [0f64; 3]);
    for seed in 1..=4 {
        let mut world = scenario.world(Some(seed)).unwrap();
        world.run_to(scenario.last_block()).unwrap();
        world.check_history().unwrap();
        assert!(world.windows().iter().all(|window| window.null.is_none()), "seed {seed}");
        let summary = Summary::of(&world);
        let miner = |place: usize| *summary.miners.iter().find(|miner| miner.uid.index() == place).unwrap();
        assert!(miner(weak).tokens * 3 < miner(usual[0]).tokens && miner(usual[0]).tokens < miner(strong).tokens);
        let of_usual = usual.iter().map(|place| miner(*place).pay).sum::<f64>() / usual.len() as f64;
        pay = [pay[0] + miner(weak).pay, pay[1] + of_usual, pay[2] + miner(strong).pay];
        merged += miner(weak).merged;
    }
    let windows = 4 * scenario.windows as usize;
    assert!(merged * 2 > windows, "the weak one is merged in {merged} of {windows} windows");
    assert!(pay[0] * 1.5 < pay[1] && pay[1] < pay[2] && pay[0] > 0.0, "weak, usual, strong: {pay:?}");
}

/// A real model in a network that crashes, forgets and answers late learns all the same, and stays one model.
#[test]
fn learning_through_faults() {
    let mut scenario = Scenario::read(&path("learning")).unwrap();
    let faults = &mut scenario.faults;
    (faults.failure, faults.crash, faults.crash_at_write) = (0.05, 0.001, 0.01);
    (faults.downtime_blocks, faults.delay_blocks, faults.duplicate) = (20, 1.0, 0.1);
    for seed in 0..4 {
        let mut world = scenario.world(Some(seed)).unwrap();
        world.run_to(scenario.last_block()).unwrap();
        world.check_history().unwrap();
        let losses: Vec<f64> = world.windows().iter().filter_map(|window| window.loss).collect();
        assert!(losses[losses.len() - 1] < losses[0] - 0.2, "seed {seed}: {losses:?}");
    }
}

/// What an unknown field's error lists is in the documentation.
#[test]
fn every_field_is_documented() {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/simulator.md")).unwrap();
    let sound = std::fs::read_to_string(path("partition")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("unknown.toml");
    let mut seen = 0;
    for section in ["", "[model]\n", "[clock]\n", "[rules]\n", "[faults]\n", "[[group]]\n", "[[partition]]\n"] {
        let text = match section {
            "" => format!("unheard_of = 1\n{sound}"),
            section if sound.contains(section) => sound.replacen(section, &format!("{section}unheard_of = 1\n"), 1),
            section => format!("{sound}\n{section}unheard_of = 1\n"),
        };
        std::fs::write(&file, text).unwrap();
        let error = Scenario::read(&file).unwrap_err().to_string();
        let (_, fields) = error.split_once("expected ").unwrap_or_else(|| panic!("{section}: {error}"));
        for field in fields.split('`').skip(1).step_by(2) {
            let is_section = sound.contains(&format!("[{field}]"));
            let is_named = [format!("`{field}`"), format!(".{field}`")].iter().any(|name| docs.contains(name.as_str()));
            assert!(is_section || is_named || ["kind", "rules", "faults"].contains(&field), "`{field}` of {section}");
            seen += 1;
        }
    }
    assert!(seen > 45, "{seen}");
}
