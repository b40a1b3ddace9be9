//! A store whose traffic somebody counts.

use crate::{BucketError, ObjectEntry, ObjectFacts, PutMode, PutOutcome, Store};
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Hears of each attempt at a bucket, retries included. Called between awaits: it must not block.
pub trait TrafficObserver: fmt::Debug + Send + Sync {
    /// Bytes of an object came.
    fn received(&self, key: &str, bytes: u64);

    /// Bytes of an object went.
    fn sent(&self, key: &str, bytes: u64);

    /// An attempt failed. A missing object is none: peers look for what is not there yet.
    fn failed(&self, operation: &'static str);
}

/// A store and who hears of its traffic.
#[derive(Debug)]
pub(crate) struct ObservedStore {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) observer: Arc<dyn TrafficObserver>,
}

impl ObservedStore {
    fn note<T>(&self, operation: &'static str, outcome: Result<T, BucketError>) -> Result<T, BucketError> {
        if outcome.as_ref().is_err_and(|error| !matches!(error, BucketError::NotFound { .. })) {
            self.observer.failed(operation);
        }
        outcome
    }
}

#[async_trait]
impl Store for ObservedStore {
    async fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<PutOutcome, BucketError> {
        let size = bytes.len() as u64;
        let outcome = self.note("put", self.store.put(key, bytes, mode).await)?;
        if outcome == PutOutcome::Created {
            self.observer.sent(key, size);
        }
        Ok(outcome)
    }

    async fn get(&self, key: &str, max_bytes: u64) -> Result<Bytes, BucketError> {
        let bytes = self.note("get", self.store.get(key, max_bytes).await)?;
        self.observer.received(key, bytes.len() as u64);
        Ok(bytes)
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, BucketError> {
        let bytes = self.note("get", self.store.get_range(key, range).await)?;
        self.observer.received(key, bytes.len() as u64);
        Ok(bytes)
    }

    async fn head(&self, key: &str) -> Result<ObjectFacts, BucketError> {
        self.note("head", self.store.head(key).await)
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<(Vec<ObjectEntry>, bool), BucketError> {
        self.note("list", self.store.list(prefix, after, limit).await)
    }

    async fn delete(&self, key: &str) -> Result<(), BucketError> {
        self.note("delete", self.store.delete(key).await)
    }

    async fn presigned_read(&self, key: &str, valid_for: Duration) -> Result<String, BucketError> {
        self.note("sign", self.store.presigned_read(key, valid_for).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bucket, BucketLocation};
    use std::sync::Mutex;

    #[derive(Debug, Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Heard {
        fn add(&self, line: String) {
            self.0.lock().unwrap().push(line);
        }
    }

    impl TrafficObserver for Heard {
        fn received(&self, key: &str, bytes: u64) {
            self.add(format!("received {key} {bytes}"));
        }
        fn sent(&self, key: &str, bytes: u64) {
            self.add(format!("sent {key} {bytes}"));
        }
        fn failed(&self, operation: &'static str) {
            self.add(format!("failed {operation}"));
        }
    }

    #[tokio::test]
    async fn what_comes_goes_and_fails_is_heard_and_what_is_missing_is_not() {
        let heard = Arc::new(Heard::default());
        let location = BucketLocation::memory("observed").unwrap();
        let bucket = Bucket::open_writer(&location, None).unwrap().observed_by(heard.clone());
        bucket.put("a/b", "four".into()).await.unwrap();
        bucket.put_if_absent("a/b", "other".into()).await.unwrap();
        bucket.get("a/b", 10).await.unwrap();
        bucket.get_range("a/b", 1..3).await.unwrap();
        bucket.get("a/b", 1).await.unwrap_err();
        bucket.get("a/none", 1).await.unwrap_err();
        let wanted = ["sent a/b 4", "received a/b 4", "received a/b 2", "failed get"];
        assert_eq!(*heard.0.lock().unwrap(), wanted);
    }
}
