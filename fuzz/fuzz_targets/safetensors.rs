//! The reader of model files.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/engine/tests/decoders/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::safetensors(bytes));
