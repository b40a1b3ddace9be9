//! The reader of evaluations.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/record/tests/decoders/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::evaluations(bytes));
