//! What happens when ranks end.

use crate::support::{CONFIGS, batches, device, has_ranks, torch};
use std::path::Path;
use std::process::Command;
use templar_engine::{Buffer, Engine, EngineError, OpenRequest};
use templar_engine_torch::{Precision, TorchEngine, TorchOptions};

fn open(python: &Path, ranks: usize, scratch: &Path) -> TorchEngine {
    let options = TorchOptions {
        ranks,
        precision: Precision::F32,
        scratch: Some(scratch.to_owned()),
        ..TorchOptions::new(python)
    };
    TorchEngine::open(&options, &device(), OpenRequest::new(CONFIGS[0]())).unwrap()
}

fn is_alive(process: u32) -> bool {
    // A process that ended and was not waited for is not alive either.
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

fn kill(process: u32) {
    assert!(Command::new("kill").args(["-9", &process.to_string()]).status().unwrap().success());
}

#[test]
fn the_death_of_a_rank_ends_all_and_is_told_by_every_request() {
    let Some(python) = torch().filter(|_| has_ranks(2)) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let mut engine = open(&python, 2, scratch.path());
    let batches = batches(engine.config());
    engine.train_step(&batches, 1e-3).unwrap();
    let processes = engine.process_ids();
    kill(processes[1]);
    // In the midst of a step or before it: the rank is found dead.
    let error = engine.train_step(&batches, 1e-3).unwrap_err();
    assert!(error.is_lost(), "{error}");
    let text = error.to_string();
    assert!(text.contains("while training a step") && text.contains("all ranks are stopped"), "{text}");
    assert!(processes.iter().all(|process| !is_alive(*process)));
    let error = engine.write(Buffer::Parameters, 0, &[0.0]).unwrap_err();
    assert!(error.is_lost() && error.to_string().starts_with("the ranks are gone"), "{error}");
    drop(engine);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "no file is left");
}

#[test]
fn closing_ends_the_ranks_and_removes_their_files() {
    let Some(python) = torch().filter(|_| has_ranks(2)) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let engine = open(&python, 2, scratch.path());
    let processes = engine.process_ids();
    assert!(processes.iter().all(|process| is_alive(*process)));
    drop(engine);
    assert!(processes.iter().all(|process| !is_alive(*process)));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn what_this_engine_cannot_is_rejected_before_a_rank_starts() {
    let request = OpenRequest::new(CONFIGS[0]());
    let open = |options: TorchOptions, request: OpenRequest| TorchEngine::open(&options, "cpu", request).err().unwrap();
    for ranks in [0, 65] {
        let error = open(TorchOptions { ranks, ..TorchOptions::new("python3") }, request.clone());
        assert!(error.to_string().contains("choose 1 to 64"), "{error}");
    }
    let error = open(TorchOptions::new("/no/such/python"), request);
    assert!(matches!(error, EngineError::Process(_)), "{error:?}");
    assert!(error.to_string().contains("templar doctor --setup torch"), "{error}");
}

#[test]
fn a_machine_without_a_gpu_is_named() {
    let Some(python) = torch() else { return };
    let options = TorchOptions::new(python);
    let Err(error) = TorchEngine::open(&options, "cuda", OpenRequest::new(CONFIGS[0]())) else {
        eprintln!("skipped: this machine has a GPU");
        return;
    };
    assert!(error.to_string().contains("GPUs"), "{error}");
}
