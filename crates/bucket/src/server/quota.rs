//! How many bytes a bucket may hold, counted before they come.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::index::{Index, Stored};

/// The quota of every bucket of the server.
#[derive(Debug)]
pub(super) struct Quota {
    max_bytes: u64,
    index: Arc<Index>,
    /// By bucket: what is on its way, and the parts of unfinished uploads.
    reserved: Mutex<BTreeMap<String, u64>>,
    /// Writes that found no room.
    rejections: AtomicU64,
}

/// Room in a bucket, for bytes that are no object yet; given back when this is dropped.
#[derive(Debug)]
pub(super) struct Room {
    quota: Arc<Quota>,
    bucket: String,
    bytes: u64,
}

impl Quota {
    pub(super) fn new(max_bytes: u64, index: Arc<Index>) -> Self {
        Self { max_bytes, index, reserved: Mutex::default(), rejections: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most bytes of a bucket.
    pub(super) fn limit(&self) -> u64 {
        self.max_bytes
    }

    /// What all buckets hold, and the bytes that are no objects yet.
    pub(super) fn stored(&self) -> (Stored, u64) {
        (self.index.stored(), self.lock().values().sum())
    }

    /// Writes that found no room, since the start.
    pub(super) fn rejections(&self) -> u64 {
        self.rejections.load(Ordering::Relaxed)
    }

    /// Room for this many bytes; it can grow.
    pub(super) fn room(self: &Arc<Self>, bucket: &str, bytes: u64) -> S3Result<Room> {
        let mut room = Room { quota: Arc::clone(self), bucket: bucket.to_owned(), bytes: 0 };
        room.grow_to(bytes)?;
        Ok(room)
    }

    fn exceeded(&self, bucket: &str, used: u64, more: u64) -> S3Error {
        let text = format!(
            "bucket {bucket} uses {used} bytes of its quota of {} and has no room for {more} more; delete objects, or \
             let the server's operator raise the setting `bucket_quota_gb`",
            self.max_bytes
        );
        let mut error = S3Error::with_message(S3ErrorCode::Custom("QuotaExceeded".into()), text);
        error.set_status_code(StatusCode::INSUFFICIENT_STORAGE);
        error
    }
}

impl Room {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes room for this many bytes in all; fails where the bucket has not that much, and then keeps what it has.
    /// An object that will be replaced counts until it is: both are on the disk for a moment.
    pub(super) fn grow_to(&mut self, bytes: u64) -> S3Result<()> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let mut reserved = self.quota.lock();
        let of_bucket = reserved.entry(self.bucket.clone()).or_default();
        let used = self.quota.index.bytes(&self.bucket).saturating_add(*of_bucket);
        if used.saturating_add(more) > self.quota.max_bytes {
            if *of_bucket == 0 {
                reserved.remove(&self.bucket);
            }
            self.quota.rejections.fetch_add(1, Ordering::Relaxed);
            return Err(self.quota.exceeded(&self.bucket, used, more));
        }
        *of_bucket += more;
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut reserved = self.quota.lock();
        if let Some(of_bucket) = reserved.get_mut(&self.bucket) {
            *of_bucket = of_bucket.saturating_sub(self.bytes);
            if *of_bucket == 0 {
                reserved.remove(&self.bucket);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_once_and_comes_back() {
        let index = Arc::new(Index::load(tempfile::tempdir().unwrap().path()).unwrap());
        let quota = Arc::new(Quota::new(100, index));
        let mut first = quota.room("one", 60).unwrap();
        let refused = quota.room("one", 41).unwrap_err();
        assert!(refused.message().unwrap().contains("one uses 60 bytes of its quota of 100"), "{refused:?}");
        assert!(first.grow_to(101).is_err() && first.bytes() == 60);
        first.grow_to(100).unwrap();
        assert!(quota.room("two", 100).is_ok() && quota.room("one", 1).is_err());
        drop(first);
        assert!(quota.lock().is_empty());
        assert!(quota.room("one", 101).is_err() && quota.lock().is_empty());
    }
}
