//! The reader of genesis documents.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/base/tests/decoders/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::genesis(bytes));
