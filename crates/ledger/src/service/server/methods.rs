//! The methods that a ledger answers.

use super::refusal::refuse;
use crate::{Ledger, LocalChain};
use jsonrpsee::server::{PendingSubscriptionSink, RpcModule, SubscriptionMessage};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use parity_scale_codec::Encode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use templar_base::TransactionHash;
use templar_base::{BlockNumber, Netuid, PublicKey, Uid};
use templar_chain::governance::ProposalId;
use templar_chain::market::{Interval, Order};
use templar_chain::{ChainError, MempoolError, Topic, Transaction};
use tokio::sync::watch;

const INVALID_PARAMS_CODE: i32 = -32_602;

fn parse<T: DeserializeOwned>(params: &Params<'_>) -> Result<T, ErrorObjectOwned> {
    // Many clients send an empty list where there are no parameters.
    let is_none = params.as_str().is_some_and(|text| text.trim() == "[]");
    let parsed = if is_none { Params::new(None).parse() } else { params.parse() };
    parsed.map_err(|error| {
        ErrorObjectOwned::owned(INVALID_PARAMS_CODE, format!("parameters: {}", error.message()), None::<()>)
    })
}

/// Registers a method that reads its parameters as the tuple `P`.
fn register<P, T, F>(module: &mut RpcModule<LocalChain>, name: &'static str, answer: F)
where
    P: DeserializeOwned,
    T: Serialize + Clone + Send + 'static,
    F: Fn(&LocalChain, P) -> Result<T, ChainError> + Send + Sync + 'static,
{
    let registered = module.register_method(name, move |params, chain, _| -> Result<T, ErrorObjectOwned> {
        answer(chain, parse(&params)?).map_err(refuse)
    });
    // Names are literals below, each used once.
    debug_assert!(registered.is_ok(), "{name} is registered twice");
}

/// All of them.
pub(super) fn methods(chain: LocalChain) -> RpcModule<LocalChain> {
    let mut module = RpcModule::new(chain);
    let m = &mut module;
    register(m, "ledger_genesis", |chain, (): ()| Ok(chain.with(|ledger| ledger.state().genesis_hash())));
    register(m, "ledger_profile", |chain, (): ()| Ok(chain.with(|ledger| ledger.state().profile().clone())));
    register(m, "ledger_totals", |chain, (): ()| Ok(chain.with(|ledger| ledger.state().totals())));
    register(m, "ledger_head", |chain, (): ()| Ok(chain.with(Ledger::head)));
    register(m, "ledger_header", |chain, (block,): (BlockNumber,)| chain.with(|ledger| ledger.header(block)));
    register(m, "ledger_block", |chain, (block,): (BlockNumber,)| {
        Ok(hex::encode(chain.with(|ledger| ledger.block(block))?.encode()))
    });
    register(m, "ledger_snapshot", |chain, (): ()| Ok(chain.snapshot()));
    register(m, "ledger_snapshotPart", |chain, (block, index): (BlockNumber, u32)| {
        Ok(hex::encode(chain.snapshot_part(block, index)?))
    });
    register(m, "ledger_metagraph", |chain, (netuid, at): (Netuid, Option<BlockNumber>)| {
        chain.with(|ledger| ledger.metagraph(netuid, at))
    });
    register(m, "ledger_commitments", |chain, (netuid, topic, index): (Netuid, Topic, u64)| {
        chain.with(|ledger| ledger.commitments(netuid, topic, index))
    });
    register(m, "ledger_account", |chain, (key,): (PublicKey,)| Ok(chain.with(|ledger| ledger.account(&key))));
    register(m, "ledger_nextNonce", |chain, (key,): (PublicKey,)| Ok(chain.with(|ledger| ledger.next_nonce(&key))));
    register(m, "ledger_stake", |chain, (hotkey, coldkey): (PublicKey, PublicKey)| {
        Ok(chain.with(|ledger| ledger.state().stake(&hotkey, &coldkey)))
    });
    register(m, "ledger_registrationCost", |chain, (netuid,): (Netuid,)| {
        chain.with(|ledger| ledger.registration_cost(netuid))
    });
    register(m, "ledger_events", |chain, (from, to): (BlockNumber, BlockNumber)| {
        chain.with(|ledger| ledger.events(from, to))
    });
    register(m, "ledger_explain", |chain, (netuid, uid, at): (Netuid, Uid, Option<BlockNumber>)| {
        chain.with(|ledger| ledger.explain(netuid, uid, at))
    });
    register(m, "ledger_hyperparameters", |chain, (netuid,): (Netuid,)| {
        chain.with(|ledger| ledger.hyperparameters(netuid))
    });
    register(m, "ledger_history", |chain, (key, before, limit): (PublicKey, Option<BlockNumber>, u32)| {
        chain.with(|ledger| ledger.history(&key, before, limit))
    });
    market_methods(m);
    governance_methods(m);
    access_methods(m);
    register(m, "ledger_receipt", |chain, (hash,): (TransactionHash,)| chain.receipt(&hash));
    register(m, "ledger_submit", |chain, (text,): (String,)| {
        let malformed = MempoolError::Malformed(templar_chain::TransactionDecodeError::Malformed);
        let bytes = hex::decode(text).map_err(|_| ChainError::NotQueued { reason: malformed })?;
        let transaction = Transaction::from_bytes(&bytes);
        chain.queue(transaction.map_err(|error| ChainError::NotQueued { reason: error.into() })?)
    });
    let subscribed = m.register_subscription(
        "ledger_subscribeHeads",
        "ledger_heads",
        "ledger_unsubscribeHeads",
        |_, pending, chain, _| send_heads(pending, chain.newest()),
    );
    debug_assert!(subscribed.is_ok(), "the subscription is registered once");
    module
}

fn market_methods(m: &mut RpcModule<LocalChain>) {
    register(m, "market_summary", |chain, (netuid,): (Netuid,)| chain.with(|ledger| ledger.market(netuid)));
    register(m, "market_quote", |chain, (netuid, order): (Netuid, Order)| {
        chain.with(|ledger| ledger.quote(netuid, order))
    });
    register(m, "market_candles", |chain, (netuid, interval, limit): (Netuid, Interval, u32)| {
        chain.with(|ledger| ledger.candles(netuid, interval, limit))
    });
    register(m, "market_epochs", |chain, (netuid, limit): (Netuid, u32)| {
        chain.with(|ledger| ledger.epochs(netuid, limit))
    });
}

fn governance_methods(m: &mut RpcModule<LocalChain>) {
    register(m, "governance_proposals", |chain, (netuid, limit): (Netuid, u32)| {
        chain.with(|ledger| ledger.proposals(netuid, limit))
    });
    register(m, "governance_proposal", |chain, (netuid, id, after): (Netuid, ProposalId, Option<PublicKey>)| {
        chain.with(|ledger| ledger.proposal(netuid, id, after))
    });
    register(m, "governance_settings", |chain, (netuid,): (Netuid,)| {
        chain.with(|ledger| ledger.setting_changes(netuid))
    });
}

fn access_methods(m: &mut RpcModule<LocalChain>) {
    register(m, "access_overview", |chain, (netuid,): (Netuid,)| chain.with(|ledger| ledger.access_overview(netuid)));
    register(m, "access_account", |chain, (netuid, gateway, key): (Netuid, PublicKey, PublicKey)| {
        chain.with(|ledger| ledger.access_account(netuid, &gateway, &key))
    });
    register(m, "access_accounts", |chain, (netuid, gateway, after): (Netuid, PublicKey, Option<PublicKey>)| {
        chain.with(|ledger| ledger.access_accounts(netuid, &gateway, after))
    });
}

/// Sends the newest block now and each time there is a newer one. A slow reader misses some, and fetches them by
/// number; none of them waits in memory.
async fn send_heads(pending: PendingSubscriptionSink, mut newest: watch::Receiver<Option<templar_chain::BlockHeader>>) {
    let Ok(sink) = pending.accept().await else { return };
    loop {
        let header = newest.borrow_and_update().clone();
        let Ok(message) = serde_json::value::to_raw_value(&header) else { return };
        if sink.send(SubscriptionMessage::from(message)).await.is_err() {
            return;
        }
        tokio::select! {
            changed = newest.changed() => if changed.is_err() { return },
            () = sink.closed() => return,
        }
    }
}
