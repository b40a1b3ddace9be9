//! A store of a user's own under a bucket: the bucket keeps deadlines, retries and checks.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use templar_bucket::{
    Bucket, BucketError, BucketLocation, BucketOptions, Bytes, ObjectEntry, ObjectFacts, PutMode, PutOutcome, Store,
};
use templar_testing::bucket_contract::{self, Subject, options};

/// Another store, before which the first calls of each kind fail or never end.
#[derive(Debug)]
struct Faulty {
    store: Arc<dyn Store>,
    failures: AtomicU32,
    hangs: bool,
}

impl Faulty {
    fn over(bucket: &Bucket, failures: u32, hangs: bool) -> Arc<Self> {
        Arc::new(Self { store: Arc::clone(bucket.store()), failures: AtomicU32::new(failures), hangs })
    }

    async fn fail(&self) -> Result<(), BucketError> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let left = self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        match left {
            Ok(_) => Err(BucketError::Unreachable { operation: "test", reason: "as planned".to_owned() }),
            Err(_) => Ok(()),
        }
    }
}

#[async_trait]
impl Store for Faulty {
    /// The answer is lost after the object is stored, as it happens in networks.
    async fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<PutOutcome, BucketError> {
        let outcome = self.store.put(key, bytes, mode).await?;
        self.fail().await.map(|()| outcome)
    }

    async fn get(&self, key: &str, max_bytes: u64) -> Result<Bytes, BucketError> {
        self.fail().await?;
        self.store.get(key, max_bytes).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, BucketError> {
        self.fail().await?;
        self.store.get_range(key, range).await
    }

    async fn head(&self, key: &str) -> Result<ObjectFacts, BucketError> {
        self.fail().await?;
        self.store.head(key).await
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<(Vec<ObjectEntry>, bool), BucketError> {
        self.fail().await?;
        self.store.list(prefix, after, limit).await
    }

    async fn delete(&self, key: &str) -> Result<(), BucketError> {
        self.fail().await?;
        self.store.delete(key).await
    }
}

fn memory(name: &str) -> Bucket {
    Bucket::open_writer(&BucketLocation::memory(name).unwrap(), None).unwrap()
}

fn quick() -> BucketOptions {
    BucketOptions { first_pause: Duration::from_millis(1), ..options() }
}

#[tokio::test]
async fn failures_of_a_store_are_retried_and_a_lost_answer_is_recognised() {
    let inner = memory("own-retried");
    let over = |failures| Bucket::over(Faulty::over(&inner, failures, false), inner.location().clone(), quick());
    assert_eq!(over(2).put_if_absent("a", "mine".into()).await.unwrap(), PutOutcome::Created);
    assert_eq!(over(1).get("a", 10).await.unwrap(), "mine");
    assert_eq!(over(0).put_if_absent("a", "other".into()).await.unwrap(), PutOutcome::AlreadyExists);
    let error = over(100).get("a", 10).await.unwrap_err();
    assert!(matches!(error, BucketError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_store_that_never_answers_meets_the_deadline() {
    let inner = memory("own-deadline");
    let options = BucketOptions { deadline: Duration::from_millis(50), ..quick() };
    let bucket = Bucket::over(Faulty::over(&inner, 0, true), inner.location().clone(), options);
    let error = bucket.get("a", 10).await.unwrap_err();
    assert!(matches!(error, BucketError::DeadlineExceeded { .. }), "{error}");
}

#[tokio::test]
async fn a_wrapped_store_keeps_the_contract_and_a_reader_cannot_write() {
    let inner = memory("own-contract");
    let over = |bucket: &Bucket| Bucket::over(Faulty::over(bucket, 0, false), bucket.location().clone(), quick());
    let subject = || Subject { writer: over(&inner), reader: over(&inner).read_only(), strangers: Vec::new() };
    bucket_contract::what_is_put_is_got(subject()).await;
    bucket_contract::a_reader_cannot_write(subject()).await;
    bucket_contract::bad_keys_are_refused(subject()).await;
    bucket_contract::a_large_object_goes_by_parts_and_comes_back(subject()).await;
}
