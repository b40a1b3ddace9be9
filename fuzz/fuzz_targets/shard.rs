//! The reader of token shards.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/corpus/tests/decoders/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::shard(bytes));
