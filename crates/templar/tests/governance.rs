//! What the token's holders decide reaches every process of a network, at the same window, through the ledger alone.

#[allow(dead_code, reason = "shared by several tests, each of which needs a part")]
#[path = "support/up.rs"]
mod up;

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use up::Up;

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A command upon the network's ledger, in JSON.
fn ask(data: &Path, arguments: &[&str]) -> Value {
    let ledger = format!("ws://127.0.0.1:{}", read(&data.join("network.json"))["ledger_port"]);
    let output = Command::new(env!("CARGO_BIN_EXE_templar"))
        .args(arguments)
        .args(["--json", "--ledger", &ledger])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A command of one of the network's wallets.
fn holder(data: &Path, wallet: &str, arguments: &[&str]) -> Value {
    let wallets = data.join("wallets");
    let own = ["--wallet", wallet, "--wallet-folder", wallets.to_str().unwrap()];
    ask(data, &[arguments, &own].concat())
}

/// The settings that were adopted.
fn changes_of(data: &Path) -> Vec<Value> {
    ask(data, &["governance", "settings"])["changes"].as_array().unwrap().clone()
}

/// The first window that starts after a block.
fn first_window_after(data: &Path, block: u64) -> u64 {
    let clock = &read(&data.join("genesis.json"))["clock"];
    let (start, length) = (clock["start_block"].as_u64().unwrap(), clock["blocks_per_window"].as_u64().unwrap());
    (block + 1).saturating_sub(start).div_ceil(length)
}

#[test]
fn an_adopted_setting_reaches_every_process_and_the_run_goes_on_in_step() {
    let scratch = tempfile::tempdir().unwrap();
    let mut up = Up::start(scratch.path(), &["--miners", "3", "--validators", "2"]);
    up.window_in_sync(5);
    // Stake proposes and votes when it has lasted eight epochs of ten blocks.
    let lasted = first_window_after(&up.data, 100);
    while up.windows.last().is_none_or(|window| window["window"].as_u64().unwrap() < lasted) {
        up.window();
    }
    // A key has one proposal open.
    for (proposer, what, value) in [("validator-0", "selected", "2"), ("validator-1", "outer-alpha", "0.5")] {
        let made = holder(&up.data, proposer, &["governance", "propose", what, value, "--yes"]);
        let id = made["proposal"]["id"].to_string();
        for wallet in ["validator-0", "validator-1"] {
            holder(&up.data, wallet, &["governance", "vote", &id, "yes"]);
        }
    }
    // Nodes that are killed while the votes are open or the change takes hold read it anew from the ledger.
    for victim in ["miner-1", "validator-1"] {
        up.kill(victim);
        up.window();
    }
    let changes = loop {
        let changes = changes_of(&up.data);
        if changes.len() == 2 {
            break changes;
        }
        up.window();
    };
    let decided = changes.iter().map(|change| change["decided_at"].as_u64().unwrap()).max().unwrap();
    let first = first_window_after(&up.data, decided);
    let is_changed = |window: &Value| window["window"].as_u64().unwrap() >= first;
    while up.windows.iter().filter(|window| is_changed(window)).count() < 3 {
        up.window();
    }
    up.window_in_sync(5);
    for window in up.windows.iter().filter(|window| is_changed(window)) {
        assert!(window["selected"].as_array().unwrap().len() <= 2, "over the adopted limit from {first} on: {window}");
    }
    up.check_states();
    up.stop();
}
