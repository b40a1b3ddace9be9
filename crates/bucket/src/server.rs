//! The embedded S3-compatible server: for those who have no bucket elsewhere, and for whole networks on one machine.
//!
//! Everybody may read; each bucket has its own write keys. It keeps objects as plain files, `<root>/<bucket>/<key>`,
//! through the same [`ObjectFolder`](crate::object_folder::ObjectFolder) as the `file://` store, and which objects there are
//! in memory ([`index`]).
//!
//! A write is answered when it is on the disk: the bytes are flushed before the object gets its name, and the name (its
//! folder) before the answer. So whatever was answered outlives a crash of the process and of the machine, and an object
//! is whole or not there at every instant. Parts of an upload under way are not flushed and do not outlive a restart.

mod attributes;
mod connection;
mod connections;
mod copying;
mod index;
mod integrity;
mod keys;
mod listing;
mod metrics;
mod progress;
mod quota;
mod slots;
mod stall_budget;
mod storage;
mod uploads;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use templar_disk::{DiskError, Folder, Lock};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use keys::{KeyRing, WriteKey};
pub use metrics::BucketMetrics;

use self::quota::Quota;
use self::uploads::Uploads;
use crate::object_folder::sweep;
use crate::{BucketError, BucketLocation};

/// Locked exclusively by the one server of a folder.
const LOCK_FILE: &str = ".server.lock";
/// Objects and parts on their way. Not the name that a `file://` writer uses, whose sweep must not touch ours.
const STAGING_FOLDER: &str = ".server-staging";
/// Longest XML body: the list of 10,000 parts that ends a multipart upload is 1.5 MB.
const MAX_XML_BYTES: usize = 2 << 20;

/// How often unfinished uploads are looked through.
const SHORTEST_SWEEP: Duration = Duration::from_millis(100);
const LONGEST_SWEEP: Duration = Duration::from_secs(60 * 60);

/// Why the server does not start, or a write key cannot be registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Somebody else listens there.
    #[error("address {address} is in use; stop the other program or choose another port")]
    AddressInUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another server has this folder.
    #[error("folder {} is already served by another bucket server; stop it or choose another folder", root.display())]
    FolderInUse {
        /// The folder.
        root: PathBuf,
    },
    /// The folder or a file in it cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    Storage {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The keys file is not what it should be.
    #[error("keys file {} is invalid: {reason}; it holds {{\"keys\": [{{\"access_key\": .., \"secret_key\": .., \"bucket\": ..}}]}}", path.display())]
    InvalidKeysFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The access key has a secret, which its writer uses.
    #[error("write key {access_key:?} of bucket {bucket} exists already and is left as it is")]
    KeyExists {
        /// Its public half.
        access_key: String,
        /// Its bucket.
        bucket: String,
    },
    /// The write key is malformed, or its access key belongs to another bucket.
    #[error("write key {access_key:?} is refused: {reason}")]
    InvalidKey {
        /// Its public half.
        access_key: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
}

/// Limits of a server, so that no client can exhaust it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerOptions {
    /// Largest object in bytes.
    pub max_object_bytes: u64,
    /// Most bytes of a bucket: its objects and unfinished uploads.
    pub max_bucket_bytes: u64,
    /// Most requests worked on at once. More wait by address: a slot that becomes free goes to the address with the
    /// fewest. A quarter of the slots is for signed requests.
    pub max_requests: usize,
    /// Most requests of one address (and write key) that wait for a slot; more are told to come back (503).
    pub max_waiting_per_address: usize,
    /// Longest wait for a slot, after which a request is told to come back (503).
    pub slot_timeout: Duration,
    /// How long a client may keep the server waiting before it can lose its slot to one that waits: where its address
    /// holds more than an even share of the slots, or it is slower than a quarter of an even share of the link.
    pub patience_under_load: Duration,
    /// What the server's link carries in a second, in bytes.
    pub bytes_per_second: u64,
    /// Most open connections; for one more, the address with the most loses one.
    pub max_connections: usize,
    /// Most open connections from one address (IPv6: one /64); loopback is free.
    pub max_connections_per_address: usize,
    /// Longest wait for a request's header, and for the next request on an open connection.
    pub header_timeout: Duration,
    /// How long in all a client may keep the server waiting for bytes of a body, in either direction; bytes that move
    /// earn it more time, at 8 KiB a second. This holds also where nobody else waits.
    pub stall_timeout: Duration,
    /// Longest time a request may take to be received and answered.
    pub request_timeout: Duration,
    /// Most unfinished multipart uploads of one bucket; beginning one more ends the oldest.
    pub max_uploads_per_bucket: usize,
    /// How long an unfinished multipart upload may get no part before it is ended.
    pub upload_timeout: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            max_object_bytes: 8 << 30,
            max_bucket_bytes: 1_000_000_000_000,
            max_requests: 256,
            max_waiting_per_address: 64,
            slot_timeout: Duration::from_secs(10),
            patience_under_load: Duration::from_secs(2),
            bytes_per_second: 64 << 20,
            max_connections: 1024,
            max_connections_per_address: 256,
            header_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30 * 60),
            max_uploads_per_bucket: 16,
            upload_timeout: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// A running server. It stops when it is dropped; [`BucketServer::shutdown`] lets running requests end first.
#[derive(Debug)]
pub struct BucketServer {
    local_addr: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    expiring: JoinHandle<()>,
    metrics: BucketMetrics,
    /// Held for as long as the server lives.
    _lock: Lock,
}

impl BucketServer {
    /// Serves the buckets below `root` (made if needed) at `address`; port 0 takes any free one.
    pub async fn bind(address: SocketAddr, root: &Path, keys: KeyRing) -> Result<Self, ServerError> {
        Self::bind_with(address, root, keys, ServerOptions::default()).await
    }

    /// Like [`BucketServer::bind`] with chosen limits.
    pub async fn bind_with(
        address: SocketAddr,
        root: &Path,
        keys: KeyRing,
        options: ServerOptions,
    ) -> Result<Self, ServerError> {
        let lock = take_folder(root)?;
        let listener = TcpListener::bind(address).await.map_err(|source| match source.kind() {
            std::io::ErrorKind::AddrInUse => ServerError::AddressInUse { address },
            _ => ServerError::Listen { address, source },
        })?;
        let local_addr = listener.local_addr().map_err(|source| ServerError::Listen { address, source })?;
        let uploads = Arc::new(Uploads::new(options.max_uploads_per_bucket, options.max_object_bytes));
        let (service, quota) = build_service(root, keys.clone(), Arc::clone(&uploads), &options).await?;
        let expiring = tokio::spawn(expire_uploads(Arc::clone(&uploads), options.upload_timeout));
        let (stop, stopped) = watch::channel(false);
        let shared = connection::Shared::new(service, keys, options);
        let (counts, slots) = (Arc::clone(&shared.counts), Arc::clone(&shared.slots));
        let metrics = BucketMetrics { counts, quota, uploads, slots, connections: Arc::clone(&shared.connections) };
        let accepting = tokio::spawn(connection::accept_all(listener, shared, stopped));
        tracing::info!(address = %local_addr, root = %root.display(), "bucket server listens");
        Ok(Self { local_addr, stop, accepting, expiring, metrics, _lock: lock })
    }

    /// Where the server listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The location of a bucket of this server, by the address it listens on. Behind another public address, build
    /// the location with that one.
    pub fn location(&self, bucket: &str) -> Result<BucketLocation, BucketError> {
        BucketLocation::s3(bucket, &format!("http://{}", self.local_addr), None)
    }

    /// The server's metrics.
    pub fn metrics(&self) -> BucketMetrics {
        self.metrics.clone()
    }

    /// Accepts nothing more, gives running requests some seconds to end, and returns when all is closed.
    pub async fn shutdown(mut self) {
        // Fails only if the task is gone already.
        let _ = self.stop.send(true);
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for BucketServer {
    fn drop(&mut self) {
        self.accepting.abort();
        self.expiring.abort();
    }
}

/// Locks the folder for us and removes what an earlier server left unfinished.
fn take_folder(root: &Path) -> Result<Lock, ServerError> {
    let storage = |path: &Path| {
        let path = path.to_owned();
        move |source| ServerError::Storage { path, source }
    };
    let staging = root.join(STAGING_FOLDER);
    fs::create_dir_all(&staging).map_err(storage(&staging))?;
    let lock = Folder::new(root).lock(LOCK_FILE).map_err(|error| match error {
        DiskError::InUse { .. } => ServerError::FolderInUse { root: root.to_owned() },
        error => ServerError::Storage { path: root.join(LOCK_FILE), source: error.into() },
    })?;
    sweep(&staging).map_err(storage(&staging))?;
    Ok(lock)
}

/// Ends unfinished uploads when their time is over.
async fn expire_uploads(uploads: Arc<Uploads>, timeout: Duration) {
    loop {
        tokio::time::sleep((timeout / 4).clamp(SHORTEST_SWEEP, LONGEST_SWEEP)).await;
        let uploads = Arc::clone(&uploads);
        // A panic of one sweep ends no other.
        let _ = tokio::task::spawn_blocking(move || uploads.expire(timeout)).await;
    }
}

async fn build_service(
    root: &Path,
    keys: KeyRing,
    uploads: Arc<Uploads>,
    options: &ServerOptions,
) -> Result<(S3Service, Arc<Quota>), ServerError> {
    let failed = |source| ServerError::Storage { path: root.to_owned(), source };
    let (own, staging, own_keys, own_options) =
        (root.to_owned(), root.join(STAGING_FOLDER), keys.clone(), options.clone());
    let opened =
        tokio::task::spawn_blocking(move || storage::Storage::load(own, staging, own_keys, uploads, &own_options));
    let storage = opened.await.map_err(|error| failed(std::io::Error::other(error)))?.map_err(failed)?;
    let quota = Arc::clone(&storage.quota);
    let mut config = S3Config::default();
    config.xml_max_body_size = MAX_XML_BYTES;
    // Uploads by HTML forms are refused later; nothing of theirs need be kept.
    config.post_object_max_file_size = 0;
    config.form_max_field_size = 1 << 10;
    config.form_max_fields_size = 16 << 10;
    config.form_max_parts = 16;
    let mut builder = S3ServiceBuilder::new(storage);
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    // The access rules are asked only where signatures are checked, so the two go together.
    builder.set_auth(keys.clone());
    builder.set_access(keys);
    Ok((builder.build(), quota))
}
