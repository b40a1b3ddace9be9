//! The decoder of payloads.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/gradient/tests/decoders/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::payload(bytes));
