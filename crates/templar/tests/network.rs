//! A whole network of real processes: it trains, and goes on through kills of every kind of process.

#[path = "support/secrets.rs"]
mod secrets;
#[path = "support/up.rs"]
mod up;

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use up::{PATIENCE, Up, journals, signal};

#[test]
fn a_network_of_processes_survives_kills_outages_and_newcomers() {
    let scratch = tempfile::tempdir().unwrap();
    let mut up = Up::start(scratch.path(), &["--miners", "3", "--validators", "2"]);
    let first = up.window_in_sync(5);
    for (victim, nulls) in [("miner-1", 0), ("validator-0", 1)] {
        let before = up.unexplained_null_windows();
        up.kill(victim);
        // The window at hand may miss the victim; the one after must not.
        up.window();
        up.window_in_sync(5);
        let lost = up.unexplained_null_windows().saturating_sub(before);
        assert!(lost <= nulls, "{lost} null windows after a kill of {victim}: {:?}; {}", up.windows, up.logs());
    }
    for service in ["bucket", "ledger"] {
        let before = up.unexplained_null_windows();
        up.keep_down(service);
        up.window();
        up.window_in_sync(5);
        let lost = up.unexplained_null_windows().saturating_sub(before);
        assert!(lost <= 1, "{lost} null windows after ten seconds without the {service}: {:?}", up.windows);
    }
    join_late(&mut up, scratch.path());
    let last = up.window();
    let states = up.check_states();
    let loss = |window: &Value| window["heldout_loss"].as_f64().unwrap();
    assert!(loss(&last) < loss(&first), "the loss did not fall: {:?}", up.windows);
    let windows = up.windows.len() as u64;
    let summary = up.stop();
    assert_eq!(summary["windows"].as_u64(), Some(windows), "{summary}");

    // The same command goes on from where it was.
    let mut again = Up::start(scratch.path(), &["--windows", "2"]);
    let next = again.window();
    let last_window = states.keys().next_back().unwrap();
    assert!(next["window"].as_u64().unwrap() >= *last_window, "{next} after {last_window}");
    let summary = again.summary();
    assert_eq!(summary["windows"], 2, "{summary}");
    again.check_states();
}

/// A miner that starts by hand after many windows reaches the others' state and is judged as they are. That latecomers
/// are merged and paid is shown in the node's own tests, where the text leaves them something to learn.
fn join_late(up: &mut Up, data: &Path) {
    let mut guest = Command::new(env!("CARGO_BIN_EXE_templar"))
        .args(["miner", "--local", "guest", "--threads", "1", "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let is_judged = |up: &Up| {
        let journals = journals(&up.data);
        let entries = journals.get("guest").cloned().unwrap_or_default();
        let passed =
            |entry: &Value| entry["standing"].as_str().is_some_and(|standing| !standing.starts_with("refused"));
        entries.iter().any(|entry| entry["event"] == "verdict" && passed(entry))
            && entries.iter().any(|entry| entry["event"] == "applied")
    };
    while !is_judged(up) {
        assert!(begun.elapsed() < PATIENCE, "the newcomer's payload never passed the door; {}", up.logs());
        assert!(guest.try_wait().unwrap().is_none(), "the newcomer ended");
        up.window();
    }
    signal("-INT", u64::from(guest.id()));
    assert!(guest.wait().unwrap().success());
}

/// Every process logs everything that it and its libraries have to say, on the way through registration, kills, a
/// restart and whole windows; none of it may be a secret.
#[test]
fn a_killed_supervisor_leaves_no_process_behind_and_its_network_goes_on_and_no_log_tells_a_secret() {
    let scratch = tempfile::tempdir().unwrap();
    let errors = |name: &str| {
        let file = std::fs::File::options().create(true).append(true).open(scratch.path().join(name)).unwrap();
        move |command: &mut Command| {
            command.env("TEMPLAR_LOG", "trace").stderr(file);
        }
    };
    let mut up = Up::start_with(scratch.path(), &["--miners", "2", "--validators", "1"], errors("first-errors"));
    up.window();
    let nodes: Vec<u64> =
        ["ledger", "bucket", "miner-0", "miner-1", "validator-0"].map(|name| up.process(name).unwrap()).into();
    up.child.kill().unwrap();
    up.child.wait().unwrap();
    let begun = Instant::now();
    for node in nodes {
        let runs = || Path::new("/proc").join(node.to_string()).join("exe").exists();
        while runs() {
            assert!(begun.elapsed() < PATIENCE, "process {node} outlives `templar up`");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let first_windows = format!("{:?}", up.windows);
    let mut again = Up::start_with(scratch.path(), &["--windows", "1"], errors("second-errors"));
    again.window();
    let summary = again.summary();
    again.check_states();
    let told = |name: &str| std::fs::read_to_string(scratch.path().join(name)).unwrap();
    let output = format!("{first_windows} {:?} {summary}", again.windows);
    let others = [("first", told("first-errors")), ("second", told("second-errors")), ("output", output)];
    secrets::assert_hidden(&again.data, &others);
}
