//! The ledger as a service: blocks on a timer, JSON-RPC over HTTP and WebSocket.

mod limits;
mod methods;
mod metrics;
mod refusal;
mod requests;

pub use limits::ClientLimits;
pub use metrics::LedgerMetrics;

use crate::service::authority::Ledger;
use crate::service::local::LocalChain;
use jsonrpsee::core::middleware::RpcServiceBuilder;
use jsonrpsee::server::{
    BatchRequestConfig, Methods, PingConfig, Server, ServerConfig, ServerHandle, StopHandle,
    serve_with_graceful_shutdown, stop_channel,
};
use limits::{Clients, Limited, Place};
use methods::LedgerMethods;
use requests::Requests;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use templar_chain::LedgerRpcServer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

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
    /// What one client may ask.
    pub limits: ClientLimits,
    /// How long connections may be silent.
    pub timeouts: ConnectionTimeouts,
    /// Whether this server makes blocks on the profile's timer. Without it somebody else advances the chain.
    pub makes_blocks: bool,
}

impl ServerOptions {
    /// Makes blocks and serves up to 512 connections at `listen`.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            max_connections: 512,
            limits: ClientLimits::default(),
            timeouts: ConnectionTimeouts::default(),
            makes_blocks: true,
        }
    }
}

/// How long connections may be silent before they are closed.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionTimeouts {
    /// From a connection to its first request, or to its becoming a WebSocket.
    pub handshake: Duration,
    /// From a request over HTTP to the next.
    pub idle: Duration,
    /// Between two pings over a WebSocket.
    pub ping_interval: Duration,
    /// For how long a WebSocket may leave pings unanswered.
    pub pong: Duration,
}

impl Default for ConnectionTimeouts {
    /// Ten seconds for the first request, a minute to the next; pings every 20 seconds, answered within a minute.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { handshake: seconds(10), idle: seconds(60), ping_interval: seconds(20), pong: seconds(60) }
    }
}

impl ConnectionTimeouts {
    /// Ends when a connection has been silent for too long.
    async fn silence(&self, connected_at: Instant, place: &Place) {
        loop {
            let end = match place.asked_at() {
                Some(asked_at) => asked_at + self.idle,
                None => connected_at + self.handshake,
            };
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end.into()).await;
        }
    }
}

/// Why a ledger cannot be served; the operator is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address cannot be had.
    #[error(
        "cannot listen on {address}: {source}; is another ledger running there? Stop it, or choose another address"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system reported.
        #[source]
        source: std::io::Error,
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
    metrics: LedgerMetrics,
}

impl LedgerServer {
    /// Serves `ledger`.
    pub async fn start(ledger: Ledger, options: ServerOptions) -> Result<LedgerHandle, ServerError> {
        Self::start_shared(LocalChain::new(ledger), options).await
    }

    /// Serves a ledger that this process keeps using.
    pub async fn start_shared(chain: LocalChain, options: ServerOptions) -> Result<LedgerHandle, ServerError> {
        let config = ServerConfig::builder()
            .max_connections(options.max_connections)
            .max_request_body_size(MAX_REQUEST_BYTES)
            .max_response_body_size(MAX_RESPONSE_BYTES)
            .max_subscriptions_per_connection(8)
            .set_message_buffer_capacity(64)
            .set_batch_request_config(BatchRequestConfig::Limit(16))
            .enable_ws_ping(
                PingConfig::new()
                    .ping_interval(options.timeouts.ping_interval)
                    .inactive_limit(options.timeouts.pong)
                    .max_failures(1),
            )
            .build();
        let bind = |source: std::io::Error| ServerError::Bind { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let (stop_handle, server) = stop_channel();
        let clients = Clients::new(options.limits, options.max_connections);
        let methods: Methods = LedgerMethods(chain.clone()).into_rpc().into();
        let requests = Arc::new(Requests::to(methods.method_names()));
        let metrics =
            LedgerMetrics { chain: chain.clone(), clients: Arc::clone(&clients), requests: Arc::clone(&requests) };
        let timeouts = options.timeouts;
        let serving = Serving { config, methods, clients, requests, timeouts, stop: stop_handle };
        tokio::spawn(serving.accept(listener));
        let (stop, stopped) = watch::channel(false);
        let timer = options.makes_blocks.then(|| tokio::spawn(make_blocks(chain, stopped)));
        tracing::info!(%address, "ledger serves");
        Ok(LedgerHandle { address, server, stop, timer, metrics })
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

    /// The server's metrics, for as long as it runs.
    pub fn metrics(&self) -> LedgerMetrics {
        self.metrics.clone()
    }

    /// Finishes the block at hand, closes all connections, and returns when nothing runs any more and the folder is
    /// free, unless somebody else still holds the chain or its metrics.
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

/// What every connection is served with.
#[derive(Clone)]
struct Serving {
    config: ServerConfig,
    methods: Methods,
    clients: Arc<Clients>,
    requests: Arc<Requests>,
    timeouts: ConnectionTimeouts,
    stop: StopHandle,
}

impl Serving {
    async fn accept(self, listener: TcpListener) {
        let stopped = self.stop.clone().shutdown();
        tokio::pin!(stopped);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut stopped => return,
            };
            match accepted {
                Ok((socket, peer)) => match self.clients.admit(peer.ip(), Instant::now()) {
                    Some(place) => drop(tokio::spawn(self.clone().serve(socket, place))),
                    // Closing at once costs least; the client retries later.
                    None => tracing::debug!(%peer, "too many connections; one more is rejected"),
                },
                Err(error) => {
                    // Out of file handles, or a peer that was gone already: others may still be served.
                    tracing::debug!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    async fn serve(self, socket: TcpStream, place: Place) {
        // Requests and answers are small, and each waits for the other.
        let _ = socket.set_nodelay(true);
        let (place, connected_at) = (Arc::new(place), Instant::now());
        let (held, counted) = (Arc::clone(&place), self.requests);
        let limited = RpcServiceBuilder::new().layer_fn(move |service| {
            let (place, requests) = (Arc::clone(&held), Arc::clone(&counted));
            Limited { service, place, requests }
        });
        let builder = Server::builder().set_config(self.config).to_service_builder().set_rpc_middleware(limited);
        let service = builder.build(self.methods, self.stop.clone());
        // What has become a WebSocket is served elsewhere, and is pinged there.
        tokio::select! {
            served = serve_with_graceful_shutdown(socket, service, self.stop.clone().shutdown()) => {
                if let Err(error) = served {
                    tracing::debug!(%error, "a connection ended early");
                }
            }
            () = self.timeouts.silence(connected_at, &place) => tracing::debug!("a silent connection is closed"),
        }
    }
}

/// The authority's timer. A block that cannot be stored is retried, so that a full disk stops the chain but not
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
            Ok(Err(error)) => tracing::error!(%error, "no block could be made; retrying"),
            Err(error) => tracing::error!(%error, "making a block failed; retrying"),
        }
    }
}
