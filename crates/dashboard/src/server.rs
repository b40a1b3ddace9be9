//! Listens, bounds its clients, and answers from the snapshot at hand.

mod answers;
mod clients;
mod events;
mod outlet;
mod patience;
mod plain;
mod route;
mod site;

pub use outlet::{MetricsOutlet, MetricsPlace};
pub use plain::MetricsServer;
pub(crate) use route::{Order, Sort};

use crate::follower::{Follower, Shared};
use crate::{DashboardError, Options, Snapshot, Source};
use clients::{Clients, subscriber};
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use patience::Patient;
use site::{Body, RecordSite};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// Pause after a failed accept: mostly the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The longest head of a request: a path, a query and what browsers add.
const MOST_HEAD_BYTES: usize = 16 << 10;
const MOST_HEADERS: usize = 64;

/// An address that is taken and not served yet, so that a wrong one is known before anything is started.
#[derive(Debug)]
pub struct Listener {
    listener: std::net::TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Takes an address; port 0 takes any free one.
    pub fn bind(address: SocketAddr) -> Result<Self, DashboardError> {
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AddrInUse => DashboardError::AddressInUse { address },
            _ => DashboardError::Listen { address, source },
        };
        let listener = std::net::TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Takes an address; a free port that only this machine reaches where none is named.
    pub fn bind_or_free(address: Option<SocketAddr>) -> Result<Self, DashboardError> {
        Self::bind(address.unwrap_or((Ipv4Addr::LOCALHOST, 0).into()))
    }

    /// The address in a browser's form.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

/// A dashboard that is served. It ends when it is dropped.
#[derive(Debug)]
pub struct Dashboard {
    url: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
    following: JoinHandle<()>,
}

impl Dashboard {
    /// Serves a run's record. Must be called within a tokio runtime; the ledger need not answer yet.
    pub fn start(listener: Listener, source: Source, options: Options) -> Result<Self, DashboardError> {
        let (url, address) = (listener.url(), listener.address);
        let failed = |source| DashboardError::Listen { address, source };
        let listener = TcpListener::from_std(listener.listener).map_err(failed)?;
        let shared = Arc::new(Shared::new());
        let following = tokio::spawn(Follower::new(source.clone(), Arc::clone(&shared), options.clone()).run());
        let site = Arc::new(RecordSite::new(source, Arc::clone(&shared), &options));
        let accepting = tokio::spawn(accept_all(listener, site, options));
        Ok(Self { url, shared, accepting, following })
    }

    /// The page's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What readers see at this moment.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.now()
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.accepting.abort();
        self.following.abort();
    }
}

/// What answers.
trait Site: Send + Sync + 'static {
    /// Answers a request from its head.
    fn answer(&self, client: IpAddr, head: &Parts) -> impl Future<Output = Response<Body>> + Send;

    /// A connection found no place.
    fn turned_away(&self);
}

/// Accepts and serves; dropping the future closes every connection.
async fn accept_all(listener: TcpListener, site: Arc<impl Site>, options: Options) {
    let clients = Arc::new(Clients::new(options.max_connections, options.max_connections_per_address));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, client) = match accepted {
            Ok((stream, address)) => (stream, subscriber(address.ip())),
            Err(error) => {
                tracing::debug!(%error, "cannot accept");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // A connection for which there is no place is closed at once.
        let Some(counted) = clients.admit(client) else {
            site.turned_away();
            continue;
        };
        let (site, options) = (Arc::clone(&site), options.clone());
        connections.spawn(async move {
            let _held = counted;
            serve(site, stream, client, &options).await;
        });
    }
}

async fn serve(site: Arc<impl Site>, stream: TcpStream, client: IpAddr, options: &Options) {
    // Without it answers are slower, not wrong.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(Arc::clone(&site), client, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(MOST_HEAD_BYTES)
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(Patient::new(stream, options.write_timeout)), service);
    match timeout(options.connection_lifetime, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "connection ended"),
        Err(_) => tracing::debug!("connection closed at the end of its time"),
    }
}

async fn answer(
    site: Arc<impl Site>,
    client: IpAddr,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    // Bodies are not read: nothing here takes one.
    let (head, _) = request.into_parts();
    Ok(site.answer(client, &head).await)
}
