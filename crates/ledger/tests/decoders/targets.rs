//! What is to hold for each decoder of this crate, whatever the bytes. Tests replay it and fuzzers search it.

use parity_scale_codec::{DecodeAll, Encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::LazyLock;
use templar_base::{BlockNumber, Keypair};
use templar_chain::access::{AccessAccountView, AccessOverview};
use templar_chain::governance::{Proposal, ProposalView};
use templar_chain::market::{Candle, EpochRecord, Interval, MarketSummary, Order, Quote};
use templar_chain::{
    Account, Block, BlockHeader, ChainError, CommitmentRecord, EventRecord, Explanation, Header, Hyperparameters,
    Metagraph, Receipt, SettingChanges, Topic, Totals,
};
use templar_ledger::{Profile, State, replay};

static STATE: LazyLock<State> = LazyLock::new(|| {
    let owner = Keypair::from_seed([1; 32]).public();
    State::genesis(Profile::local(owner, &[])).expect("the local profile is sound")
});

/// A document that parses is written and read again as itself.
fn document<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(bytes) else { return };
    let text = serde_json::to_vec(&read).expect("what was read is written");
    let again: T = serde_json::from_slice(&text).expect("what was written is read again");
    assert_eq!(again, read);
}

/// What a ledger answers its clients, and what clients ask a ledger.
pub fn rpc(bytes: &[u8]) {
    document::<BlockHeader>(bytes);
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

/// A block of a foreign ledger has one form, and to replay it does no harm.
pub fn block(bytes: &[u8]) {
    let Ok(block) = Block::decode_all(&mut &bytes[..]) else { return };
    assert_eq!(block.encode(), bytes, "a block has one form");
    let mut state = STATE.clone();
    // As if it were the first block, so that it is carried out.
    let parent = Header { number: BlockNumber(0), ..block.header.clone() };
    let mut next = block;
    (next.header.parent, next.header.number) = (parent.hash(), BlockNumber(1));
    let _ = replay(&mut state, &parent, &next);
}
