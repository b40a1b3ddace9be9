//! What a client said of an object besides its bytes: its type, and metadata of its own.
//!
//! Kept in files of their own, `<root>/.server-attributes/<hash of bucket and key>.json`, so that an object stays a plain
//! file. An entry carries the tag of its object and counts for no other: where a crash comes between the two, or another
//! program replaces the object, there are no attributes rather than another object's. Objects of nodes have none.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use s3s::{S3Result, s3_error};
use serde::{Deserialize, Serialize};
use templar_disk::{Folder, WriteOptions, Writers};

/// Not the name of a bucket, which begins with a letter or a digit.
const FOLDER: &str = ".server-attributes";
/// Most bytes of a client's own metadata, as in S3.
const MAX_METADATA_BYTES: usize = 2048;
/// Most bytes of a header that is kept; a MIME type with its parameters is under a hundred.
const MAX_HEADER_BYTES: usize = 1024;
/// Most bytes of an entry that is read.
const MAX_ENTRY_BYTES: u64 = 64 << 10;

/// What a client said of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attributes {
    pub(super) content_type: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    /// Metadata of the client's own, `x-amz-meta-…`.
    pub(super) metadata: BTreeMap<String, String>,
}

impl Attributes {
    /// These attributes, if they are small enough to keep.
    pub(super) fn checked(self) -> S3Result<Self> {
        let of_client = self.metadata.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if of_client > MAX_METADATA_BYTES {
            return Err(s3_error!(MetadataTooLarge, "an object has at most 2048 bytes of metadata"));
        }
        let headers = [
            &self.content_type,
            &self.cache_control,
            &self.content_disposition,
            &self.content_encoding,
            &self.content_language,
        ];
        if headers.into_iter().flatten().any(|header| header.len() > MAX_HEADER_BYTES) {
            return Err(s3_error!(InvalidArgument, "a header that is kept has at most 1024 bytes"));
        }
        Ok(self)
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An entry of the folder.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    bucket: String,
    key: String,
    /// Of the object that the attributes are of.
    etag: String,
    attributes: Attributes,
}

/// The attributes of all objects that have any.
#[derive(Debug)]
pub(super) struct AttributeStore {
    folder: PathBuf,
    /// Whether there may be any: most servers keep none and look for none.
    is_used: AtomicBool,
}

impl AttributeStore {
    /// The attributes of the objects below `root`.
    pub(super) fn open(root: &Path) -> Self {
        let folder = root.join(FOLDER);
        let is_used = AtomicBool::new(folder.is_dir());
        Self { folder, is_used }
    }

    /// Keeps the attributes of the object with this tag, in place of an older object's.
    pub(super) fn keep(&self, bucket: &str, key: &str, etag: &str, attributes: &Attributes) -> io::Result<()> {
        if attributes.is_empty() {
            return self.forget(bucket, key);
        }
        let entry = Entry {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            etag: etag.to_owned(),
            attributes: attributes.clone(),
        };
        let bytes = serde_json::to_vec(&entry)?;
        let folder = Folder::new(&self.folder);
        folder.create()?;
        self.is_used.store(true, Ordering::Release);
        let options = WriteOptions { writers: Writers::Many, ..WriteOptions::default() };
        Ok(folder.write_with(name(bucket, key), &[&bytes], options)?)
    }

    /// The attributes of the object with this tag; none where it has none, or they cannot be read.
    pub(super) fn of(&self, bucket: &str, key: &str, etag: &str) -> Attributes {
        if !self.is_used.load(Ordering::Acquire) {
            return Attributes::default();
        }
        let path = self.folder.join(name(bucket, key));
        let is_small = fs::metadata(&path).is_ok_and(|metadata| metadata.len() <= MAX_ENTRY_BYTES);
        let bytes = if is_small { fs::read(&path).unwrap_or_default() } else { Vec::new() };
        match serde_json::from_slice::<Entry>(&bytes) {
            Ok(entry) if entry.bucket == bucket && entry.key == key && entry.etag == etag => entry.attributes,
            _ => Attributes::default(),
        }
    }

    /// Forgets the attributes of an object.
    pub(super) fn forget(&self, bucket: &str, key: &str) -> io::Result<()> {
        if !self.is_used.load(Ordering::Acquire) {
            return Ok(());
        }
        match fs::remove_file(self.folder.join(name(bucket, key))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// A bucket's name has no slash, so that the two cannot be mixed up.
fn name(bucket: &str, key: &str) -> String {
    format!("{}.json", blake3::hash(format!("{bucket}/{key}").as_bytes()).to_hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_belong_to_one_object_and_go_with_it() {
        let root = tempfile::tempdir().unwrap();
        let store = AttributeStore::open(root.path());
        let typed = Attributes { content_type: Some("text/plain".to_owned()), ..Attributes::default() };
        store.keep("one", "a", "tag", &Attributes::default()).unwrap();
        assert!(!root.path().join(FOLDER).exists(), "nothing is kept of an object without attributes");
        store.keep("one", "a", "tag", &typed).unwrap();
        for store in [&store, &AttributeStore::open(root.path())] {
            assert_eq!(store.of("one", "a", "tag"), typed);
            assert_eq!(store.of("one", "a", "other"), Attributes::default());
            assert_eq!(store.of("two", "a", "tag"), Attributes::default());
        }
        fs::write(store.folder.join(name("one", "b")), "{").unwrap();
        assert_eq!(store.of("one", "b", "tag"), Attributes::default());
        store.keep("one", "a", "newer", &Attributes::default()).unwrap();
        assert_eq!(store.of("one", "a", "tag"), Attributes::default());
        store.forget("one", "a").unwrap();
    }

    #[test]
    fn attributes_have_bounds() {
        let long = |bytes| Attributes {
            metadata: BTreeMap::from([("x".to_owned(), "y".repeat(bytes))]),
            ..Attributes::default()
        };
        assert!(long(2047).checked().is_ok() && long(2048).checked().is_err());
        let typed = Attributes { content_type: Some("x".repeat(1025)), ..Attributes::default() };
        assert!(typed.checked().is_err());
    }
}
