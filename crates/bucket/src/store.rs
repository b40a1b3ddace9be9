//! What a bucket is kept in.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{BucketError, ObjectEntry, ObjectFacts, PutMode, PutOutcome};

/// A place for objects: a folder, memory, an S3-compatible server, or one of your own, such as a wrapper that injects
/// faults or delays. [`Bucket`](crate::Bucket) puts deadlines, retries and checks of keys around it.
///
/// A call is one attempt. It may be dropped at any await, and then a write may or may not have happened. An error that
/// may pass is one of which [`templar_base::AtFault::is_retryable`] holds. Keys and prefixes are valid (see
/// [`check_key`](crate::check_key)) when they come here. `templar_testing::bucket_contract` has the rules that every
/// store keeps, as functions.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// Stores an object whole: a reader sees the old bytes or the new ones, never a part.
    async fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<PutOutcome, BucketError>;

    /// Reads an object of at most `max_bytes`. A larger one is rejected with [`BucketError::TooLarge`] before its body
    /// is taken.
    async fn get(&self, key: &str, max_bytes: u64) -> Result<Bytes, BucketError>;

    /// Reads the bytes `range` (not empty) of an object; fewer where the object ends earlier, and
    /// [`BucketError::RangeOutside`] where it ends before the range starts.
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, BucketError>;

    /// Size and age of an object.
    async fn head(&self, key: &str) -> Result<ObjectFacts, BucketError>;

    /// The objects whose key begins with `prefix` (empty, or ending in a slash) and sorts after `after`, in the order of
    /// the keys' bytes, at most `limit` of them; and whether there are more.
    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<(Vec<ObjectEntry>, bool), BucketError>;

    /// Deletes an object; a missing one is not an error.
    async fn delete(&self, key: &str) -> Result<(), BucketError>;

    /// A URL by which anybody can read an object for some time; most stores have none.
    async fn presigned_read(&self, _key: &str, _valid_for: Duration) -> Result<String, BucketError> {
        let reason = "only S3 has URLs".to_owned();
        Err(BucketError::Failed { operation: "signing a URL", reason })
    }
}
