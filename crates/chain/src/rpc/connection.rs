//! One connection to a ledger, made again when it breaks.

use super::api::{LEDGER_ERROR_CODE, LedgerRpcClient};
use crate::{BlockHeader, ChainError, ChainKey, Newest, SignedHeader};
use jsonrpsee::core::client::Error as ClientError;
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use templar_base::{BlockHash, BlockNumber};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

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

pub(super) struct Connection {
    pub(super) url: String,
    pub(super) options: RpcOptions,
    pub(super) client: Mutex<Option<Arc<WsClient>>>,
    /// The chain that this client is for, and the key that its blocks are signed with: that of the first connection,
    /// for ever.
    pub(super) key: OnceLock<ChainKey>,
    pub(super) newest: watch::Sender<Newest>,
    /// Number of the newest block whose certificate was checked.
    pub(super) shown: AtomicU64,
}

impl Connection {
    /// The connection at hand, or a new one.
    pub(super) async fn client(&self) -> Result<Arc<WsClient>, ChainError> {
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
        let genesis = client.genesis().await.map_err(|error| self.translate("genesis", error))?;
        if self.key.get().is_none() {
            let key = self.fetch_key(&client, genesis).await?;
            self.key.get_or_init(|| key);
        }
        if self.chain() != Some(genesis) {
            return Err(ChainError::Protocol {
                method: "genesis".to_owned(),
                reason: format!("{} now serves another chain, {genesis}", self.url),
            });
        }
        *held = Some(client.clone());
        Ok(client)
    }

    /// The key of the chain of that name: the name covers it, so that no server can give another.
    async fn fetch_key(&self, client: &WsClient, chain: BlockHash) -> Result<ChainKey, ChainError> {
        let authority = client.authority().await.map_err(|error| self.translate("authority", error))?;
        let key = authority.key_of(chain);
        key.ok_or_else(|| self.forged("authority", &format!("the name {chain} is not made from this key and document")))
    }

    /// The name of the chain; none before the first connection.
    pub(super) fn chain(&self) -> Option<BlockHash> {
        self.key.get().map(ChainKey::chain)
    }

    /// The chain's key. Every call connects first, so that it is there when an answer is.
    pub(super) fn key(&self) -> Result<&ChainKey, ChainError> {
        self.key.get().ok_or_else(|| self.unreachable("no connection yet"))
    }

    /// Number of the newest block that was shown with a certificate.
    pub(super) fn shown(&self) -> BlockNumber {
        BlockNumber(self.shown.load(Ordering::Relaxed))
    }

    /// A header that the chain's authority signed; `method` is for errors.
    pub(super) fn verified(&self, method: &str, signed: &SignedHeader) -> Result<BlockHeader, ChainError> {
        let header = signed.verify(self.key()?).map_err(|error| self.forged(method, &error.to_string()))?;
        self.shown.fetch_max(header.number.0, Ordering::Relaxed);
        Ok(header)
    }

    /// Forgets a connection that broke, so that the next call makes another.
    async fn forget(&self, broken: &Arc<WsClient>) {
        let mut held = self.client.lock().await;
        if held.as_ref().is_some_and(|client| Arc::ptr_eq(client, broken)) {
            *held = None;
        }
    }

    /// Sends `request` until there is a response or time is up; `name` is for errors. Every method may be called twice
    /// without harm: reads change nothing, and a transaction counts once however often it is sent.
    pub(super) async fn call<T, Request, Response>(&self, name: &str, request: Request) -> Result<T, ChainError>
    where
        Request: Fn(Arc<WsClient>) -> Response + Send + Sync,
        Response: Future<Output = Result<T, ClientError>> + Send,
    {
        let deadline = Instant::now() + self.options.call_timeout;
        let mut pause = Duration::from_millis(50);
        loop {
            let error = match self.attempt(name, &request).await {
                Ok(response) => return Ok(response),
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

    async fn attempt<T, Request, Response>(&self, name: &str, request: &Request) -> Result<T, ChainError>
    where
        Request: Fn(Arc<WsClient>) -> Response + Send + Sync,
        Response: Future<Output = Result<T, ClientError>> + Send,
    {
        let client = self.client().await?;
        // A client that notices its connection's end only after its own timeout must not hold the call longer.
        let asked = tokio::time::timeout(self.options.attempt_timeout, request(Arc::clone(&client))).await;
        let error = match asked {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(error)) => self.translate(name, error),
            Err(_) => self.late(name),
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

    pub(super) fn protocol(&self, method: &str, reason: &str) -> ChainError {
        ChainError::Protocol { method: method.to_owned(), reason: reason.to_owned() }
    }

    /// What the server says is not the chain's.
    pub(super) fn forged(&self, method: &str, reason: &str) -> ChainError {
        ChainError::Forged { address: self.url.clone(), method: method.to_owned(), reason: reason.to_owned() }
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
        let name = "subscribe_heads";
        let client = self.client().await?;
        let mut heads = client.subscribe_heads().await.map_err(|error| self.translate(name, error))?;
        while let Some(head) = heads.next().await {
            let head = head.map_err(|error| self.protocol(name, &error.to_string()))?;
            let head = self.verified(name, &head);
            let rejected = head.as_ref().err().cloned();
            self.newest.send_replace(Some(head));
            if let Some(error) = rejected {
                self.forget(&client).await;
                return Err(error);
            }
        }
        self.forget(&client).await;
        Err(self.unreachable("the subscription ended"))
    }
}

/// Keeps the newest head up to date, from connection to connection, until it is aborted.
pub(super) async fn follow_heads(connection: Arc<Connection>) {
    let mut pause = Duration::from_millis(50);
    loop {
        let started = Instant::now();
        if let Err(error) = connection.follow().await {
            match error {
                ChainError::Forged { .. } => tracing::warn!("{error}"),
                error => tracing::debug!(%error, "following heads was interrupted"),
            }
        }
        if started.elapsed() > Duration::from_secs(10) {
            pause = Duration::from_millis(50);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}
