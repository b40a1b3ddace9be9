//! Objects in the memory of the process, for tests and for simulated networks.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use crate::bucket::{ObjectEntry, ObjectFacts, PutOutcome};

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

    pub(crate) fn put(&self, key: &str, bytes: Bytes, only_if_absent: bool) -> PutOutcome {
        let mut objects = lock(&self.objects);
        if only_if_absent && objects.contains_key(key) {
            return PutOutcome::AlreadyExists;
        }
        objects.insert(key.to_owned(), (bytes, SystemTime::now()));
        PutOutcome::Created
    }

    pub(crate) fn get(&self, key: &str) -> Option<Bytes> {
        lock(&self.objects).get(key).map(|(bytes, _)| bytes.clone())
    }

    pub(crate) fn facts(&self, key: &str) -> Option<ObjectFacts> {
        let objects = lock(&self.objects);
        objects.get(key).map(|(bytes, modified)| ObjectFacts { size: bytes.len() as u64, modified: *modified })
    }

    pub(crate) fn delete(&self, key: &str) {
        lock(&self.objects).remove(key);
    }

    pub(crate) fn list(&self, prefix: &str, after: &str, limit: usize) -> (Vec<ObjectEntry>, bool) {
        let objects = lock(&self.objects);
        let start = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
        let mut matching = objects
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, (bytes, _))| ObjectEntry { key: key.clone(), size: bytes.len() as u64 });
        let found = matching.by_ref().take(limit).collect();
        (found, matching.next().is_some())
    }
}
