//! The handle of a bucket: checks, deadlines and retries, the same over every store.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use templar_base::AtFault;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use crate::folder::FolderStore;
use crate::key::{check_key, folder_prefix};
use crate::location::Place;
use crate::memory::MemoryStore;
use crate::observed::ObservedStore;
use crate::retry::RetryBudget;
use crate::store::Store;
use crate::{
    BucketError, BucketLocation, BucketOptions, Credentials, ListPage, ObjectFacts, PutMode, PutOutcome,
    TrafficObserver,
};

/// A handle to one bucket; clones share the connections. Needs a tokio runtime when it is used.
#[derive(Debug, Clone)]
pub struct Bucket {
    location: BucketLocation,
    options: Arc<BucketOptions>,
    store: Arc<dyn Store>,
    writable: bool,
}

impl Bucket {
    /// Opens a bucket for reading, without any secret. Nothing is contacted yet.
    pub fn open_reader(location: &BucketLocation) -> Result<Self, BucketError> {
        Self::open(location, None, false, BucketOptions::default())
    }

    /// Opens one's own bucket for reading and writing. A folder is created if needed. S3 needs `credentials`; where none
    /// are given they are looked for as [`Credentials::find`] does, and Amazon's own servers also take the machine's
    /// role.
    pub fn open_writer(location: &BucketLocation, credentials: Option<Credentials>) -> Result<Self, BucketError> {
        Self::open(location, credentials, true, BucketOptions::default())
    }

    /// Like [`Bucket::open_reader`] with other options.
    pub fn open_reader_with(location: &BucketLocation, options: BucketOptions) -> Result<Self, BucketError> {
        Self::open(location, None, false, options)
    }

    /// Like [`Bucket::open_writer`] with other options.
    pub fn open_writer_with(
        location: &BucketLocation,
        credentials: Option<Credentials>,
        options: BucketOptions,
    ) -> Result<Self, BucketError> {
        Self::open(location, credentials, true, options)
    }

    fn open(
        location: &BucketLocation,
        credentials: Option<Credentials>,
        writable: bool,
        options: BucketOptions,
    ) -> Result<Self, BucketError> {
        #[cfg(not(feature = "client"))]
        let _ = credentials;
        let store: Arc<dyn Store> = match location.place() {
            Place::Folder(path) if writable => Arc::new(FolderStore::writer(path)?),
            Place::Folder(path) => Arc::new(FolderStore::reader(path)),
            Place::Memory(name) => MemoryStore::named(name),
            #[cfg(feature = "client")]
            Place::S3 { bucket, endpoint, region } => {
                let server = crate::s3::Server { bucket, endpoint, region };
                crate::s3::open(&server, credentials, writable, &options)?
            }
            #[cfg(not(feature = "client"))]
            Place::S3 { .. } => {
                let reason = "this program is built without the feature `client` of templar-bucket".to_owned();
                return Err(BucketError::Failed { operation: "opening the bucket", reason });
            }
        };
        Ok(Self { location: location.clone(), options: Arc::new(options), store, writable })
    }

    /// A bucket over a store of one's own, to read and to write. `location` is what others are told of where it is.
    ///
    /// So a store can be wrapped, such as to inject faults:
    /// `Bucket::over(Arc::new(Faulty::new(bucket.store().clone())), bucket.location().clone(), options)`.
    pub fn over(store: Arc<dyn Store>, location: BucketLocation, options: BucketOptions) -> Self {
        Self { location, options: Arc::new(options), store, writable: true }
    }

    /// The same bucket, with somebody who hears of its traffic.
    pub fn observed_by(self, observer: Arc<dyn TrafficObserver>) -> Self {
        let store = Arc::new(ObservedStore { store: self.store, observer });
        Self { store, ..self }
    }

    /// The same bucket for reading only.
    pub fn read_only(self) -> Self {
        Self { writable: false, ..self }
    }

    /// The store behind it, without deadlines, retries and checks.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Where this bucket is.
    pub fn location(&self) -> &BucketLocation {
        &self.location
    }

    /// Stores an object whole, over an older one of this key.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BucketError> {
        self.check_write("put", key)?;
        self.with_retries("put", |_| self.store.put(key, bytes.clone(), PutMode::Replace)).await.map(|_| ())
    }

    /// Stores an object whole if there is none of this key; of any number of racing callers, one creates it.
    pub async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<PutOutcome, BucketError> {
        let operation = PutMode::Create.operation();
        self.check_write(operation, key)?;
        self.with_retries(operation, |attempt| {
            let bytes = bytes.clone();
            async move {
                let outcome = self.store.put(key, bytes.clone(), PutMode::Create).await?;
                if attempt > 0 && outcome == PutOutcome::AlreadyExists {
                    // The answer to our first attempt may have been lost: then the existing object is ours.
                    match self.store.get(key, bytes.len() as u64).await {
                        Ok(stored) if stored == bytes => return Ok(PutOutcome::Created),
                        Err(error) if error.is_retryable() => return Err(error),
                        _ => {}
                    }
                }
                Ok(outcome)
            }
        })
        .await
    }

    /// Reads an object of at most `max_bytes`. A larger one is rejected before its body is read, and a body that is
    /// longer than announced is cut off at the limit.
    pub async fn get(&self, key: &str, max_bytes: u64) -> Result<Bytes, BucketError> {
        check_key(key)?;
        self.with_retries("get", |_| self.store.get(key, max_bytes)).await
    }

    /// Reads the bytes `range` of an object; the answer is shorter where the object ends earlier.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, BucketError> {
        check_key(key)?;
        if range.is_empty() {
            return Err(BucketError::RangeOutside { key: key.to_owned(), start: range.start, end: range.end });
        }
        self.with_retries("get range", |_| self.store.get_range(key, range.clone())).await
    }

    /// Size and age of an object, as the bucket reports them.
    pub async fn head(&self, key: &str) -> Result<ObjectFacts, BucketError> {
        check_key(key)?;
        self.with_retries("head", |_| self.store.head(key)).await
    }

    /// A URL by which anybody can read an object for some time, for buckets that not everybody may read. Only of S3.
    pub async fn presigned_read(&self, key: &str, valid_for: Duration) -> Result<String, BucketError> {
        self.check_write("signing a URL", key)?;
        self.store.presigned_read(key, valid_for).await
    }

    /// One page of the objects below `prefix` (whole segments, such as `window/000042`; empty for all) whose keys sort
    /// after `after`, at most `limit` of them. A folder or memory bucket that nobody wrote to is empty.
    pub async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<ListPage, BucketError> {
        let prefix = folder_prefix(prefix)?;
        let after = after.unwrap_or_default();
        if !after.is_empty() {
            check_key(after)?;
        }
        let (objects, more) = self.with_retries("list", |_| self.store.list(&prefix, after, limit)).await?;
        let last = objects.last().map(|entry| entry.key.clone());
        Ok(ListPage { objects, next_after: if more { last } else { None } })
    }

    /// Deletes an object; a missing one is not an error.
    pub async fn delete(&self, key: &str) -> Result<(), BucketError> {
        self.check_write("delete", key)?;
        self.with_retries("delete", |_| self.store.delete(key)).await
    }

    fn check_write(&self, operation: &'static str, key: &str) -> Result<(), BucketError> {
        check_key(key)?;
        if !self.writable {
            let (reason, advice) = ("the bucket was opened for reading".to_owned(), "open it as its writer".to_owned());
            return Err(BucketError::Refused { operation, reason, advice });
        }
        Ok(())
    }

    /// One attempt of [`Bucket::get`], within `deadline`.
    pub(crate) async fn get_once(&self, key: &str, max_bytes: u64, deadline: Duration) -> Result<Bytes, BucketError> {
        check_key(key)?;
        let late = BucketError::DeadlineExceeded { operation: "get", deadline };
        timeout(deadline, self.store.get(key, max_bytes)).await.unwrap_or(Err(late))
    }

    /// One attempt of [`Bucket::put`], within the deadline of a call.
    pub(crate) async fn put_once(&self, key: &str, bytes: Bytes) -> Result<(), BucketError> {
        self.check_write("put", key)?;
        let deadline = self.options.deadline;
        let late = BucketError::DeadlineExceeded { operation: "put", deadline };
        timeout(deadline, self.store.put(key, bytes, PutMode::Replace)).await.unwrap_or(Err(late)).map(|_| ())
    }

    /// Deadlines, retries and parallelism of this handle.
    pub(crate) fn options(&self) -> &BucketOptions {
        &self.options
    }

    /// Runs `operation` until it succeeds, fails for good, or the attempts or the deadline are used up.
    async fn with_retries<T, F, Fut>(&self, operation: &'static str, mut attempt_once: F) -> Result<T, BucketError>
    where
        F: FnMut(u32) -> Fut,
        Fut: Future<Output = Result<T, BucketError>>,
    {
        let deadline = Instant::now() + self.options.deadline;
        let budget = RetryBudget::new(&self.options);
        let mut last_error = BucketError::DeadlineExceeded { operation, deadline: self.options.deadline };
        let mut attempt = 0;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match timeout(left, attempt_once(attempt)).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => error,
                // The error of an earlier attempt says more than the passing of time.
                Err(_) => return Err(last_error),
            };
            attempt += 1;
            let Some(pause) = budget.next_pause(&error).filter(|pause| Instant::now() + *pause < deadline) else {
                return Err(error);
            };
            // A fault of the node's own bucket is for its owner to fix.
            if self.writable && attempt == 1 {
                tracing::warn!(operation, %error, "the node's own bucket fails; retrying");
            } else {
                tracing::debug!(operation, attempt, %error, "retrying");
            }
            last_error = error;
            sleep(pause).await;
        }
    }
}
