//! Objects in the memory of the process, for tests and for simulated networks.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::object::{check_size, clip};
use crate::store::Store;
use crate::{BucketError, ObjectEntry, ObjectFacts, PutMode, PutOutcome};

/// One bucket in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    /// Each with the time when it was put.
    objects: Mutex<BTreeMap<String, (Bytes, SystemTime)>>,
}

/// All buckets of this process by name. They live as long as the process, as a folder outlives its writer.
static BUCKETS: LazyLock<Mutex<BTreeMap<String, Arc<MemoryStore>>>> = LazyLock::new(Mutex::default);

/// No operation below can panic halfway, so a poisoned map is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryStore {
    /// The bucket of this name, made at its first use.
    pub(crate) fn named(name: &str) -> Arc<Self> {
        lock(&BUCKETS).entry(name.to_owned()).or_default().clone()
    }

    fn find(&self, key: &str) -> Result<(Bytes, SystemTime), BucketError> {
        lock(&self.objects).get(key).cloned().ok_or_else(|| BucketError::NotFound { key: key.to_owned() })
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<PutOutcome, BucketError> {
        let mut objects = lock(&self.objects);
        if mode == PutMode::Create && objects.contains_key(key) {
            return Ok(PutOutcome::AlreadyExists);
        }
        objects.insert(key.to_owned(), (bytes, SystemTime::now()));
        Ok(PutOutcome::Created)
    }

    async fn get(&self, key: &str, max_bytes: u64) -> Result<Bytes, BucketError> {
        let (bytes, _) = self.find(key)?;
        check_size(key, bytes.len() as u64, max_bytes)?;
        Ok(bytes)
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, BucketError> {
        let (bytes, _) = self.find(key)?;
        let range = clip(key, range, bytes.len() as u64)?;
        Ok(bytes.slice(range.start as usize..range.end as usize))
    }

    async fn head(&self, key: &str) -> Result<ObjectFacts, BucketError> {
        let (bytes, modified) = self.find(key)?;
        Ok(ObjectFacts { size: bytes.len() as u64, modified })
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<(Vec<ObjectEntry>, bool), BucketError> {
        let objects = lock(&self.objects);
        let start = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
        let mut matching = objects
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, (bytes, _))| ObjectEntry { key: key.clone(), size: bytes.len() as u64 });
        let found = matching.by_ref().take(limit).collect();
        Ok((found, matching.next().is_some()))
    }

    async fn delete(&self, key: &str) -> Result<(), BucketError> {
        lock(&self.objects).remove(key);
        Ok(())
    }
}
