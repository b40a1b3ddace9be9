//! The decoder of transactions: any bytes are a transaction in its one form, or an error; none of them may panic, and
//! no refused one may leave a trace in the state.

#![no_main]

use libfuzzer_sys::fuzz_target;
use parity_scale_codec::Encode;
use std::sync::LazyLock;
use templar_base::{Beacon, BlockNumber, Keypair};
use templar_ledger::{BlockInput, Profile, State, Transaction, apply};

static STATE: LazyLock<State> = LazyLock::new(|| {
    let owner = Keypair::from_seed([1; 32]).public();
    State::genesis(Profile::local(owner, &[])).expect("the local profile is sound")
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(transaction) = Transaction::from_bytes(bytes) else { return };
    assert_eq!(transaction.encode(), bytes, "a transaction has one form");
    let (mut with, mut without) = (STATE.clone(), STATE.clone());
    let block = |transactions| BlockInput { number: BlockNumber(1), time_ms: 1, beacon: Beacon::default(), transactions };
    let applied = apply(&mut with, &block(vec![transaction])).expect("block 1 follows block 0");
    let empty = apply(&mut without, &block(Vec::new())).expect("block 1 follows block 0");
    if applied.receipts[0].result.is_err() {
        assert_eq!(applied.root, empty.root, "a refused transaction changed the state");
    }
});
