//! Fetching a large object from all buckets that have it, at once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use templar_base::AtFault;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use templar_disk::{Disk, SystemDisk};
use tokio::time::sleep;

use super::index::{MAX_INDEX_BYTES, PartIndex};
use super::{folder_of, index_key, part_key};
use crate::blocking::blocking;
use crate::retry::RetryBudget;
use crate::{Bucket, BucketError};

const OPERATION: &str = "get by parts";
/// Largest object that is taken in one piece.
const MAX_WHOLE_BYTES: u64 = 64 << 20;
/// While there is another source to ask, one that is slower than this is left.
const SLOWEST_BYTES_PER_SECOND: u64 = 256 << 10;
/// What asking takes, besides the bytes.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub struct LargeObject<'a> {
    /// Its key in every source.
    pub key: &'a str,
    /// BLAKE3 of the whole object, known from elsewhere.
    pub hash: [u8; 32],
    /// The largest size that is taken.
    pub max_bytes: u64,
}

/// What came, and what is to be said of where it came from.
#[derive(Debug)]
pub struct Delivery<T> {
    /// The content, or its size where it went into a file. It has the hash that was asked for.
    pub content: T,
    /// What did not go well with some sources; at most one entry of a kind for each.
    pub complaints: Vec<Complaint>,
}

/// What one source did wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Its place among the sources.
    pub source: usize,
    /// What it did.
    pub error: BucketError,
}

/// Fetches an object into memory.
///
/// Parts come from all `sources` at once, as many at a time as the first one's options say; what a source does not
/// have, does not send in time or sends wrong, another is asked for. A source that sent wrong bytes is not asked again.
/// All sources and parts together have the retries of one call. Fails with [`BucketError::WrongContent`] where nobody
/// has the object and somebody has another one in its place.
pub async fn download(sources: &[Bucket], object: &LargeObject<'_>) -> Result<Delivery<Bytes>, BucketError> {
    let transfer = Transfer::new(sources, object);
    let content = match transfer.find().await? {
        Found::Whole(bytes) => bytes,
        Found::Parts(index) => {
            let size = usize::try_from(index.size()).map_err(|error| local(&io::Error::other(error)))?;
            // The index is the agreed object's, so that no stranger chose this size.
            let buffer = Mutex::new(BytesMut::zeroed(size));
            let store = |part: usize, bytes: Bytes| {
                let range = index.range(part);
                lock(&buffer)[range.start as usize..range.end as usize].copy_from_slice(&bytes);
                async { Ok(()) }
            };
            transfer.fetch_parts(&index, (0..index.parts()).collect(), store).await?;
            buffer.into_inner().unwrap_or_else(PoisonError::into_inner).freeze()
        }
    };
    Ok(Delivery { content, complaints: transfer.into_complaints() })
}

/// Fetches an object into a file, as [`download`] does; gives its size. Only the parts under way are in memory.
///
/// Until it is whole it lies beside it, with `.partial` at the end of its name; a later call for the same object takes
/// what is right of that and fetches the rest.
pub async fn download_to_file(
    sources: &[Bucket],
    object: &LargeObject<'_>,
    path: &Path,
) -> Result<Delivery<u64>, BucketError> {
    let transfer = Transfer::new(sources, object);
    let partial = beside(path);
    let size = match transfer.find().await? {
        Found::Whole(bytes) => {
            let (size, partial) = (bytes.len() as u64, partial.clone());
            blocking(OPERATION, move || fs::write(partial, bytes).map_err(|error| local(&error))).await?;
            size
        }
        Found::Parts(index) => {
            let index = Arc::new(index);
            let (own, own_index) = (partial.clone(), Arc::clone(&index));
            let opened = blocking(OPERATION, move || go_on(&own, &own_index).map_err(|error| local(&error)));
            let (file, missing) = opened.await?;
            let file = Arc::new(Mutex::new(file));
            let store = |part: usize, bytes: Bytes| {
                let (file, start) = (Arc::clone(&file), index.range(part).start);
                blocking(OPERATION, move || {
                    let mut file = lock(&file);
                    let written = file.seek(SeekFrom::Start(start)).and_then(|_| file.write_all(&bytes));
                    written.map_err(|error| local(&error))
                })
            };
            transfer.fetch_parts(&index, missing, store).await?;
            index.size()
        }
    };
    let path = path.to_owned();
    let named = move || {
        File::open(&partial)?.sync_all()?;
        fs::rename(&partial, &path)?;
        path.parent().map_or(Ok(()), |folder| SystemDisk.sync_folder(folder))
    };
    blocking(OPERATION, move || named().map_err(|error| local(&error))).await?;
    Ok(Delivery { content: size, complaints: transfer.into_complaints() })
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// Opens what an earlier call left and finds the parts that are missing from it.
fn go_on(partial: &Path, index: &PartIndex) -> io::Result<(File, Vec<usize>)> {
    let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(partial)?;
    let is_earlier = file.metadata()?.len() == index.size();
    file.set_len(index.size())?;
    let mut missing = Vec::new();
    for part in 0..index.parts() {
        let range = index.range(part);
        let is_there = is_earlier && {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.seek(SeekFrom::Start(range.start))?;
            file.read_exact(&mut bytes)?;
            index.holds(part, &bytes)
        };
        if !is_there {
            missing.push(part);
        }
    }
    Ok((file, missing))
}

fn local(error: &io::Error) -> BucketError {
    match BucketError::from_io(OPERATION, "", error) {
        full @ BucketError::Full { .. } => full,
        _ => BucketError::Failed { operation: OPERATION, reason: format!("the content cannot be kept: {error}") },
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

enum Found {
    Whole(Bytes),
    Parts(PartIndex),
}

/// What is known of one source.
#[derive(Debug, Clone, Copy, Default)]
struct Conduct {
    failures: u32,
    is_liar: bool,
}

/// One fetch under way.
struct Transfer<'a> {
    sources: &'a [Bucket],
    object: &'a LargeObject<'a>,
    folder: String,
    budget: Option<RetryBudget>,
    conduct: Mutex<Vec<Conduct>>,
    complaints: Mutex<Vec<Complaint>>,
}

impl<'a> Transfer<'a> {
    fn new(sources: &'a [Bucket], object: &'a LargeObject<'a>) -> Self {
        Self {
            sources,
            object,
            folder: folder_of(object.key, &object.hash),
            budget: sources.first().map(|source| RetryBudget::new(source.options())),
            conduct: Mutex::new(vec![Conduct::default(); sources.len()]),
            complaints: Mutex::default(),
        }
    }

    fn into_complaints(self) -> Vec<Complaint> {
        self.complaints.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrong(&self) -> BucketError {
        BucketError::WrongContent { key: self.object.key.to_owned() }
    }

    /// The sources to ask for a part: those that failed least first, and different ones for different parts, so that
    /// the load spreads.
    fn order(&self, part: usize) -> Vec<usize> {
        let (count, conduct) = (self.sources.len(), lock(&self.conduct));
        let mut order: Vec<usize> = (0..count).filter(|source| !conduct[*source].is_liar).collect();
        order.sort_by_key(|source| (conduct[*source].failures, (source + count - part % count) % count));
        order
    }

    fn note(&self, source: usize, error: &BucketError) {
        let is_liar = matches!(error, BucketError::WrongContent { .. } | BucketError::Misbehaved { .. });
        let mut conduct = lock(&self.conduct);
        conduct[source].failures += 1;
        conduct[source].is_liar |= is_liar;
        drop(conduct);
        let mut complaints = lock(&self.complaints);
        let is_same = |complaint: &Complaint| {
            complaint.source == source && std::mem::discriminant(&complaint.error) == std::mem::discriminant(error)
        };
        if !complaints.iter().any(is_same) {
            tracing::debug!(source, %error, "a source of a large object failed");
            complaints.push(Complaint { source, error: error.clone() });
        }
    }

    /// Asks one source after the other until one has it, and all again while the budget lasts.
    async fn ask<T, F, Fut>(&self, part: usize, bytes: u64, mut ask_once: F) -> Result<T, BucketError>
    where
        F: FnMut(usize, Duration) -> Fut,
        Fut: Future<Output = Result<T, BucketError>>,
    {
        let missing = || BucketError::NotFound { key: self.object.key.to_owned() };
        loop {
            let order = self.order(part);
            let mut worst: Option<BucketError> = None;
            for (place, source) in order.iter().enumerate() {
                let deadline = self.sources[*source].options().deadline;
                let hurried = ANSWER_PATIENCE + Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND);
                let patience = if place + 1 < order.len() { hurried.min(deadline) } else { deadline };
                let error = match ask_once(*source, patience).await {
                    Ok(found) => return Ok(found),
                    Err(error) => error,
                };
                self.note(*source, &error);
                if worst.as_ref().is_none_or(|worst| weight(&error) > weight(worst)) {
                    worst = Some(error);
                }
            }
            let lied = lock(&self.conduct).iter().any(|conduct| conduct.is_liar);
            let error = worst.unwrap_or_else(|| if lied { self.wrong() } else { missing() });
            match self.budget.as_ref().and_then(|budget| budget.next_pause(&error)) {
                Some(pause) => sleep(pause).await,
                None => return Err(error),
            }
        }
    }

    /// The object in one piece, or what its parts are.
    async fn find(&self) -> Result<Found, BucketError> {
        self.ask(0, MAX_INDEX_BYTES, |source, patience| self.find_at(source, patience)).await
    }

    async fn find_at(&self, source: usize, patience: Duration) -> Result<Found, BucketError> {
        let (bucket, LargeObject { key, hash, max_bytes }) = (&self.sources[source], *self.object);
        let whole = match bucket.get_once(key, max_bytes.min(MAX_WHOLE_BYTES), patience).await {
            Ok(bytes) => {
                let own = bytes.clone();
                match blocking(OPERATION, move || Ok(*blake3::hash(&own).as_bytes() == hash)).await? {
                    true => return Ok(Found::Whole(bytes)),
                    false => self.wrong(),
                }
            }
            Err(error @ (BucketError::NotFound { .. } | BucketError::TooLarge { .. })) => error,
            Err(error) => return Err(error),
        };
        match bucket.get_once(&index_key(&self.folder), MAX_INDEX_BYTES, patience).await {
            Ok(bytes) => PartIndex::parse(&bytes, &hash, max_bytes).map(Found::Parts).ok_or_else(|| self.wrong()),
            Err(BucketError::NotFound { .. }) => Err(whole),
            Err(error) => Err(error),
        }
    }

    /// Fetches parts, some at a time, and hands each to `store` when it is known to be right.
    async fn fetch_parts<S, Fut>(&self, index: &PartIndex, parts: Vec<usize>, store: S) -> Result<(), BucketError>
    where
        S: Fn(usize, Bytes) -> Fut,
        Fut: Future<Output = Result<(), BucketError>>,
    {
        let parallel = self.sources.first().map_or(1, |source| source.options().parallel_parts.max(1));
        let store = &store;
        let fetching =
            parts.into_iter().map(|part| async move { store(part, self.fetch_part(index, part).await?).await });
        stream::iter(fetching).buffer_unordered(parallel).try_for_each(|()| async { Ok(()) }).await
    }

    async fn fetch_part(&self, index: &PartIndex, part: usize) -> Result<Bytes, BucketError> {
        let range = index.range(part);
        let (key, size) = (part_key(&self.folder, part), range.end - range.start);
        self.ask(part, size, |source, patience| {
            let (bucket, key) = (&self.sources[source], &key);
            async move {
                let bytes = match bucket.get_once(key, size, patience).await {
                    Ok(bytes) => bytes,
                    Err(BucketError::TooLarge { .. }) => return Err(self.wrong()),
                    Err(error) => return Err(error),
                };
                if index.holds(part, &bytes) { Ok(bytes) } else { Err(self.wrong()) }
            }
        })
        .await
    }
}

/// Which of several failures tells most: what may pass calls for another try, and a lie is worse than an absence.
fn weight(error: &BucketError) -> u32 {
    match error {
        error if error.is_retryable() => 3,
        BucketError::WrongContent { .. } => 2,
        BucketError::NotFound { .. } => 0,
        _ => 1,
    }
}
