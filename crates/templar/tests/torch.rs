//! Networks of real processes that compute with PyTorch, alone and beside strict nodes. They run where
//! `TEMPLAR_TORCH_PYTHON` names a Python with PyTorch, and say otherwise that they were skipped.

#[allow(dead_code)]
#[path = "support/up.rs"]
mod up;

use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use up::{PATIENCE, Up, journals, kill_process, signal};

fn torch() -> Option<String> {
    let python = std::env::var("TEMPLAR_TORCH_PYTHON").ok();
    if python.is_none() {
        eprintln!("skipped: TEMPLAR_TORCH_PYTHON names no Python with PyTorch");
    }
    python
}

/// Processes whose parent is this one.
fn children_of(parent: u64) -> Vec<u64> {
    let is_child = |process: &u64| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        after_name.split(' ').nth(1) == Some(&parent.to_string())
    };
    let names = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).filter(is_child).collect()
}

/// Whether a node's journal says that a payload of it was merged.
fn was_merged(up: &Up, node: &str) -> bool {
    let entries = journals(&up.data).remove(node).unwrap_or_default();
    entries.iter().any(|entry| entry["event"] == "verdict" && entry["standing"] == "selected")
}

#[cfg(target_os = "linux")]
#[test]
fn a_network_on_pytorch_trains_and_goes_on_after_the_death_of_a_rank() {
    let Some(python) = torch() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let more = ["--miners", "2", "--validators", "1", "--engine", "torch:cpu", "--python", &python];
    let mut up = Up::start(scratch.path(), &[&more[..], &["--window-seconds", "40"]].concat());
    let first = up.window_in_sync(3);
    let genesis: Value = serde_json::from_slice(&std::fs::read(up.data.join("genesis.json")).unwrap()).unwrap();
    assert_eq!(genesis["numerics"], "torch-bf16");
    let miner = up.process("miner-1").unwrap();
    let ranks = children_of(miner);
    assert_eq!(ranks.len(), 1, "a miner has one rank");
    kill_process(ranks[0]);
    up.window();
    let last = up.window_in_sync(3);
    assert_ne!(up.process("miner-1"), Some(miner), "the miner was started again; {}", up.logs());
    up.check_states();
    let loss = |window: &Value| window["heldout_loss"].as_f64().unwrap();
    assert!(loss(&last) < loss(&first), "the loss did not fall: {:?}", up.windows);
    // A node that is killed cannot end its ranks; they see the end of their pipe.
    let killed = up.process("miner-0").unwrap();
    let ranks = children_of(killed);
    up.kill("miner-0");
    let begun = Instant::now();
    let is_alive = |process: &u64| Path::new("/proc").join(process.to_string()).join("exe").exists();
    let left = format!("templar-torch-{killed}-");
    let leaves = || std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    while ranks.iter().any(is_alive) || leaves().any(|entry| entry.file_name().to_string_lossy().starts_with(&left)) {
        assert!(begun.elapsed() < PATIENCE, "the ranks of a killed node, or their files, are still there");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    up.stop();
}

fn guest(data: &Path, python: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_templar"))
        .args(["miner", "--local", "guest", "--threads", "1", "--engine", "torch:cpu", "--python", python, "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_miner_on_pytorch_is_merged_beside_strict_ones() {
    let Some(python) = torch() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let more = ["--miners", "2", "--validators", "1", "--open-numerics", "torch-bf16", "--window-seconds", "40"];
    let mut up = Up::start(scratch.path(), &more);
    up.window();
    let mut guest = guest(scratch.path(), &python);
    let begun = Instant::now();
    while !was_merged(&up, "guest") {
        assert!(begun.elapsed() < 3 * PATIENCE, "the miner on PyTorch was never merged; {}", up.logs());
        assert!(guest.try_wait().unwrap().is_none(), "the miner on PyTorch ended");
        up.window();
    }
    up.check_states();
    signal("-INT", u64::from(guest.id()));
    assert!(guest.wait().unwrap().success());
    up.stop();
}

#[test]
fn a_strict_network_rejects_pytorch_before_it_makes_a_key() {
    let scratch = tempfile::tempdir().unwrap();
    let mut up = Up::start(scratch.path(), &["--miners", "1", "--validators", "1", "--windows", "1"]);
    up.window();
    let output = Command::new(env!("CARGO_BIN_EXE_templar"))
        .args(["miner", "--local", "guest", "--engine", "torch", "--data"])
        .arg(scratch.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("torch-bf16") && said.contains("--engine"), "{said}");
    assert!(!up.data.join("nodes").join("guest").exists());
    up.summary();
    let again = Command::new(env!("CARGO_BIN_EXE_templar"))
        .args(["up", "--json", "--engine", "torch", "--data"])
        .arg(scratch.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[again.stdout, again.stderr].concat()).into_owned();
    assert!(said.contains("computes with the numerics strict-2") && said.contains("--fresh"), "{said}");
}
