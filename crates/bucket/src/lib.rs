//! Object storage behind one small API, and an embedded S3-compatible server.
//!
//! A node of templar writes only in its own bucket and reads those of all peers. [`Bucket`] reaches a local folder, the
//! memory of the process, or any S3-compatible server, with the same answers from each: typed errors, a deadline on
//! every call, and a size limit that is enforced before an object is read, because every object may come from a
//! stranger. Each of them is a [`Store`]; [`Bucket::over`] takes one of your own. `BucketServer` speaks the same
//! protocol for those who have no bucket elsewhere. Objects are bytes here; nothing in this crate interprets them.
//!
//! The feature `client` brings S3, `server` the embedded server; both are on by default.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use templar_bucket::{Bucket, BucketLocation, PutOutcome};
//!
//! let location: BucketLocation = "memory://miner-1".parse()?;
//! let mine = Bucket::open_writer(&location, None)?;
//! assert_eq!(mine.put_if_absent("window/000042/payload", "sealed".into()).await?, PutOutcome::Created);
//! assert_eq!(mine.put_if_absent("window/000042/payload", "other".into()).await?, PutOutcome::AlreadyExists);
//!
//! let theirs = Bucket::open_reader(&location)?;
//! assert_eq!(theirs.get("window/000042/payload", 1 << 20).await?, "sealed");
//! # Ok::<(), templar_bucket::BucketError>(()) }).unwrap();
//! ```

#[cfg(feature = "client")]
mod answer;
mod blocking;
mod bucket;
#[cfg(feature = "client")]
mod connector;
mod credentials;
mod error;
mod folder;
#[cfg(feature = "client")]
mod identity;
mod key;
mod large;
mod location;
mod memory;
mod object;
mod object_folder;
mod observed;
mod options;
mod retry;
#[cfg(feature = "client")]
mod s3;
#[cfg(feature = "server")]
mod server;
mod store;
#[cfg(feature = "client")]
mod tls;

pub use bytes::Bytes;

pub use bucket::Bucket;
pub use credentials::Credentials;
pub use error::BucketError;
pub use key::{MAX_KEY_BYTES, MAX_SEGMENT_BYTES, MAX_SEGMENTS, check_key};
pub use large::{Complaint, Delivery, LargeObject, LargeSource, PART_BYTES, PartIndex, download, download_to_file};
pub use location::{BucketLocation, LocationKind, MAX_LOCATION_BYTES, Reach};
pub use object::{ListPage, ObjectEntry, ObjectFacts, PutMode, PutOutcome};
pub use observed::TrafficObserver;
pub use options::BucketOptions;
#[cfg(feature = "server")]
pub use server::{BucketMetrics, BucketServer, KeyRing, ServerError, ServerOptions, WriteKey};
pub use store::Store;
#[cfg(feature = "client")]
pub use tls::client_config as tls_client_config;
