//! The handle of a bucket: checks, deadlines and retries, the same over every backend.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use crate::folder::FolderStore;
use crate::identity::Identity;
use crate::key::{check_key, folder_prefix};
use crate::location::Place;
use crate::memory::MemoryStore;
use crate::retry::RetryBudget;
use crate::s3::S3Store;
use crate::{BucketError, BucketLocation, BucketOptions, Credentials};

/// What [`Bucket::put_if_absent`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object is now there, and it is ours.
    Created,
    /// There was an object already; it is unchanged.
    AlreadyExists,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEntry {
    /// Its key.
    pub key: String,
    /// Its size in bytes, as the bucket tells it.
    pub size: u64,
}

/// What a bucket tells of an object without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFacts {
    /// Its size in bytes.
    pub size: u64,
    /// When it was stored, by the bucket's own clock and mostly in whole seconds: for people, never for an order.
    pub modified: SystemTime,
}

/// One page of a listing, sorted by the bytes of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// The objects.
    pub objects: Vec<ObjectEntry>,
    /// What to pass as `after` for the next page; `None` at the end.
    pub next_after: Option<String>,
}

/// A handle to one bucket; clones share the connections. Needs a tokio runtime when it is used.
#[derive(Debug, Clone)]
pub struct Bucket {
    location: BucketLocation,
    options: Arc<BucketOptions>,
    backend: Backend,
    writable: bool,
}

#[derive(Debug, Clone)]
enum Backend {
    Folder(Arc<FolderStore>),
    Memory(Arc<MemoryStore>),
    S3(Arc<S3Store>),
}

impl Bucket {
    /// Opens a bucket for reading, without any secret. Nothing is contacted yet.
    pub fn open_reader(location: &BucketLocation) -> Result<Self, BucketError> {
        Self::open(location, None, false, BucketOptions::default())
    }

    /// Opens one's own bucket for reading and writing. A folder is made if needed. S3 needs `credentials`; where none
    /// are given they are looked for as [`Credentials::find`] does, and Amazon's own servers also take the machine's
    /// role.
    pub fn open_writer(location: &BucketLocation, credentials: Option<Credentials>) -> Result<Self, BucketError> {
        Self::open(location, credentials, true, BucketOptions::default())
    }

    /// Like [`Bucket::open_reader`] with chosen patience.
    pub fn open_reader_with(location: &BucketLocation, options: BucketOptions) -> Result<Self, BucketError> {
        Self::open(location, None, false, options)
    }

    /// Like [`Bucket::open_writer`] with chosen patience.
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
        let backend = match location.place() {
            Place::Folder(path) if writable => {
                let store = FolderStore::writer(path).map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => {
                        BucketError::Failed { operation: "opening the folder", reason: error.to_string() }
                    }
                    _ => BucketError::from_io("opening the folder", "", &error),
                })?;
                Backend::Folder(Arc::new(store))
            }
            Place::Folder(path) => Backend::Folder(Arc::new(FolderStore::reader(path))),
            Place::Memory(name) => Backend::Memory(MemoryStore::named(name)),
            Place::S3 { bucket, endpoint, region } => {
                let identity = match writable {
                    true => Identity::of_writer(credentials, endpoint)?,
                    false => Identity::Anybody,
                };
                Backend::S3(Arc::new(S3Store::open(bucket, endpoint, region, identity, &options)?))
            }
        };
        Ok(Self { location: location.clone(), options: Arc::new(options), backend, writable })
    }

    /// Where this bucket is.
    pub fn location(&self) -> &BucketLocation {
        &self.location
    }

    /// Stores an object whole, over an older one of this key.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BucketError> {
        self.check_write("put", key)?;
        self.patiently("put", |_| self.store("put", key, bytes.clone(), false)).await.map(|_| ())
    }

    /// Stores an object whole if there is none of this key; of any number of racing callers, one creates it.
    pub async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<PutOutcome, BucketError> {
        const OPERATION: &str = "put if absent";
        self.check_write(OPERATION, key)?;
        self.patiently(OPERATION, |attempt| {
            let bytes = bytes.clone();
            async move {
                let outcome = self.store(OPERATION, key, bytes.clone(), true).await?;
                if attempt > 0 && outcome == PutOutcome::AlreadyExists {
                    // The answer to our first attempt may be what got lost: then the object that is there is ours.
                    match self.fetch(OPERATION, key, bytes.len() as u64).await {
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

    /// Reads an object of at most `max_bytes`. A larger one is refused before its body is read, and a body that is
    /// longer than announced is cut off at the limit.
    pub async fn get(&self, key: &str, max_bytes: u64) -> Result<Bytes, BucketError> {
        check_key(key)?;
        self.patiently("get", |_| self.fetch("get", key, max_bytes)).await
    }

    /// Reads the bytes `range` of an object; the answer is shorter where the object ends earlier.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, BucketError> {
        const OPERATION: &str = "get range";
        check_key(key)?;
        if range.is_empty() {
            return Err(BucketError::RangeOutside { key: key.to_owned(), start: range.start, end: range.end });
        }
        self.patiently(OPERATION, |_| async {
            match &self.backend {
                Backend::Folder(store) => {
                    let (store, key, range) = (store.clone(), key.to_owned(), range.clone());
                    blocking(OPERATION, move || {
                        let (file, metadata) =
                            store.open(&key).map_err(|error| BucketError::from_io(OPERATION, &key, &error))?;
                        let range = clip(&key, range, metadata.len())?;
                        read_file(file, range).map_err(|error| BucketError::from_io(OPERATION, &key, &error))
                    })
                    .await
                }
                Backend::Memory(store) => {
                    let bytes = store.get(key).ok_or_else(|| BucketError::NotFound { key: key.to_owned() })?;
                    let range = clip(key, range.clone(), bytes.len() as u64)?;
                    Ok(bytes.slice(range.start as usize..range.end as usize))
                }
                Backend::S3(store) => store.get_range(OPERATION, key, range.clone()).await,
            }
        })
        .await
    }

    /// Size and age of an object, as the bucket tells them.
    pub async fn head(&self, key: &str) -> Result<ObjectFacts, BucketError> {
        const OPERATION: &str = "head";
        check_key(key)?;
        self.patiently(OPERATION, |_| async {
            match &self.backend {
                Backend::Folder(store) => {
                    let (store, key) = (store.clone(), key.to_owned());
                    blocking(OPERATION, move || {
                        let facts = store.open(&key).and_then(|(_, metadata)| {
                            Ok(ObjectFacts { size: metadata.len(), modified: metadata.modified()? })
                        });
                        facts.map_err(|error| BucketError::from_io(OPERATION, &key, &error))
                    })
                    .await
                }
                Backend::Memory(store) => store.facts(key).ok_or_else(|| BucketError::NotFound { key: key.to_owned() }),
                Backend::S3(store) => store.head(OPERATION, key).await,
            }
        })
        .await
    }

    /// A URL by which anybody can read an object for a while, for buckets that not everybody may read. Only of S3.
    pub async fn presigned_read(&self, key: &str, valid_for: Duration) -> Result<String, BucketError> {
        const OPERATION: &str = "signing a URL";
        self.check_write(OPERATION, key)?;
        match &self.backend {
            Backend::S3(store) => store.presigned_read(OPERATION, key, valid_for).await,
            Backend::Folder(_) | Backend::Memory(_) => {
                let reason = "folders and memory have no URLs".to_owned();
                Err(BucketError::Failed { operation: OPERATION, reason })
            }
        }
    }

    /// One page of the objects below `prefix` (whole segments, such as `window/000042`; empty for all) whose keys sort
    /// after `after`, at most `limit` of them. A folder or memory bucket that nobody wrote to is empty.
    pub async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<ListPage, BucketError> {
        const OPERATION: &str = "list";
        let prefix = folder_prefix(prefix)?;
        let after = after.unwrap_or_default();
        if !after.is_empty() {
            check_key(after)?;
        }
        let (objects, more) = self
            .patiently(OPERATION, |_| async {
                match &self.backend {
                    Backend::Folder(store) => {
                        let (store, prefix, after) = (store.clone(), prefix.clone(), after.to_owned());
                        blocking(OPERATION, move || {
                            store
                                .list(&prefix, &after, limit)
                                .map_err(|error| BucketError::from_io(OPERATION, &prefix, &error))
                        })
                        .await
                    }
                    Backend::Memory(store) => Ok(store.list(&prefix, after, limit)),
                    Backend::S3(store) => store.list(OPERATION, &prefix, after, limit).await,
                }
            })
            .await?;
        let last = objects.last().map(|entry| entry.key.clone());
        Ok(ListPage { objects, next_after: if more { last } else { None } })
    }

    /// Deletes an object; it is no error if there is none.
    pub async fn delete(&self, key: &str) -> Result<(), BucketError> {
        const OPERATION: &str = "delete";
        self.check_write(OPERATION, key)?;
        self.patiently(OPERATION, |_| async {
            match &self.backend {
                Backend::Folder(store) => {
                    let (store, key) = (store.clone(), key.to_owned());
                    blocking(OPERATION, move || {
                        store.delete(&key).map_err(|error| BucketError::from_io(OPERATION, &key, &error))
                    })
                    .await
                }
                Backend::Memory(store) => {
                    store.delete(key);
                    Ok(())
                }
                Backend::S3(store) => store.delete(OPERATION, key).await,
            }
        })
        .await
    }

    fn check_write(&self, operation: &'static str, key: &str) -> Result<(), BucketError> {
        check_key(key)?;
        if !self.writable {
            return Err(BucketError::Refused { operation, reason: "the bucket was opened for reading".to_owned() });
        }
        Ok(())
    }

    async fn store(
        &self,
        operation: &'static str,
        key: &str,
        bytes: Bytes,
        only_if_absent: bool,
    ) -> Result<PutOutcome, BucketError> {
        match &self.backend {
            Backend::Folder(store) => {
                let (store, key) = (store.clone(), key.to_owned());
                blocking(operation, move || {
                    let stored = store.stage().and_then(|mut staged| {
                        staged.write_all(&bytes)?;
                        store.publish(staged, &key, only_if_absent)
                    });
                    stored.map_err(|error| match error.kind() {
                        io::ErrorKind::NotFound => BucketError::Failed { operation, reason: error.to_string() },
                        _ => BucketError::from_io(operation, &key, &error),
                    })
                })
                .await
            }
            Backend::Memory(store) => Ok(store.put(key, bytes, only_if_absent)),
            Backend::S3(store) => store.put(operation, key, bytes, only_if_absent).await,
        }
    }

    async fn fetch(&self, operation: &'static str, key: &str, max_bytes: u64) -> Result<Bytes, BucketError> {
        let check_size = move |key: &str, size: u64| match size > max_bytes {
            true => Err(BucketError::TooLarge { key: key.to_owned(), size, limit: max_bytes }),
            false => Ok(()),
        };
        match &self.backend {
            Backend::Folder(store) => {
                let (store, key) = (store.clone(), key.to_owned());
                blocking(operation, move || {
                    let (file, metadata) =
                        store.open(&key).map_err(|error| BucketError::from_io(operation, &key, &error))?;
                    check_size(&key, metadata.len())?;
                    read_file(file, 0..metadata.len()).map_err(|error| BucketError::from_io(operation, &key, &error))
                })
                .await
            }
            Backend::Memory(store) => {
                let bytes = store.get(key).ok_or_else(|| BucketError::NotFound { key: key.to_owned() })?;
                check_size(key, bytes.len() as u64)?;
                Ok(bytes)
            }
            Backend::S3(store) => store.get(operation, key, max_bytes).await,
        }
    }

    /// One try of [`Bucket::get`], under the deadline of a call.
    pub(crate) async fn get_once(&self, key: &str, max_bytes: u64, patience: Duration) -> Result<Bytes, BucketError> {
        const OPERATION: &str = "get";
        check_key(key)?;
        let late = BucketError::DeadlineExceeded { operation: OPERATION, deadline: patience };
        timeout(patience, self.fetch(OPERATION, key, max_bytes)).await.unwrap_or(Err(late))
    }

    /// One try of [`Bucket::put`], under the deadline of a call.
    pub(crate) async fn put_once(&self, key: &str, bytes: Bytes) -> Result<(), BucketError> {
        const OPERATION: &str = "put";
        self.check_write(OPERATION, key)?;
        let patience = self.options.deadline;
        let late = BucketError::DeadlineExceeded { operation: OPERATION, deadline: patience };
        timeout(patience, self.store(OPERATION, key, bytes, false)).await.unwrap_or(Err(late)).map(|_| ())
    }

    /// How patient this handle is.
    pub(crate) fn options(&self) -> &BucketOptions {
        &self.options
    }

    /// Runs `operation` until it succeeds, fails for good, or the attempts or the deadline are used up.
    async fn patiently<T, F, Fut>(&self, operation: &'static str, mut attempt_once: F) -> Result<T, BucketError>
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
                // What an earlier attempt said tells more than the passing of time.
                Err(_) => return Err(last_error),
            };
            attempt += 1;
            let Some(pause) = budget.next_pause(&error).filter(|pause| Instant::now() + *pause < deadline) else {
                return Err(error);
            };
            // What is wrong with the own bucket is for its owner to mend.
            if self.writable && attempt == 1 {
                tracing::warn!(operation, %error, "the own bucket fails; trying again");
            } else {
                tracing::debug!(operation, attempt, %error, "trying again");
            }
            last_error = error;
            sleep(pause).await;
        }
    }
}

/// Runs disk work on a blocking thread.
pub(crate) async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T, BucketError> + Send + 'static,
) -> Result<T, BucketError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(BucketError::Failed { operation, reason: error.to_string() }),
    }
}

/// Cuts a range at the end of an object of `size` bytes.
pub(crate) fn clip(key: &str, range: Range<u64>, size: u64) -> Result<Range<u64>, BucketError> {
    if range.start >= size || range.is_empty() {
        return Err(BucketError::RangeOutside { key: key.to_owned(), start: range.start, end: range.end });
    }
    Ok(range.start..range.end.min(size))
}

/// Reads exactly `range`, which lies within the file.
fn read_file(mut file: File, range: Range<u64>) -> io::Result<Bytes> {
    let length = range.end - range.start;
    let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
    file.seek(SeekFrom::Start(range.start))?;
    // Objects are never changed in place, so the file has not become shorter since its size was asked.
    file.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes.into())
}
