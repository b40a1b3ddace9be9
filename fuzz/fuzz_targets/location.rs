//! The reader of bucket locations, as nodes announce them.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/bucket/tests/decoders/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::location(bytes));
