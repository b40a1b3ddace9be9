//! What is to hold for each decoder of this crate, whatever the bytes. Tests replay it and fuzzers search it.

use parity_scale_codec::{DecodeAll, Encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::LazyLock;
use templar_base::{BlockNumber, Keypair, Netuid, PublicKey, Rao};
use templar_chain::access::{AccessAccountView, AccessOverview};
use templar_chain::governance::{Proposal, ProposalView};
use templar_chain::market::{Candle, EpochRecord, Interval, MarketSummary, Order, Quote};
use templar_chain::{
    Account, Authority, Call, ChainError, CommitmentRecord, EventRecord, Explanation, Header, Hyperparameters,
    Metagraph, ProvedRecords, Receipt, SettingChanges, SignedBlock, SignedHeader, Topic, Totals, Transaction,
};
use templar_ledger::{Ledger, Profile, State, replay};

/// Secret of the authority.
const SECRET: [u8; 32] = [1; 32];

fn profile() -> Profile {
    Profile::local(Keypair::from_seed([1; 32]).public(), &[]).with_authority(&SECRET)
}

static STATE: LazyLock<State> = LazyLock::new(|| State::genesis(profile()).expect("the local profile is sound"));

/// What the search begins with: a block, proofs of a record and of none, a header, each as a ledger gives it.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut ledger = Ledger::in_memory(&profile(), SECRET).expect("the local profile is sound");
    let (owner, hotkey) = (Keypair::from_seed([1; 32]), Keypair::from_seed([2; 32]));
    let netuid = Netuid(3);
    let register = Call::Register { netuid, hotkey: hotkey.public(), max_price: None };
    let transfer = Call::Transfer { to: hotkey.public(), amount: Rao::from_whole(1) };
    let commit = Call::Commit { netuid, topic: Topic::Sealed, index: 0, data: vec![5; 8] };
    for (number, calls) in (1..).zip([vec![(&owner, 0, register), (&owner, 1, transfer)], vec![(&hotkey, 0, commit)]]) {
        for (signer, nonce, call) in calls {
            let chain = ledger.state().genesis_hash();
            let queued = ledger.queue(Transaction::sign(signer, call, nonce, BlockNumber(9), chain));
            queued.expect("the call may be made");
        }
        ledger.make_block(number * 1_000).expect("memory does not fail");
    }
    let block = ledger.signed_block(BlockNumber(1)).expect("the block is kept");
    let hotkeys = [hotkey.public(), owner.public()];
    let proved = ledger.prove_records(netuid, (Topic::Sealed, 0), &hotkeys).expect("two keys are not too many");
    let header = serde_json::to_vec(&ledger.signed_head()).expect("a header is written");
    vec![("block/with_transactions", block.encode()), ("block/proved_records", proved.encode()), ("rpc/header", header)]
}

/// A document that parses is written and read again as itself.
fn document<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(bytes) else { return };
    let text = serde_json::to_vec(&read).expect("what was read is written");
    let again: T = serde_json::from_slice(&text).expect("what was written is read again");
    assert_eq!(again, read);
}

/// What a ledger answers its clients, and what clients ask a ledger.
pub fn rpc(bytes: &[u8]) {
    document::<SignedHeader>(bytes);
    document::<Authority>(bytes);
    document::<Metagraph>(bytes);
    document::<CommitmentRecord>(bytes);
    document::<Account>(bytes);
    document::<EventRecord>(bytes);
    document::<Receipt>(bytes);
    document::<Hyperparameters>(bytes);
    document::<SettingChanges>(bytes);
    document::<Profile>(bytes);
    document::<Totals>(bytes);
    document::<Explanation>(bytes);
    document::<ChainError>(bytes);
    document::<MarketSummary>(bytes);
    document::<Candle>(bytes);
    document::<EpochRecord>(bytes);
    document::<Quote>(bytes);
    document::<Order>(bytes);
    document::<Interval>(bytes);
    document::<Topic>(bytes);
    document::<Proposal>(bytes);
    document::<ProposalView>(bytes);
    document::<AccessOverview>(bytes);
    document::<AccessAccountView>(bytes);
    if let Ok(profile) = serde_json::from_slice::<Profile>(bytes) {
        let _ = State::genesis(profile);
    }
}

/// Proofs of a foreign ledger have one form, and to follow them does no harm.
fn proofs(bytes: &[u8]) {
    let Ok(proved) = ProvedRecords::decode_all(&mut &bytes[..]) else { return };
    assert_eq!(proved.encode(), bytes, "proofs have one form");
    for hotkey in [PublicKey::new([0; 32]), Keypair::from_seed([2; 32]).public(), PublicKey::new([255; 32])] {
        for proof in &proved.proofs {
            let _ = proof.find(&proved.header.header.records_root, hotkey, (Topic::Sealed, 0));
        }
    }
}

/// A block of a foreign ledger has one form, and to replay it does no harm.
pub fn block(bytes: &[u8]) {
    proofs(bytes);
    let Ok(signed) = SignedBlock::decode_all(&mut &bytes[..]) else { return };
    assert_eq!(signed.encode(), bytes, "a block has one form");
    let key = STATE.chain_key().expect("the profile names a key");
    let _ = signed.verify(key);
    let block = signed.block;
    let mut state = STATE.clone();
    // As if it were the first block, so that it is carried out.
    let parent = Header { number: BlockNumber(0), ..block.header.clone() };
    let mut next = block;
    (next.header.parent, next.header.number) = (parent.hash(), BlockNumber(1));
    let _ = replay(&mut state, &parent, &next);
}
