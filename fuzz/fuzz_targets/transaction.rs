//! Transactions: any bytes are one in its one form, or an error; and whatever calls they hold, signed as they should be,
//! no money is made, nothing panics, and what is refused leaves no trace in the state.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/ledger/tests/support/hostile.rs"]
mod hostile;

fuzz_target!(|bytes: &[u8]| hostile::check(bytes));
