//! The reader of the index of a large object.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/bucket/tests/decoders/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::part_index(bytes));
