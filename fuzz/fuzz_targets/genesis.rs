//! The reader of genesis documents: what it accepts names the same run when it is written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use templar_base::Genesis;

fuzz_target!(|bytes: &[u8]| {
    let Ok(genesis) = Genesis::from_json(bytes) else { return };
    let again = Genesis::from_json(genesis.to_json().as_bytes()).expect("a sound document is read again");
    assert_eq!(again.run_id(), genesis.run_id(), "a document names one run");
});
