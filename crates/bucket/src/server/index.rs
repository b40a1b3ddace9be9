//! Which objects there are, in memory: a listing then reads no folder, however many objects a bucket has.
//!
//! The files are the truth and the index is made from them at every start, so that a crash cannot put the two at odds.
//! While the server runs, a change of an object and of its entry happen under one lock, one of several by the key.
//! An object takes about 200 bytes here. What others put into the folder of a running server can be read at once, but
//! is listed after the next start.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::location::is_bucket_name;
use crate::object_folder::ObjectFolder;

/// Writers of different keys wait for each other only where they share one of these.
const LOCKS: usize = 256;

/// What the server tells of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) size: u64,
    pub(super) modified: SystemTime,
    inode: u64,
}

impl Facts {
    pub(super) fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Self { size: metadata.len(), modified, inode }
    }

    /// A tag that changes whenever the object does. It is not the MD5 of the content, which nobody here needs and which
    /// would cost a second pass; the suffix keeps clients from taking it for one.
    pub(super) fn etag(&self) -> String {
        let nanoseconds = self.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&nanoseconds.to_le_bytes());
        hasher.update(&self.size.to_le_bytes());
        hasher.update(&self.inode.to_le_bytes());
        format!("{}-1", &hasher.finalize().to_hex()[..32])
    }
}

/// Objects and, where keys are grouped by slashes, the groups of one page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) objects: Vec<(String, Facts)>,
    pub(super) groups: Vec<String>,
    /// The last key or group seen; the next page begins after it.
    pub(super) last: String,
    pub(super) more: bool,
}

/// The objects of a bucket, and their bytes in all.
#[derive(Debug, Default)]
struct Objects {
    facts: BTreeMap<String, Facts>,
    bytes: u64,
}

impl Objects {
    fn insert(&mut self, key: String, facts: Facts) {
        let before = self.facts.insert(key, facts);
        self.bytes = (self.bytes + facts.size).saturating_sub(before.map_or(0, |before| before.size));
    }

    fn remove(&mut self, key: &str) {
        let before = self.facts.remove(key);
        self.bytes = self.bytes.saturating_sub(before.map_or(0, |before| before.size));
    }
}

/// What all buckets hold together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stored {
    pub(super) buckets: u64,
    pub(super) objects: u64,
    pub(super) bytes: u64,
    /// Bytes of the bucket that has most.
    pub(super) largest: u64,
}

/// The objects of all buckets.
#[derive(Debug)]
pub(super) struct Index {
    buckets: Mutex<BTreeMap<String, Objects>>,
    locks: Vec<Mutex<()>>,
}

/// No change below can panic halfway, so that a poisoned value is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Index {
    /// Reads the folders of all buckets.
    pub(super) fn load(root: &Path) -> io::Result<Self> {
        let mut buckets = BTreeMap::new();
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !is_bucket_name(&name) || !entry.file_type()?.is_dir() {
                continue;
            }
            let (found, _) = ObjectFolder::reader(&entry.path()).list("", "", usize::MAX)?;
            let facts = |key: String| Some((key.clone(), Facts::of(&fs::metadata(entry.path().join(key)).ok()?)));
            let objects: &mut Objects = buckets.entry(name).or_default();
            found
                .into_iter()
                .filter_map(|object| facts(object.key))
                .for_each(|(key, facts)| objects.insert(key, facts));
        }
        let locks = (0..LOCKS).map(|_| Mutex::default()).collect();
        Ok(Self { buckets: Mutex::new(buckets), locks })
    }

    /// Changes an object by `change` and its entry with it: to the facts that it gives, or none where it is gone.
    /// Where `change` fails the entry stays.
    pub(super) fn change<T>(
        &self,
        bucket: &str,
        key: &str,
        change: impl FnOnce() -> io::Result<(T, Option<Facts>)>,
    ) -> io::Result<T> {
        let mut hasher = DefaultHasher::new();
        (bucket, key).hash(&mut hasher);
        let _held = lock(&self.locks[hasher.finish() as usize % LOCKS]);
        let (done, facts) = change()?;
        let mut buckets = lock(&self.buckets);
        match facts {
            Some(facts) => {
                buckets.entry(bucket.to_owned()).or_default().insert(key.to_owned(), facts);
            }
            None => {
                if let Some(objects) = buckets.get_mut(bucket) {
                    objects.remove(key);
                }
            }
        }
        Ok(done)
    }

    /// The bytes of a bucket's objects.
    pub(super) fn bytes(&self, bucket: &str) -> u64 {
        lock(&self.buckets).get(bucket).map_or(0, |objects| objects.bytes)
    }

    /// What all buckets hold.
    pub(super) fn stored(&self) -> Stored {
        let buckets = lock(&self.buckets);
        let full = buckets.values().filter(|objects| !objects.facts.is_empty());
        full.fold(Stored::default(), |all, objects| Stored {
            buckets: all.buckets + 1,
            objects: all.objects + objects.facts.len() as u64,
            bytes: all.bytes.saturating_add(objects.bytes),
            largest: all.largest.max(objects.bytes),
        })
    }

    /// One page of a bucket: what begins with `prefix` (any text) and sorts after `after`, at most `limit` of them.
    pub(super) fn page(&self, bucket: &str, prefix: &str, after: &str, limit: usize, grouped: bool) -> Page {
        let mut page = Page { last: after.to_owned(), ..Page::default() };
        let buckets = lock(&self.buckets);
        let Some(objects) = buckets.get(bucket).filter(|_| limit > 0) else { return page };
        let mut resume = after.to_owned();
        loop {
            let start =
                if resume.as_str() < prefix { Bound::Included(prefix) } else { Bound::Excluded(resume.as_str()) };
            let mut range = objects.facts.range::<str, _>((start, Bound::Unbounded));
            // After a group, everything below it is skipped in one step.
            let skip_to = loop {
                let Some((key, facts)) = range.next().filter(|(key, _)| key.starts_with(prefix)) else { return page };
                if page.objects.len() + page.groups.len() == limit {
                    page.more = true;
                    return page;
                }
                match key[prefix.len()..].find('/').filter(|_| grouped) {
                    Some(slash) => break &key[..=prefix.len() + slash],
                    None => {
                        page.last.clone_from(key);
                        page.objects.push((key.clone(), *facts));
                    }
                }
            };
            page.groups.push(skip_to.to_owned());
            // No character of a key sorts after the tilde.
            resume = format!("{skip_to}~");
            page.last.clone_from(&resume);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn put(index: &Index, bucket: &str, key: &str) {
        let facts = Facts { size: key.len() as u64, modified: SystemTime::UNIX_EPOCH, inode: 1 };
        index.change(bucket, key, || Ok(((), Some(facts)))).unwrap();
    }

    fn empty() -> Index {
        Index::load(tempfile::tempdir().unwrap().path()).unwrap()
    }

    #[test]
    fn a_failed_change_leaves_the_entry_and_buckets_are_apart() {
        let index = empty();
        put(&index, "one", "a");
        put(&index, "two", "b");
        let failed = index.change::<()>("one", "a", || Err(io::ErrorKind::StorageFull.into()));
        assert!(failed.is_err());
        assert_eq!(index.page("one", "", "", 9, false).objects.len(), 1);
        assert_eq!(index.bytes("one"), 1);
        put(&index, "one", "a");
        assert_eq!(index.bytes("one"), 1, "replaced, not added");
        index.change("one", "a", || Ok(((), None))).unwrap();
        assert_eq!(index.bytes("one"), 0);
        assert_eq!(index.page("one", "", "", 9, false), Page::default());
        assert_eq!(index.page("two", "", "", 9, false).objects[0].0, "b");
        assert_eq!(index.page("three", "", "", 9, false), Page::default());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn pages_put_together_are_the_whole(
            keys in prop::collection::btree_set("[a-c0.-]{1,2}(/[a-c0.-]{1,2}){0,2}", 0..16),
            prefix in "[a-c]{0,1}(/[a-c]{0,1}){0,1}",
            limit in 1usize..4,
            grouped: bool,
        ) {
            let index = empty();
            keys.iter().for_each(|key| put(&index, "one", key));
            let below = keys.iter().filter(|key| key.starts_with(&prefix));
            let expected: BTreeSet<String> = below
                .map(|key| match key[prefix.len()..].find('/').filter(|_| grouped) {
                    Some(slash) => key[..=prefix.len() + slash].to_owned(),
                    None => key.clone(),
                })
                .collect();
            let (mut found, mut after) = (Vec::new(), String::new());
            loop {
                let page = index.page("one", &prefix, &after, limit, grouped);
                prop_assert!(page.objects.len() + page.groups.len() <= limit);
                found.extend(page.objects.into_iter().map(|(key, _)| key));
                found.extend(page.groups);
                after = page.last;
                if !page.more {
                    break;
                }
            }
            found.sort();
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
