//! Object storage behind one small API, and an embedded S3-compatible server.
//!
//! A node of templar writes only in its own bucket and reads everybody's. [`Bucket`] reaches a local folder, the
//! memory of the process, or any S3-compatible server, with the same answers from each: typed errors, a deadline on
//! every call, and a size limit that is enforced before an object is read, because every object may come from a
//! stranger. [`BucketServer`] speaks the same protocol for those who have no bucket elsewhere. Objects are bytes here;
//! nothing in this crate interprets them.
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

mod bucket;
mod connector;
mod credentials;
mod error;
mod folder;
mod identity;
mod key;
mod large;
mod location;
mod memory;
mod options;
mod retry;
mod s3;
pub mod seaweedfs;
mod server;

pub use bytes::Bytes;

pub use bucket::{Bucket, ListPage, ObjectEntry, ObjectFacts, PutOutcome};
pub use credentials::Credentials;
pub use error::BucketError;
pub use key::{MAX_KEY_BYTES, MAX_SEGMENT_BYTES, MAX_SEGMENTS, check_key};
pub use large::{Complaint, Delivery, LargeObject, LargeSource, PART_BYTES, PartIndex, download, download_to_file};
pub use location::{BucketLocation, LocationKind, MAX_LOCATION_BYTES};
pub use options::BucketOptions;
pub use server::{BucketServer, KeyRing, ServerError, ServerOptions, WriteKey};
