//! The ledger over the network: a client that reconnects automatically and gives up in time.

use crate::access::{AccessAccountView, AccessOverview};
use crate::block::Block;
use crate::governance::{Proposal, ProposalId, ProposalView};
use crate::market::{Candle, EpochRecord, Interval, MarketSummary, Order, Quote};
use crate::submission::{self, SubmissionPort, Ticket};
use crate::{
    Account, BlockHeader, Call, Chain, ChainError, CommitmentRecord, EventRecord, Explanation, HeadStream,
    Hyperparameters, Metagraph, Receipt, SettingChanges, SnapshotOffer, Topic, Totals, Transaction,
};
use async_trait::async_trait;
use jsonrpsee::core::client::{ClientT, Error as ClientError, SubscriptionClientT};
use jsonrpsee::core::params::ArrayParams;
use jsonrpsee::rpc_params;
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};
use parity_scale_codec::{DecodeAll, Encode};
use serde::de::DeserializeOwned;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use templar_base::{Alpha, BlockHash, BlockNumber, Keypair, Netuid, PublicKey, Rao, TransactionHash, Uid};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// JSON-RPC error code of every refusal of the ledger; the error itself is in `data`.
pub const LEDGER_ERROR_CODE: i32 = -32_000;

/// A client's timeouts.
#[derive(Debug, Clone)]
pub struct RpcOptions {
    /// One attempt of one call, connecting included.
    pub attempt_timeout: Duration,
    /// One call with all its attempts.
    pub call_timeout: Duration,
    /// A submission until its inclusion.
    pub submit_timeout: Duration,
}

impl Default for RpcOptions {
    /// 10 s an attempt, 30 s a call, 120 s a submission.
    fn default() -> Self {
        Self {
            attempt_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(30),
            submit_timeout: Duration::from_secs(120),
        }
    }
}

/// A ledger that is reached by JSON-RPC over WebSocket. Cheap to clone; clones share one connection.
#[derive(Clone)]
pub struct RpcChain {
    connection: Arc<Connection>,
    follower: Arc<Follower>,
}

struct Connection {
    url: String,
    options: RpcOptions,
    client: Mutex<Option<Arc<WsClient>>>,
    /// The chain that this client is for: that of the first connection, for ever.
    genesis: OnceLock<BlockHash>,
    newest: watch::Sender<Option<BlockHeader>>,
}

/// The task that follows heads; it ends with the last handle of the chain.
#[derive(Default)]
struct Follower {
    task: OnceLock<JoinHandle<()>>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl RpcChain {
    /// Connects to `url`, such as `ws://127.0.0.1:9944`; fails if the ledger does not answer in time.
    pub async fn connect(url: &str, options: RpcOptions) -> Result<Self, ChainError> {
        let (newest, _) = watch::channel(None);
        let (url, client, genesis) = (url.to_owned(), Mutex::new(None), OnceLock::new());
        let connection = Arc::new(Connection { url, options, client, genesis, newest });
        connection.client().await?;
        Ok(Self { connection, follower: Arc::new(Follower::default()) })
    }

    /// The chain's name.
    pub async fn genesis(&self) -> Result<BlockHash, ChainError> {
        self.connection.call("ledger_genesis", rpc_params![]).await
    }

    /// The document that the ledger started from, of whatever type `P` the ledger's implementation gives it.
    pub async fn profile<P: DeserializeOwned>(&self) -> Result<P, ChainError> {
        self.connection.call("ledger_profile", rpc_params![]).await
    }

    /// Why a slot was paid what it was paid in the newest epoch that ended at `at` or before.
    pub async fn explain(&self, netuid: Netuid, uid: Uid, at: Option<BlockNumber>) -> Result<Explanation, ChainError> {
        self.connection.call("ledger_explain", rpc_params![netuid, uid, at]).await
    }

    /// The ledger's sums.
    pub async fn totals(&self) -> Result<Totals, ChainError> {
        self.connection.call("ledger_totals", rpc_params![]).await
    }

    /// A kept block, for replay.
    pub async fn block(&self, block: BlockNumber) -> Result<Block, ChainError> {
        let text: String = self.connection.call("ledger_block", rpc_params![block]).await?;
        let bytes = hex::decode(text).ok();
        bytes.and_then(|bytes| Block::decode_all(&mut &bytes[..]).ok()).ok_or_else(|| ChainError::Protocol {
            method: "ledger_block".to_owned(),
            reason: "the bytes are no block".to_owned(),
        })
    }

    /// The newest snapshot of the state that the ledger offers.
    pub async fn snapshot(&self) -> Result<SnapshotOffer, ChainError> {
        self.connection.call("ledger_snapshot", rpc_params![]).await
    }

    /// A part of the snapshot of `block`, as it came: to be held to its hash.
    pub async fn snapshot_part(&self, block: BlockNumber, index: u32) -> Result<Vec<u8>, ChainError> {
        let method = "ledger_snapshotPart";
        let text: String = self.connection.call(method, rpc_params![block, index]).await?;
        hex::decode(text).map_err(|error| self.connection.protocol(method, &error.to_string()))
    }

    /// Events that concern `key` in blocks before `before` (or all), the newest first.
    pub async fn history(
        &self,
        key: &PublicKey,
        before: Option<BlockNumber>,
        limit: u32,
    ) -> Result<Vec<EventRecord>, ChainError> {
        self.connection.call("ledger_history", rpc_params![key, before, limit]).await
    }

    /// The market at a glance.
    pub async fn market(&self, netuid: Netuid) -> Result<MarketSummary, ChainError> {
        self.connection.call("market_summary", rpc_params![netuid]).await
    }

    /// What an order would bring now.
    pub async fn quote(&self, netuid: Netuid, order: Order) -> Result<Quote, ChainError> {
        self.connection.call("market_quote", rpc_params![netuid, order]).await
    }

    /// The newest candles, the oldest first.
    pub async fn candles(&self, netuid: Netuid, interval: Interval, limit: u32) -> Result<Vec<Candle>, ChainError> {
        self.connection.call("market_candles", rpc_params![netuid, interval, limit]).await
    }

    /// The newest epochs, the oldest first.
    pub async fn epochs(&self, netuid: Netuid, limit: u32) -> Result<Vec<EpochRecord>, ChainError> {
        self.connection.call("market_epochs", rpc_params![netuid, limit]).await
    }

    /// The newest proposals, newest first.
    pub async fn proposals(&self, netuid: Netuid, limit: u32) -> Result<Vec<Proposal>, ChainError> {
        self.connection.call("governance_proposals", rpc_params![netuid, limit]).await
    }

    /// A proposal with its votes by key, those after `after`, [`crate::MAX_ENTRIES`] at most.
    pub async fn proposal(
        &self,
        netuid: Netuid,
        id: ProposalId,
        after: Option<PublicKey>,
    ) -> Result<Option<ProposalView>, ChainError> {
        self.connection.call("governance_proposal", rpc_params![netuid, id, after]).await
    }

    /// Terms and sums of access.
    pub async fn access_overview(&self, netuid: Netuid) -> Result<AccessOverview, ChainError> {
        self.connection.call("access_overview", rpc_params![netuid]).await
    }

    /// The prepaid accounts at a gateway, those after the key `after`.
    pub async fn access_accounts(
        &self,
        netuid: Netuid,
        gateway: &PublicKey,
        after: Option<PublicKey>,
    ) -> Result<Vec<AccessAccountView>, ChainError> {
        self.connection.call("access_accounts", rpc_params![netuid, gateway, after]).await
    }

    /// The nonce that the key's next transaction needs, behind those that wait.
    pub async fn next_nonce(&self, key: &PublicKey) -> Result<u64, ChainError> {
        self.connection.call("ledger_nextNonce", rpc_params![key]).await
    }
}

impl Connection {
    /// The connection at hand, or a new one.
    async fn client(&self) -> Result<Arc<WsClient>, ChainError> {
        let mut held = self.client.lock().await;
        if let Some(client) = held.as_ref().filter(|client| client.is_connected()) {
            return Ok(client.clone());
        }
        let builder = WsClientBuilder::default()
            .request_timeout(self.options.attempt_timeout)
            .connection_timeout(self.options.attempt_timeout)
            .max_response_size(64 * 1024 * 1024)
            .max_buffer_capacity_per_subscription(64);
        let connecting = tokio::time::timeout(self.options.attempt_timeout, builder.build(&self.url)).await;
        let client = match connecting {
            Ok(Ok(client)) => Arc::new(client),
            Ok(Err(error)) => return Err(self.unreachable(&error.to_string())),
            Err(_) => return Err(self.unreachable("no connection in time")),
        };
        let genesis = client.request::<BlockHash, ArrayParams>("ledger_genesis", rpc_params![]).await;
        let genesis = genesis.map_err(|error| self.translate("ledger_genesis", error))?;
        if *self.genesis.get_or_init(|| genesis) != genesis {
            return Err(ChainError::Protocol {
                method: "ledger_genesis".to_owned(),
                reason: format!("{} now serves another chain, {genesis}", self.url),
            });
        }
        *held = Some(client.clone());
        Ok(client)
    }

    /// Forgets a connection that broke, so that the next call makes another.
    async fn forget(&self, broken: &Arc<WsClient>) {
        let mut held = self.client.lock().await;
        if held.as_ref().is_some_and(|client| Arc::ptr_eq(client, broken)) {
            *held = None;
        }
    }

    /// Asks until there is an answer, or time is up. Every method may be asked twice without harm: reads change
    /// nothing, and a transaction counts once however often it is sent.
    async fn call<T: DeserializeOwned>(&self, method: &'static str, params: ArrayParams) -> Result<T, ChainError> {
        let deadline = Instant::now() + self.options.call_timeout;
        let mut pause = Duration::from_millis(50);
        loop {
            let error = match self.attempt(method, params.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(
                    error @ (ChainError::Unreachable { .. }
                    | ChainError::Deadline { .. }
                    | ChainError::TooManyRequests { .. }),
                ) => error,
                Err(error) => return Err(error),
            };
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    async fn attempt<T: DeserializeOwned>(&self, method: &'static str, params: ArrayParams) -> Result<T, ChainError> {
        let client = self.client().await?;
        // A client that notices its connection's end only after its own timeout must not hold the call longer.
        let asked = tokio::time::timeout(self.options.attempt_timeout, client.request(method, params)).await;
        let error = match asked {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => self.translate(method, error),
            Err(_) => self.late(method),
        };
        if matches!(error, ChainError::Unreachable { .. }) {
            self.forget(&client).await;
        }
        Err(error)
    }

    fn translate(&self, method: &str, error: ClientError) -> ChainError {
        match error {
            ClientError::Call(object) if object.code() == LEDGER_ERROR_CODE => {
                let data = object.data().and_then(|data| serde_json::from_str(data.get()).ok());
                data.unwrap_or_else(|| self.protocol(method, object.message()))
            }
            ClientError::Call(object) => self.protocol(method, object.message()),
            ClientError::ParseError(error) => self.protocol(method, &error.to_string()),
            ClientError::RequestTimeout => self.late(method),
            error => self.unreachable(&error.to_string()),
        }
    }

    fn protocol(&self, method: &str, reason: &str) -> ChainError {
        ChainError::Protocol { method: method.to_owned(), reason: reason.to_owned() }
    }

    fn late(&self, method: &str) -> ChainError {
        let milliseconds = self.options.attempt_timeout.as_millis() as u64;
        ChainError::Deadline { milliseconds, what: method.to_owned() }
    }

    fn unreachable(&self, reason: &str) -> ChainError {
        ChainError::Unreachable { address: self.url.clone(), reason: reason.to_owned() }
    }

    /// Follows the ledger's heads on one connection until it breaks.
    async fn follow(&self) -> Result<(), ChainError> {
        let method = "ledger_subscribeHeads";
        let client = self.client().await?;
        let subscribed = client
            .subscribe::<Option<BlockHeader>, ArrayParams>(method, rpc_params![], "ledger_unsubscribeHeads")
            .await;
        let mut heads = subscribed.map_err(|error| self.translate(method, error))?;
        while let Some(head) = heads.next().await {
            let head = head.map_err(|error| self.protocol(method, &error.to_string()))?;
            if head.is_some() {
                self.newest.send_replace(head);
            }
        }
        self.forget(&client).await;
        Err(self.unreachable("the subscription ended"))
    }
}

/// Keeps the newest head up to date, from connection to connection, until it is aborted.
async fn follow_heads(connection: Arc<Connection>) {
    let mut pause = Duration::from_millis(50);
    loop {
        let started = Instant::now();
        if let Err(error) = connection.follow().await {
            tracing::debug!(%error, "following heads was interrupted");
        }
        if started.elapsed() > Duration::from_secs(10) {
            pause = Duration::from_millis(50);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

#[async_trait]
impl Chain for RpcChain {
    async fn head(&self) -> Result<BlockHeader, ChainError> {
        self.connection.call("ledger_head", rpc_params![]).await
    }

    async fn header(&self, block: BlockNumber) -> Result<BlockHeader, ChainError> {
        self.connection.call("ledger_header", rpc_params![block]).await
    }

    async fn subscribe_heads(&self) -> Result<HeadStream, ChainError> {
        // The first subscriber starts the one task that follows for all of them.
        self.follower.task.get_or_init(|| tokio::spawn(follow_heads(self.connection.clone())));
        Ok(HeadStream::new(self.connection.newest.subscribe(), Arc::new(self.clone())))
    }

    async fn metagraph(&self, netuid: Netuid, at: Option<BlockNumber>) -> Result<Metagraph, ChainError> {
        self.connection.call("ledger_metagraph", rpc_params![netuid, at]).await
    }

    async fn commitments(&self, netuid: Netuid, topic: Topic, index: u64) -> Result<Vec<CommitmentRecord>, ChainError> {
        self.connection.call("ledger_commitments", rpc_params![netuid, topic, index]).await
    }

    async fn account(&self, key: &PublicKey) -> Result<Account, ChainError> {
        self.connection.call("ledger_account", rpc_params![key]).await
    }

    async fn stake(&self, hotkey: &PublicKey, coldkey: &PublicKey) -> Result<Alpha, ChainError> {
        self.connection.call("ledger_stake", rpc_params![hotkey, coldkey]).await
    }

    async fn registration_cost(&self, netuid: Netuid) -> Result<Rao, ChainError> {
        self.connection.call("ledger_registrationCost", rpc_params![netuid]).await
    }

    async fn events(&self, from: BlockNumber, to: BlockNumber) -> Result<Vec<EventRecord>, ChainError> {
        self.connection.call("ledger_events", rpc_params![from, to]).await
    }

    async fn setting_changes(&self, netuid: Netuid) -> Result<SettingChanges, ChainError> {
        self.connection.call("governance_settings", rpc_params![netuid]).await
    }

    async fn access_account(
        &self,
        netuid: Netuid,
        gateway: &PublicKey,
        key: &PublicKey,
    ) -> Result<Option<AccessAccountView>, ChainError> {
        self.connection.call("access_account", rpc_params![netuid, gateway, key]).await
    }

    async fn hyperparameters(&self, netuid: Netuid) -> Result<Hyperparameters, ChainError> {
        self.connection.call("ledger_hyperparameters", rpc_params![netuid]).await
    }

    async fn submit(&self, signer: &Keypair, call: Call) -> Result<Receipt, ChainError> {
        submission::submit(self, signer, call, self.connection.options.submit_timeout).await
    }
}

#[async_trait]
impl SubmissionPort for RpcChain {
    async fn ticket(&self, signer: &PublicKey) -> Result<Ticket, ChainError> {
        let nonce = self.next_nonce(signer).await?;
        let mut salt = [0; 8];
        getrandom::fill(&mut salt).map_err(|error| ChainError::Store(format!("the random source: {error}")))?;
        let (head, genesis) = (self.head_number().await?, self.genesis().await?);
        Ok(Ticket { nonce, head, genesis, salt: u64::from_le_bytes(salt) })
    }

    async fn queue(&self, transaction: &Transaction) -> Result<(), ChainError> {
        let text = hex::encode(transaction.encode());
        self.connection.call::<TransactionHash>("ledger_submit", rpc_params![text]).await.map(|_| ())
    }

    async fn receipt(&self, hash: &TransactionHash) -> Result<Option<Receipt>, ChainError> {
        self.connection.call("ledger_receipt", rpc_params![hash]).await
    }

    async fn head_number(&self) -> Result<BlockNumber, ChainError> {
        Ok(self.head().await?.number)
    }

    async fn wait_after(&self, head: BlockNumber) {
        let Ok(heads) = self.subscribe_heads().await else { return };
        // The subscription wakes this up at once; the limit covers a subscription that is just being made again.
        let _ = tokio::time::timeout(Duration::from_secs(2), heads.wait_beyond(head)).await;
    }
}
