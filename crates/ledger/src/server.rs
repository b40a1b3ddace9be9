//! The ledger as a service: blocks on a timer, JSON-RPC over HTTP and WebSocket.

use crate::{ChainError, Ledger, LocalChain, MempoolError, Topic, Transaction, TransactionHash};
use jsonrpsee::server::{
    BatchRequestConfig, PendingSubscriptionSink, RpcModule, Server, ServerConfig, ServerHandle, SubscriptionMessage,
};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use parity_scale_codec::Encode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use templar_base::{BlockNumber, Netuid, PublicKey};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// JSON-RPC error code of every refusal of the ledger; the error itself is in `data`.
pub(crate) const LEDGER_ERROR_CODE: i32 = -32_000;
const INVALID_PARAMS_CODE: i32 = -32_602;
/// A transaction in hexadecimal and its envelope fit.
const MAX_REQUEST_BYTES: u32 = 128 * 1024;
/// A metagraph of 4096 slots with 64 rows of weights fits.
const MAX_RESPONSE_BYTES: u32 = 32 * 1024 * 1024;

/// How a ledger is served.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Connections at most.
    pub max_connections: u32,
    /// Whether this server makes blocks on the profile's timer. Without it somebody else advances the chain.
    pub makes_blocks: bool,
}

impl ServerOptions {
    /// Makes blocks and serves up to 512 connections at `listen`.
    pub fn new(listen: SocketAddr) -> Self {
        Self { listen, max_connections: 512, makes_blocks: true }
    }
}

/// Why a ledger cannot be served; the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be had.
    #[error(
        "cannot listen on {address}: {reason}; is another ledger running there? Stop it, or choose another address"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        reason: String,
    },
}

/// Starts ledger servers.
pub struct LedgerServer;

/// A running server; it stops when this is dropped.
#[derive(Debug)]
pub struct LedgerHandle {
    address: SocketAddr,
    server: ServerHandle,
    stop: watch::Sender<bool>,
    timer: Option<JoinHandle<()>>,
}

impl LedgerServer {
    /// Serves `ledger`.
    pub async fn start(ledger: Ledger, options: ServerOptions) -> Result<LedgerHandle, ServerError> {
        Self::start_shared(LocalChain::new(ledger), options).await
    }

    /// Serves a ledger that this process goes on using.
    pub async fn start_shared(chain: LocalChain, options: ServerOptions) -> Result<LedgerHandle, ServerError> {
        let config = ServerConfig::builder()
            .max_connections(options.max_connections)
            .max_request_body_size(MAX_REQUEST_BYTES)
            .max_response_body_size(MAX_RESPONSE_BYTES)
            .max_subscriptions_per_connection(8)
            .set_message_buffer_capacity(64)
            .set_batch_request_config(BatchRequestConfig::Limit(16))
            .build();
        let bind = |error: std::io::Error| ServerError::Bind { address: options.listen, reason: error.to_string() };
        let server = Server::builder().set_config(config).build(options.listen).await.map_err(bind)?;
        let address = server.local_addr().map_err(bind)?;
        let server = server.start(methods(chain.clone()));
        let (stop, stopped) = watch::channel(false);
        let timer = options.makes_blocks.then(|| tokio::spawn(make_blocks(chain, stopped)));
        tracing::info!(%address, "ledger serves");
        Ok(LedgerHandle { address, server, stop, timer })
    }
}

impl LedgerHandle {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address for clients, such as `ws://127.0.0.1:9944`.
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Finishes the block at hand, closes all connections, and returns when nothing runs any more and the folder is
    /// free, unless somebody else still holds the chain.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Some(timer) = self.timer.take() {
            let _ = timer.await;
        }
        let _ = self.server.stop();
        self.server.clone().stopped().await;
    }
}

impl Drop for LedgerHandle {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        let _ = self.server.stop();
    }
}

/// The authority's timer. A block that cannot be stored is tried again, so that a full disk stops the chain but not
/// the process.
async fn make_blocks(chain: LocalChain, mut stopped: watch::Receiver<bool>) {
    let block_time = Duration::from_millis(chain.with(|ledger| ledger.state().profile().block_time_ms));
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + block_time, block_time);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            _ = ticks.tick() => {}
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let making = chain.clone();
        let made = tokio::task::spawn_blocking(move || making.make_block(now.as_millis() as u64)).await;
        match made {
            Ok(Ok(header)) => tracing::debug!(number = header.number.0, hash = %header.hash, "block"),
            Ok(Err(error)) => tracing::error!(%error, "no block could be made; trying again"),
            Err(error) => tracing::error!(%error, "making a block failed; trying again"),
        }
    }
}

/// Refuses with the ledger's error in `data`, where the client finds it whole.
fn refuse(error: ChainError) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(LEDGER_ERROR_CODE, error.to_string(), Some(error))
}

fn parse<T: DeserializeOwned>(params: &Params<'_>) -> Result<T, ErrorObjectOwned> {
    params.parse().map_err(|error| {
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

fn methods(chain: LocalChain) -> RpcModule<LocalChain> {
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
    register(m, "ledger_hyperparameters", |chain, (netuid,): (Netuid,)| {
        chain.with(|ledger| ledger.hyperparameters(netuid))
    });
    register(m, "ledger_receipt", |chain, (hash,): (TransactionHash,)| chain.receipt(&hash));
    register(m, "ledger_submit", |chain, (text,): (String,)| {
        let malformed = MempoolError::Malformed(crate::TransactionDecodeError::Malformed);
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

/// Sends the newest block now and each time there is a newer one. A slow reader misses some, and fetches them by
/// number; none of them waits in memory.
async fn send_heads(pending: PendingSubscriptionSink, mut newest: watch::Receiver<Option<crate::BlockHeader>>) {
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
