//! The server: accepts connections within limits, and stops in order.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::client::Source;
use crate::connection::{Places, StallGuard};
use crate::routes::{Admission, State, answer};
use crate::scheduler::{Scheduler, SchedulerOptions};
use crate::{GatewayMetrics, Identity, Origin, Served};

/// How long running requests may go on after a stop was asked for.
const LAST_REQUESTS: Duration = Duration::from_secs(5);
/// Pause after a failed accept: mostly the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Prompts that are read into tokens at a time.
const READING: usize = 2;
/// Headers of a request.
const MAX_HEADERS: usize = 100;
/// The most bytes of a request's head.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Bounds of a gateway.
#[derive(Debug, Clone)]
pub struct GatewayOptions {
    /// How texts are written and wait.
    pub scheduler: SchedulerOptions,
    /// Connections in all.
    pub connections: usize,
    /// Connections of one address.
    pub connections_per_address: usize,
    /// The largest body of a request, in bytes.
    pub body_bytes: usize,
    /// How long a request's head may take to come.
    pub head_deadline: Duration,
    /// How long a request's body may take to come.
    pub body_deadline: Duration,
    /// How long a client may leave what is there for it.
    pub stall_deadline: Duration,
    /// How long a text may wait for its turn, and for each token.
    pub patience: Duration,
    /// Pages whose scripts may ask; none by default.
    pub origins: Vec<Origin>,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            scheduler: SchedulerOptions::default(),
            connections: 1024,
            connections_per_address: 64,
            body_bytes: 1 << 20,
            head_deadline: Duration::from_secs(15),
            body_deadline: Duration::from_secs(30),
            stall_deadline: Duration::from_secs(30),
            patience: Duration::from_secs(300),
            origins: Vec::new(),
        }
    }
}

/// A gateway that runs. Dropped, it ends at once; [`Gateway::stop`] lets requests end.
pub struct Gateway {
    state: Arc<State>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Gateway {
    /// Listens on an address. Requests are told to wait until there is a model ([`Gateway::serve`]).
    pub async fn start(address: SocketAddr, options: GatewayOptions, admission: Admission) -> io::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))?;
        let address = listener.local_addr()?;
        let scheduler = Scheduler::start(options.scheduler.clone())?;
        let reading = Semaphore::new(READING);
        let places = Places::new(options.connections, options.connections_per_address);
        let (counts, current) = (Arc::default(), RwLock::new(None));
        let state = Arc::new(State { scheduler, admission, options, reading, places, counts, current });
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept_all(listener, Arc::clone(&state), stopped));
        Ok(Self { state, address, stop, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New requests go to this model; those that run end on the model that they have.
    pub fn serve(&self, model: Arc<Served>) {
        self.state.counts.serves();
        *self.state.current.write().unwrap_or_else(PoisonError::into_inner) = Some(model);
    }

    /// Its metrics.
    pub fn metrics(&self) -> GatewayMetrics {
        GatewayMetrics(Arc::downgrade(&self.state))
    }

    /// What new requests go to.
    pub fn served(&self) -> Option<Identity> {
        self.state.current().map(|model| model.identity.clone())
    }

    /// Accepts no more, lets the requests that run end for a few seconds, and cuts off the rest.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        // It ends by itself: its only waits have deadlines.
        let _ = (&mut self.accepting).await;
        self.state.scheduler.stop();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.accepting.abort();
        self.state.scheduler.stop();
    }
}

/// Accepts and serves until `stopped` becomes true; dropping the future closes every connection.
async fn accept_all(listener: TcpListener, state: Arc<State>, mut stopped: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            // An error means that the handle is gone: the same as a stop.
            _ = stopped.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, source) = match accepted {
            Ok((stream, address)) => (stream, Source::of(address.ip())),
            Err(error) => {
                tracing::debug!(%error, "cannot accept");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // A connection for which there is no place is closed at once.
        let Some(place) = state.places.take(source) else { continue };
        let connection = graceful.watch(serve(Arc::clone(&state), stream, source));
        connections.spawn(async move {
            let _held = place;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    // What has not ended by then is cut off by dropping the set.
    let _ = timeout(LAST_REQUESTS, graceful.shutdown()).await;
}

fn serve(
    state: Arc<State>,
    stream: TcpStream,
    source: Source,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> {
    // Without it tokens come later, not wrong.
    let _ = stream.set_nodelay(true);
    let stream = StallGuard::new(stream, state.options.stall_deadline);
    let head_deadline = state.options.head_deadline;
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(answer(&state, source, request).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_deadline)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
}
