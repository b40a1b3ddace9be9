//! The methods of a ledger's JSON-RPC, named once for client and server.

use crate::access::{AccessAccountView, AccessOverview};
use crate::governance::{Proposal, ProposalId, ProposalView};
use crate::market::{Candle, EpochRecord, Interval, MarketSummary, Order, Quote};
use crate::{
    Account, Authority, CommitmentRecord, EventRecord, Explanation, Hyperparameters, IndexedCommitment, Metagraph,
    Receipt, SettingChanges, SignedHeader, SnapshotOffer, Topic, Totals,
};
use jsonrpsee::proc_macros::rpc;
#[cfg(feature = "server")]
use jsonrpsee::types::ErrorObjectOwned;
use templar_base::{Alpha, BlockHash, BlockNumber, Netuid, PublicKey, Rao, TransactionHash, Uid};

/// JSON-RPC error code of every refusal of the ledger; the error itself is in `data`.
pub const LEDGER_ERROR_CODE: i32 = -32_000;

/// What a ledger answers.
#[cfg_attr(all(feature = "client", feature = "server"), rpc(client, server))]
#[cfg_attr(all(feature = "client", not(feature = "server")), rpc(client))]
#[cfg_attr(all(feature = "server", not(feature = "client")), rpc(server))]
pub trait LedgerRpc {
    /// The chain's name.
    #[method(name = "ledger_genesis")]
    fn genesis(&self) -> Result<BlockHash, ErrorObjectOwned>;

    /// Who signs the chain's blocks.
    #[method(name = "ledger_authority")]
    fn authority(&self) -> Result<Authority, ErrorObjectOwned>;

    /// The document that the ledger started from; its type is the implementation's.
    #[method(name = "ledger_profile")]
    fn profile(&self) -> Result<serde_json::Value, ErrorObjectOwned>;

    /// The ledger's sums.
    #[method(name = "ledger_totals")]
    fn totals(&self) -> Result<Totals, ErrorObjectOwned>;

    /// The newest block's header and certificate.
    #[method(name = "ledger_head")]
    fn head(&self) -> Result<SignedHeader, ErrorObjectOwned>;

    /// Header and certificate of a block of the kept history.
    #[method(name = "ledger_header")]
    fn header(&self, block: BlockNumber) -> Result<SignedHeader, ErrorObjectOwned>;

    /// A kept block with its transactions and its certificate: SCALE in hexadecimal.
    #[method(name = "ledger_block")]
    fn block(&self, block: BlockNumber) -> Result<String, ErrorObjectOwned>;

    /// The newest snapshot of the state.
    #[method(name = "ledger_snapshot")]
    fn snapshot(&self) -> Result<SnapshotOffer, ErrorObjectOwned>;

    /// A part of the snapshot of `block`, in hexadecimal.
    #[method(name = "ledger_snapshotPart")]
    fn snapshot_part(&self, block: BlockNumber, index: u32) -> Result<String, ErrorObjectOwned>;

    /// The subnet after block `at`, or now.
    #[method(name = "ledger_metagraph")]
    fn metagraph(&self, netuid: Netuid, at: Option<BlockNumber>) -> Result<Metagraph, ErrorObjectOwned>;

    /// All commitments under a topic and index, by hotkey.
    #[method(name = "ledger_commitments")]
    fn commitments(&self, netuid: Netuid, topic: Topic, index: u64) -> Result<Vec<CommitmentRecord>, ErrorObjectOwned>;

    /// The newest reports of each registered hotkey, the newest window first.
    #[method(name = "ledger_lastReports")]
    fn last_reports(&self, netuid: Netuid) -> Result<Vec<IndexedCommitment>, ErrorObjectOwned>;

    /// What each of these hotkeys, [`MAX_PROVED_KEYS`](crate::MAX_PROVED_KEYS) at most, has under a topic and index, with
    /// a proof that it has that or nothing: [`ProvedRecords`](crate::ProvedRecords) as SCALE in hexadecimal.
    #[method(name = "ledger_records")]
    fn records(
        &self,
        netuid: Netuid,
        topic: Topic,
        index: u64,
        hotkeys: Vec<PublicKey>,
    ) -> Result<String, ErrorObjectOwned>;

    /// Balance and nonce.
    #[method(name = "ledger_account")]
    fn account(&self, key: PublicKey) -> Result<Account, ErrorObjectOwned>;

    /// The nonce that the key's next transaction needs, after those that wait.
    #[method(name = "ledger_nextNonce")]
    fn next_nonce(&self, key: PublicKey) -> Result<u64, ErrorObjectOwned>;

    /// What `coldkey` has staked behind `hotkey`.
    #[method(name = "ledger_stake")]
    fn stake(&self, hotkey: PublicKey, coldkey: PublicKey) -> Result<Alpha, ErrorObjectOwned>;

    /// Price of a slot now.
    #[method(name = "ledger_registrationCost")]
    fn registration_cost(&self, netuid: Netuid) -> Result<Rao, ErrorObjectOwned>;

    /// Events of the blocks `from..=to`.
    #[method(name = "ledger_events")]
    fn events(&self, from: BlockNumber, to: BlockNumber) -> Result<Vec<EventRecord>, ErrorObjectOwned>;

    /// Why a slot was paid what it was paid.
    #[method(name = "ledger_explain")]
    fn explain(&self, netuid: Netuid, uid: Uid, at: Option<BlockNumber>) -> Result<Explanation, ErrorObjectOwned>;

    /// The subnet's rules.
    #[method(name = "ledger_hyperparameters")]
    fn hyperparameters(&self, netuid: Netuid) -> Result<Hyperparameters, ErrorObjectOwned>;

    /// Events that concern a key, the newest first.
    #[method(name = "ledger_history")]
    fn history(
        &self,
        key: PublicKey,
        before: Option<BlockNumber>,
        limit: u32,
    ) -> Result<Vec<EventRecord>, ErrorObjectOwned>;

    /// What became of a transaction; none while it waits.
    #[method(name = "ledger_receipt")]
    fn receipt(&self, hash: TransactionHash) -> Result<Option<Receipt>, ErrorObjectOwned>;

    /// Queues a transaction: SCALE in hexadecimal.
    #[method(name = "ledger_submit", with_extensions)]
    fn submit(&self, transaction: String) -> Result<TransactionHash, ErrorObjectOwned>;

    /// The market at a glance.
    #[method(name = "market_summary")]
    fn market(&self, netuid: Netuid) -> Result<MarketSummary, ErrorObjectOwned>;

    /// What an order would bring now.
    #[method(name = "market_quote")]
    fn quote(&self, netuid: Netuid, order: Order) -> Result<Quote, ErrorObjectOwned>;

    /// The newest candles, the oldest first.
    #[method(name = "market_candles")]
    fn candles(&self, netuid: Netuid, interval: Interval, limit: u32) -> Result<Vec<Candle>, ErrorObjectOwned>;

    /// The newest epochs, the oldest first.
    #[method(name = "market_epochs")]
    fn epochs(&self, netuid: Netuid, limit: u32) -> Result<Vec<EpochRecord>, ErrorObjectOwned>;

    /// The newest proposals, newest first.
    #[method(name = "governance_proposals")]
    fn proposals(&self, netuid: Netuid, limit: u32) -> Result<Vec<Proposal>, ErrorObjectOwned>;

    /// A proposal with its votes by key, those after `after`.
    #[method(name = "governance_proposal")]
    fn proposal(
        &self,
        netuid: Netuid,
        id: ProposalId,
        after: Option<PublicKey>,
    ) -> Result<Option<ProposalView>, ErrorObjectOwned>;

    /// All adopted run settings.
    #[method(name = "governance_settings")]
    fn setting_changes(&self, netuid: Netuid) -> Result<SettingChanges, ErrorObjectOwned>;

    /// Terms and sums of access.
    #[method(name = "access_overview")]
    fn access_overview(&self, netuid: Netuid) -> Result<AccessOverview, ErrorObjectOwned>;

    /// The prepaid account of `key` at `gateway`.
    #[method(name = "access_account")]
    fn access_account(
        &self,
        netuid: Netuid,
        gateway: PublicKey,
        key: PublicKey,
    ) -> Result<Option<AccessAccountView>, ErrorObjectOwned>;

    /// The accounts at a gateway, those after the key `after`.
    #[method(name = "access_accounts")]
    fn access_accounts(
        &self,
        netuid: Netuid,
        gateway: PublicKey,
        after: Option<PublicKey>,
    ) -> Result<Vec<AccessAccountView>, ErrorObjectOwned>;

    /// Sends the newest block's header and certificate now and whenever there is a newer one; a slow reader misses some.
    #[subscription(
        name = "ledger_subscribeHeads" => "ledger_heads",
        unsubscribe = "ledger_unsubscribeHeads",
        item = SignedHeader
    )]
    async fn subscribe_heads(&self) -> jsonrpsee::core::SubscriptionResult;
}
