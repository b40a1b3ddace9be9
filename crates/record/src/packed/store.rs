//! A bucket as it was packed.

use super::content::Content;
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use templar_base::PublicKey;
use templar_bucket::{BucketError, ObjectEntry, ObjectFacts, PutMode, PutOutcome, Store};

/// One node's bucket: the objects in the file, and the names that it listed.
pub(super) struct RecordedStore {
    content: Arc<Content>,
    owner: PublicKey,
}

impl fmt::Debug for RecordedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedStore").field("owner", &self.owner).finish_non_exhaustive()
    }
}

fn read_only(operation: &'static str) -> BucketError {
    BucketError::Failed { operation, reason: "a record file is only read".to_owned() }
}

impl RecordedStore {
    pub(super) fn new(content: Arc<Content>, owner: PublicKey) -> Self {
        Self { content, owner }
    }

    fn find(&self, key: &str) -> Result<&Bytes, BucketError> {
        let object = self.content.objects.get(&self.owner).and_then(|objects| objects.get(key));
        object.ok_or_else(|| BucketError::NotFound { key: key.to_owned() })
    }
}

#[async_trait]
impl Store for RecordedStore {
    async fn put(&self, _key: &str, _bytes: Bytes, _mode: PutMode) -> Result<PutOutcome, BucketError> {
        Err(read_only("put"))
    }

    async fn get(&self, key: &str, max_bytes: u64) -> Result<Bytes, BucketError> {
        let object = self.find(key)?;
        let size = object.len() as u64;
        if size > max_bytes {
            return Err(BucketError::TooLarge { key: key.to_owned(), size, limit: max_bytes });
        }
        Ok(object.clone())
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, BucketError> {
        let object = self.find(key)?;
        let size = object.len() as u64;
        if range.start >= size || range.is_empty() {
            return Err(BucketError::RangeOutside { key: key.to_owned(), start: range.start, end: range.end });
        }
        // Both ends are within the object, whose length is a `usize`.
        Ok(object.slice(range.start as usize..range.end.min(size) as usize))
    }

    async fn head(&self, key: &str) -> Result<ObjectFacts, BucketError> {
        // When an object was stored is not in the file; nothing decides by it.
        Ok(ObjectFacts { size: self.find(key)?.len() as u64, modified: UNIX_EPOCH })
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<(Vec<ObjectEntry>, bool), BucketError> {
        let held = self.content.objects.get(&self.owner).into_iter().flatten();
        let listed = self.content.lists.get(&self.owner).into_iter().flatten();
        let mut all: BTreeMap<&str, u64> = listed.map(|own| (own.key.as_str(), own.bytes)).collect();
        all.extend(held.map(|(key, bytes)| (key.as_str(), bytes.len() as u64)));
        let is_wanted = |key: &str| key.starts_with(prefix) && key > after;
        let mut found = all.into_iter().filter(|(key, _)| is_wanted(key));
        let page = found.by_ref().take(limit).map(|(key, size)| ObjectEntry { key: key.to_owned(), size }).collect();
        Ok((page, found.next().is_some()))
    }

    async fn delete(&self, _key: &str) -> Result<(), BucketError> {
        Err(read_only("delete"))
    }
}
