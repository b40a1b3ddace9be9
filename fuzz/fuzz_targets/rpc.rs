//! The readers of a ledger's answers and of its clients' questions.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/ledger/tests/decoders/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::rpc(bytes));
