//! Programs in the place of Python that die, are silent or answer wrongly.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;
use templar_base::ModelConfig;
use templar_engine::{EngineError, OpenRequest};
use templar_engine_torch::{Deadlines, TorchEngine, TorchOptions};

/// A shell function that writes a frame.
const FRAME: &str = r#"#!/bin/sh
frame() {
    printf "\\$(printf %03o $((${#1} % 256)))\\$(printf %03o $((${#1} / 256)))\\000\\000%s" "$1"
}
hello='{"hello": 1, "torch": "2.15.0"}'
"#;

/// The error of an engine whose ranks run this script instead of Python.
fn error_of(script: &str, ranks: usize) -> EngineError {
    let folder = tempfile::tempdir().unwrap();
    let python: PathBuf = folder.path().join("python");
    std::fs::write(&python, format!("{FRAME}{script}\n")).unwrap();
    std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    let scratch = folder.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let short = Duration::from_secs(2);
    let options = TorchOptions {
        ranks,
        scratch: Some(scratch.clone()),
        deadlines: Deadlines { start: short, open: short, first: short, least: short },
        ..TorchOptions::new(python)
    };
    let error = TorchEngine::open(&options, "cpu", OpenRequest::new(ModelConfig::tiny(64))).err().unwrap();
    assert_eq!(std::fs::read_dir(scratch).unwrap().count(), 0, "no file is left");
    error
}

#[test]
fn a_program_that_ends_is_no_python_with_torch() {
    let error = error_of("echo 'no such option' >&2; exit 3", 2).to_string();
    assert!(error.contains("no such option") && error.contains("templar doctor --setup torch"), "{error}");
    let error = error_of("exit 3", 1).to_string();
    assert!(error.contains("exit status: 3"), "{error}");
}

#[test]
fn a_missing_torch_is_named_with_the_remedy() {
    let error = error_of(r#"frame '{"hello": 1, "missing": "No module named torch"}'; exit 1"#, 1).to_string();
    assert!(error.contains("No module named torch") && error.contains("templar doctor --setup torch"), "{error}");
}

#[test]
fn silence_ends_at_the_deadline_and_names_what_was_waited_for() {
    let error = error_of("exec sleep 1000", 2);
    assert!(error.is_lost());
    assert!(error.to_string().contains("rank 0 gave no answer within 2 s while loading PyTorch"), "{error}");
    let error = error_of(r#"frame "$hello"; exec sleep 1000"#, 1).to_string();
    assert!(error.contains("gave no answer within 2 s while opening the model"), "{error}");
}

#[test]
fn one_rank_that_dies_ends_those_that_wait() {
    let error = error_of(
        r#"frame "$hello"; head -c 1 > /dev/null; [ $RANK = 1 ] && { echo 'out of luck' >&2; exit 7; }; exec sleep 1000"#,
        3,
    );
    assert!(error.is_lost());
    let text = error.to_string();
    assert!(text.starts_with("rank 1 ended (exit status: 7) while opening the model"), "{text}");
    assert!(text.contains("out of luck"), "{text}");
}

#[test]
fn answers_that_are_not_of_the_protocol_end_the_ranks() {
    for (answer, expected) in [
        (r#"printf '\377\377\377\377'"#, "over the limit"),
        (r#"printf '\001\000\000\000{'"#, "not JSON"),
        (r#"printf '\010\000\000\000{'"#, "ended early"),
        (r#"frame '{"id": 7, "done": {}}'"#, "it answered"),
        (r#"frame '{"id": 1, "done": {"parameters": 5, "held": 5}}'"#, "the ranks hold"),
        (r#"frame '{"hello": 2}'"#, "it answered"),
    ] {
        let error = error_of(&format!(r#"frame "$hello"; head -c 1 > /dev/null; {answer}; exec sleep 1"#), 1);
        assert!(error.is_lost() && error.to_string().contains(expected), "{answer}: {error}");
    }
    let error = error_of(r#"frame '{"hello": 2}'; exec sleep 1000"#, 1).to_string();
    assert!(error.contains("another version of the protocol"), "{error}");
}

#[test]
fn a_refusal_by_all_and_a_failure_of_one_are_told_apart() {
    let answer = |answer: &str| format!(r#"frame "$hello"; head -c 1 > /dev/null; {answer}; exec sleep 1000"#);
    let error = error_of(&answer(r#"frame '{"id": 1, "refused": "no GPU"}'"#), 2);
    assert!(!error.is_lost() && error.to_string().contains("no GPU"), "{error}");
    let error = error_of(&answer(r#"frame '{"id": 1, "failed": "out of memory"}'"#), 2);
    assert!(error.is_lost() && error.to_string().contains("out of memory"), "{error}");
}
