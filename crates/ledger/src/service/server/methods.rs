//! The methods that a ledger answers: each reads the shared ledger under its lock.

use super::limits::Place;
use super::refusal::refuse;
use crate::service::authority::Ledger;
use crate::service::local::LocalChain;
use jsonrpsee::Extensions;
use jsonrpsee::core::SubscriptionResult;
use jsonrpsee::server::{PendingSubscriptionSink, SubscriptionMessage};
use jsonrpsee::types::ErrorObjectOwned;
use parity_scale_codec::Encode;
use std::sync::Arc;
use std::time::Instant;
use templar_base::{Alpha, BlockHash, BlockNumber, Netuid, PublicKey, Rao, TransactionHash, Uid};
use templar_chain::access::{AccessAccountView, AccessOverview};
use templar_chain::governance::{Proposal, ProposalId, ProposalView};
use templar_chain::market::{Candle, EpochRecord, Interval, MarketSummary, Order, Quote};
use templar_chain::{
    Account, Authority, ChainError, CommitmentRecord, EventRecord, Explanation, Hyperparameters, IndexedCommitment,
    LedgerRpcServer, MempoolError, Metagraph, Receipt, SettingChanges, SignedHeader, SnapshotOffer, Topic, Totals,
    Transaction, TransactionDecodeError,
};

/// A ledger behind its methods.
pub(super) struct LedgerMethods(pub LocalChain);

impl LedgerMethods {
    fn read<T>(&self, read: impl FnOnce(&Ledger) -> Result<T, ChainError>) -> Result<T, ErrorObjectOwned> {
        self.0.with(read).map_err(refuse)
    }
}

#[jsonrpsee::core::async_trait]
impl LedgerRpcServer for LedgerMethods {
    fn genesis(&self) -> Result<BlockHash, ErrorObjectOwned> {
        self.read(|ledger| Ok(ledger.state().genesis_hash()))
    }

    fn authority(&self) -> Result<Authority, ErrorObjectOwned> {
        self.read(|ledger| Ok(ledger.state().profile().authority()))
    }

    fn profile(&self) -> Result<serde_json::Value, ErrorObjectOwned> {
        self.read(|ledger| {
            serde_json::to_value(ledger.state().profile()).map_err(|error| ChainError::Store(error.to_string()))
        })
    }

    fn totals(&self) -> Result<Totals, ErrorObjectOwned> {
        self.read(|ledger| Ok(ledger.state().totals()))
    }

    fn head(&self) -> Result<SignedHeader, ErrorObjectOwned> {
        self.read(|ledger| Ok(ledger.signed_head()))
    }

    fn header(&self, block: BlockNumber) -> Result<SignedHeader, ErrorObjectOwned> {
        self.read(|ledger| ledger.signed_header(block))
    }

    fn block(&self, block: BlockNumber) -> Result<String, ErrorObjectOwned> {
        self.read(|ledger| Ok(hex::encode(ledger.signed_block(block)?.encode())))
    }

    fn snapshot(&self) -> Result<SnapshotOffer, ErrorObjectOwned> {
        Ok(self.0.snapshot())
    }

    fn snapshot_part(&self, block: BlockNumber, index: u32) -> Result<String, ErrorObjectOwned> {
        self.0.snapshot_part(block, index).map(hex::encode).map_err(refuse)
    }

    fn metagraph(&self, netuid: Netuid, at: Option<BlockNumber>) -> Result<Metagraph, ErrorObjectOwned> {
        self.read(|ledger| ledger.metagraph(netuid, at))
    }

    fn commitments(&self, netuid: Netuid, topic: Topic, index: u64) -> Result<Vec<CommitmentRecord>, ErrorObjectOwned> {
        self.read(|ledger| ledger.commitments(netuid, topic, index))
    }

    fn last_reports(&self, netuid: Netuid) -> Result<Vec<IndexedCommitment>, ErrorObjectOwned> {
        self.read(|ledger| ledger.last_reports(netuid))
    }

    fn records(
        &self,
        netuid: Netuid,
        topic: Topic,
        index: u64,
        hotkeys: Vec<PublicKey>,
    ) -> Result<String, ErrorObjectOwned> {
        self.read(|ledger| Ok(hex::encode(ledger.prove_records(netuid, (topic, index), &hotkeys)?.encode())))
    }

    fn account(&self, key: PublicKey) -> Result<Account, ErrorObjectOwned> {
        self.read(|ledger| Ok(ledger.account(&key)))
    }

    fn next_nonce(&self, key: PublicKey) -> Result<u64, ErrorObjectOwned> {
        self.read(|ledger| Ok(ledger.next_nonce(&key)))
    }

    fn stake(&self, hotkey: PublicKey, coldkey: PublicKey) -> Result<Alpha, ErrorObjectOwned> {
        self.read(|ledger| Ok(ledger.state().stake(&hotkey, &coldkey)))
    }

    fn registration_cost(&self, netuid: Netuid) -> Result<Rao, ErrorObjectOwned> {
        self.read(|ledger| ledger.registration_cost(netuid))
    }

    fn events(&self, from: BlockNumber, to: BlockNumber) -> Result<Vec<EventRecord>, ErrorObjectOwned> {
        self.read(|ledger| ledger.events(from, to))
    }

    fn explain(&self, netuid: Netuid, uid: Uid, at: Option<BlockNumber>) -> Result<Explanation, ErrorObjectOwned> {
        self.read(|ledger| ledger.explain(netuid, uid, at))
    }

    fn hyperparameters(&self, netuid: Netuid) -> Result<Hyperparameters, ErrorObjectOwned> {
        self.read(|ledger| ledger.hyperparameters(netuid))
    }

    fn history(
        &self,
        key: PublicKey,
        before: Option<BlockNumber>,
        limit: u32,
    ) -> Result<Vec<EventRecord>, ErrorObjectOwned> {
        self.read(|ledger| ledger.history(&key, before, limit))
    }

    fn receipt(&self, hash: TransactionHash) -> Result<Option<Receipt>, ErrorObjectOwned> {
        self.0.receipt(&hash).map_err(refuse)
    }

    fn submit(&self, extensions: &Extensions, transaction: String) -> Result<TransactionHash, ErrorObjectOwned> {
        let not_queued = |reason: MempoolError| refuse(ChainError::NotQueued { reason });
        let bytes = hex::decode(transaction).map_err(|_| not_queued(TransactionDecodeError::Malformed.into()))?;
        let transaction = Transaction::from_bytes(&bytes).map_err(|error| not_queued(error.into()))?;
        let (hash, registered) = self.0.queue_and_prove(transaction).map_err(refuse)?;
        if let (Some(key), Some(place)) = (registered, extensions.get::<Arc<Place>>()) {
            place.vouch(key, Instant::now());
        }
        Ok(hash)
    }

    fn market(&self, netuid: Netuid) -> Result<MarketSummary, ErrorObjectOwned> {
        self.read(|ledger| ledger.market(netuid))
    }

    fn quote(&self, netuid: Netuid, order: Order) -> Result<Quote, ErrorObjectOwned> {
        self.read(|ledger| ledger.quote(netuid, order))
    }

    fn candles(&self, netuid: Netuid, interval: Interval, limit: u32) -> Result<Vec<Candle>, ErrorObjectOwned> {
        self.read(|ledger| ledger.candles(netuid, interval, limit))
    }

    fn epochs(&self, netuid: Netuid, limit: u32) -> Result<Vec<EpochRecord>, ErrorObjectOwned> {
        self.read(|ledger| ledger.epochs(netuid, limit))
    }

    fn proposals(&self, netuid: Netuid, limit: u32) -> Result<Vec<Proposal>, ErrorObjectOwned> {
        self.read(|ledger| ledger.proposals(netuid, limit))
    }

    fn proposal(
        &self,
        netuid: Netuid,
        id: ProposalId,
        after: Option<PublicKey>,
    ) -> Result<Option<ProposalView>, ErrorObjectOwned> {
        self.read(|ledger| ledger.proposal(netuid, id, after))
    }

    fn setting_changes(&self, netuid: Netuid) -> Result<SettingChanges, ErrorObjectOwned> {
        self.read(|ledger| ledger.setting_changes(netuid))
    }

    fn access_overview(&self, netuid: Netuid) -> Result<AccessOverview, ErrorObjectOwned> {
        self.read(|ledger| ledger.access_overview(netuid))
    }

    fn access_account(
        &self,
        netuid: Netuid,
        gateway: PublicKey,
        key: PublicKey,
    ) -> Result<Option<AccessAccountView>, ErrorObjectOwned> {
        self.read(|ledger| ledger.access_account(netuid, &gateway, &key))
    }

    fn access_accounts(
        &self,
        netuid: Netuid,
        gateway: PublicKey,
        after: Option<PublicKey>,
    ) -> Result<Vec<AccessAccountView>, ErrorObjectOwned> {
        self.read(|ledger| ledger.access_accounts(netuid, &gateway, after))
    }

    /// Sends the newest block now and each time there is a newer one. A slow reader misses some, and fetches them by
    /// number; none of them waits in memory.
    async fn subscribe_heads(&self, pending: PendingSubscriptionSink) -> SubscriptionResult {
        let mut newest = self.0.newest();
        let sink = pending.accept().await?;
        loop {
            newest.mark_unchanged();
            let header = self.0.with(Ledger::signed_head);
            let message = serde_json::value::to_raw_value(&header)?;
            if sink.send(SubscriptionMessage::from(message)).await.is_err() {
                return Ok(());
            }
            tokio::select! {
                changed = newest.changed() => if changed.is_err() { return Ok(()) },
                () = sink.closed() => return Ok(()),
            }
        }
    }
}
