//! What is to hold for each decoder of this crate, whatever the bytes. Tests replay it and fuzzers search it.

use templar_base::Genesis;

/// What is read as a genesis document names the same run when it is written and read again.
pub fn genesis(bytes: &[u8]) {
    let Ok(genesis) = Genesis::from_json(bytes) else { return };
    let again = Genesis::from_json(genesis.to_json().as_bytes()).expect("a sound document is read again");
    assert_eq!(again.run_id(), genesis.run_id(), "a document names one run");
}
