//! The reader of reveals.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/round/tests/decoders/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::reveal(bytes));
