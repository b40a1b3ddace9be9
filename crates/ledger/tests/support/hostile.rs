//! What any bytes may ask of a ledger: nothing may panic, make money, or leave a trace where it is refused.
//!
//! The fuzz target `transaction` and the test that replays its corpus both run this.

use parity_scale_codec::{Decode, Encode};
use std::sync::LazyLock;
use templar_base::{Beacon, BlockHash, Keypair, Netuid, Rao};
use templar_chain::access::{AccessCall, MeteringRecord};
use templar_chain::{Call, Event, Transaction};
use templar_ledger::{Applied, BlockInput, GovernanceRule, LoadRule, Profile, State, apply, check_conservation};

/// Calls of one input at most.
const MAX_CALLS: usize = 12;

/// Two holders and their hotkeys: whoever signs is one of them.
static KEYS: LazyLock<Vec<Keypair>> = LazyLock::new(|| (1..=4).map(|seed| Keypair::from_seed([seed; 32])).collect());

/// Ledgers on which every call may succeed, with plain weights and without fees, with hidden ones and with fees.
static STARTS: LazyLock<[State; 2]> =
    LazyLock::new(|| [start(false, LoadRule::without_fees()), start(true, LoadRule::default())]);

/// Funds, slots, stake, permits; an epoch ends with every other block.
fn start(commit_reveal: bool, load: LoadRule) -> State {
    let local = Profile::local(KEYS[0].public(), &[KEYS[1].public()]);
    let profile = Profile {
        tempo: 2,
        max_uids: 3,
        commit_reveal,
        load,
        governance: GovernanceRule { voting_blocks: 2, lasting_epochs: 1, ..local.governance.clone() },
        ..local
    };
    let mut state = State::genesis(profile).expect("the profile is sound");
    let netuid = Netuid(3);
    for (coldkey, hotkey) in [(0, 2), (1, 3)] {
        let (signer, hotkey) = (&KEYS[coldkey], KEYS[hotkey].public());
        let register = Call::Register { netuid, hotkey, max_price: None };
        let stake = Call::AddStake { hotkey, netuid, amount: Rao::from_whole(100) };
        for call in [register, stake] {
            let transaction = signed(&state, signer, call);
            assert_eq!(next_block(&mut state, vec![transaction]).receipts[0].result, Ok(()));
        }
    }
    state
}

fn signed(state: &State, signer: &Keypair, call: Call) -> Transaction {
    let nonce = state.account(&signer.public()).nonce;
    Transaction::sign(signer, call, nonce, state.block().plus(1), state.genesis_hash())
}

fn next_block(state: &mut State, transactions: Vec<Transaction>) -> Applied {
    let number = state.block().plus(1);
    let input = BlockInput { number, time_ms: number.0 * 1000, beacon: Beacon::default(), transactions };
    apply(state, &input).expect("the block follows")
}

/// The call with the signatures within it made good where a holder is the one to sign: no fuzzer finds those.
fn repaired(call: Call, genesis: &BlockHash) -> Call {
    let Call::Access { netuid, call: AccessCall::Settle { records } } = call else { return call };
    let sign = |record: MeteringRecord| match KEYS.iter().find(|key| key.public() == record.gateway) {
        Some(key) => MeteringRecord::sign(key, genesis, record.key, record.serial, record.units),
        None => record,
    };
    Call::Access { netuid, call: AccessCall::Settle { records: records.into_iter().map(sign).collect() } }
}

/// Reads the bytes as a transaction, and as a byte that chooses a ledger and calls that are each led by a byte that says
/// who signs.
pub fn check(bytes: &[u8]) {
    if let Ok(transaction) = Transaction::from_bytes(bytes) {
        assert_eq!(transaction.encode(), bytes, "a transaction has one form");
    }
    let Some((which, mut rest)) = bytes.split_first() else { return };
    let mut state = STARTS[usize::from(which & 1)].clone();
    for _ in 0..MAX_CALLS {
        let Some((signer, mut after)) = rest.split_first() else { return };
        let Ok(call) = Call::decode(&mut after) else { return };
        rest = after;
        let transaction =
            signed(&state, &KEYS[usize::from(*signer) % KEYS.len()], repaired(call, &state.genesis_hash()));
        let same = Transaction::from_bytes(&transaction.encode());
        assert!(same.is_err() || same == Ok(transaction.clone()), "what was signed reads otherwise");
        let (mut without, is_free) = (state.clone(), which & 1 == 0);
        let signer = &KEYS[usize::from(*signer) % KEYS.len()];
        let applied = next_block(&mut state, vec![transaction]);
        check_conservation(&state).expect("money was made or lost");
        if is_free && applied.receipts[0].result.is_err() {
            let call = Call::Transfer { to: signer.public(), amount: Rao::ZERO };
            let transaction = signed(&without, signer, call);
            let mut empty = next_block(&mut without, vec![transaction]);
            empty.events.retain(|event| !matches!(event, Event::Transferred { .. }));
            assert_eq!((applied.root, applied.events), (empty.root, empty.events), "a refused call left a trace");
        }
    }
}
