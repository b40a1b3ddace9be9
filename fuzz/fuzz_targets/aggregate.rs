//! The decoder of aggregates.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/gradient/tests/decoders/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::aggregate(bytes));
