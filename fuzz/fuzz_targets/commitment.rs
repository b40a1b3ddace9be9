//! The decoders of what nodes commit on the ledger.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/round/tests/decoders/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::commitment(bytes));
