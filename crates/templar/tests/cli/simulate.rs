//! Simulations from the command line.

use crate::program::Place;
use serde_json::Value;

fn scenario(name: &str) -> String {
    format!("{}/../../scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_scenario_is_checked_and_run_and_a_seed_gives_the_same_lines() {
    let (place, file) = (Place::new(), scenario("silent-validator"));
    assert!(place.stdout(&["simulate", "check", &file]).contains("can be simulated"));
    let run = |seed| place.stdout(&["simulate", "run", &file, "--seed", seed]);
    let text = run("7");
    assert!(text.starts_with("window  merged") && text.contains("6 windows, 0 null"), "{text}");
    assert_eq!(run("7"), text);
    let lines = place.stdout(&["simulate", "run", &file, "--json"]);
    let windows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&windows[0]["event"], &windows[6]["event"]), (&Value::from("window"), &Value::from("summary")));
    assert_eq!((windows.len(), &windows[1]["merged"], &windows[6]["null"]), (7, &Value::from(15), &Value::from(0)));
}

#[test]
fn a_scenario_that_cannot_be_simulated_is_told_with_its_fields() {
    let place = Place::new();
    let text = std::fs::read_to_string(scenario("honest")).unwrap().replace("count = 16", "count = 0");
    std::fs::write(place.path("wrong.toml"), text).unwrap();
    let error = place.failure(1, &["simulate", "run", "wrong.toml"]);
    assert!(error.contains("wrong.toml: field `group[1].count` is 0"), "{error}");
    let error = place.failure(1, &["simulate", "check", "wrong.toml"]);
    assert!(error.contains("1 value(s)") && error.contains("docs/simulator.md"), "{error}");
}
