//! Who may write which bucket.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};
use serde::{Deserialize, Serialize};
use templar_disk::{DiskError, Folder, Lock, Readers, SystemDisk, WriteOptions};

use super::ServerError;
use crate::Credentials;
use crate::location::is_bucket_name;

/// Longest half of a write key, in bytes.
const MAX_HALF_BYTES: usize = 128;
/// Most bytes of a keys file: room for a hundred thousand keys.
const MAX_FILE_BYTES: u64 = 32 << 20;
/// What anybody may do, without a signature.
const PUBLIC_OPERATIONS: [&str; 6] =
    ["GetObject", "HeadObject", "ListObjects", "ListObjectsV2", "HeadBucket", "GetBucketLocation"];
/// What the holder of a bucket's key may do in it. Nothing else is served.
const WRITER_OPERATIONS: [&str; 10] = [
    "PutObject",
    "CopyObject",
    "DeleteObject",
    "DeleteObjects",
    "CreateBucket",
    "UploadPartCopy",
    "CreateMultipartUpload",
    "UploadPart",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
];

/// What the holder of any key may do; it concerns no bucket.
const LIST_BUCKETS: &str = "ListBuckets";

/// The right to write one bucket. Its secret never appears in `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteKey {
    /// The public half, sent with each request: 3 to 128 letters, digits and `-_.`.
    pub access_key: String,
    /// The secret half: 8 to 128 printable ASCII characters.
    pub secret_key: String,
    /// The one bucket that it opens.
    pub bucket: String,
}

impl WriteKey {
    /// A write key of these parts; they are checked when it is registered.
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>, bucket: impl Into<String>) -> Self {
        Self { access_key: access_key.into(), secret_key: secret_key.into(), bucket: bucket.into() }
    }

    /// What the holder opens the bucket with.
    pub fn credentials(&self) -> Credentials {
        Credentials::new(&self.access_key, &self.secret_key)
    }

    fn check(&self) -> Result<(), ServerError> {
        let refuse =
            |reason| Err(ServerError::InvalidKey { access_key: crate::error::shorten(&self.access_key), reason });
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(3..=MAX_HALF_BYTES).contains(&self.access_key.len()) || !self.access_key.bytes().all(allowed) {
            return refuse("an access key has 3 to 128 letters, digits and -_.");
        }
        let secret_is_plain = self.secret_key.bytes().all(|byte| byte.is_ascii_graphic());
        if !(8..=MAX_HALF_BYTES).contains(&self.secret_key.len()) || !secret_is_plain {
            return refuse("a secret key has 8 to 128 printable characters");
        }
        if !is_bucket_name(&self.bucket) {
            return refuse("a bucket name has 3 to 63 lower-case letters, digits, dots and hyphens");
        }
        Ok(())
    }
}

impl fmt::Debug for WriteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteKey")
            .field("access_key", &self.access_key)
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    keys: Vec<WriteKey>,
}

/// The write keys of a server, in memory or in a JSON file. Clones share them.
///
/// A file is read again when it changes, so that keys of new miners count at once, whoever registered them. If it
/// becomes unreadable, the keys read last stay valid.
#[derive(Debug, Clone)]
pub struct KeyRing {
    path: Option<Arc<Path>>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    keys: BTreeMap<String, WriteKey>,
    /// Of the file, when it was read last.
    stamp: Option<Stamp>,
}

type Stamp = (Option<SystemTime>, u64, u64);

impl KeyRing {
    /// Keys that live as long as the process.
    pub fn in_memory(keys: impl IntoIterator<Item = WriteKey>) -> Result<Self, ServerError> {
        let ring = Self { path: None, state: Arc::default() };
        for key in keys {
            ring.register(key)?;
        }
        Ok(ring)
    }

    /// Keys in a JSON file, `{"keys": [{"access_key": .., "secret_key": .., "bucket": ..}]}`. A file that does not exist
    /// yet has no keys.
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self, ServerError> {
        let path = path.into();
        let stamp = stamp_of(&path);
        let keys = read_keys(&path)?;
        let state = Arc::new(Mutex::new(State { keys, stamp }));
        Ok(Self { path: Some(path.into()), state })
    }

    /// Adds a write key; in a file, it is there after a crash too. A known key keeps its secret, since its writer could
    /// write nothing any more: [`ServerError::KeyExists`] where another one is given.
    pub fn register(&self, key: WriteKey) -> Result<(), ServerError> {
        key.check()?;
        self.change(|keys| match keys.get(&key.access_key) {
            Some(known) if *known == key => Ok(()),
            Some(known) if known.bucket == key.bucket => {
                Err(ServerError::KeyExists { access_key: key.access_key, bucket: key.bucket })
            }
            _ => insert(keys, key),
        })
    }

    /// Adds a write key, or gives a known one another secret: whoever writes with the old one is shut out.
    pub fn replace(&self, key: WriteKey) -> Result<(), ServerError> {
        key.check()?;
        self.change(|keys| insert(keys, key))
    }

    /// The write key of this access key, or `new` where there is none, which is then registered.
    pub fn find_or_register(&self, new: WriteKey) -> Result<WriteKey, ServerError> {
        new.check()?;
        self.change(|keys| {
            if let Some(known) = keys.get(&new.access_key).filter(|known| known.bucket == new.bucket) {
                return Ok(known.clone());
            }
            insert(keys, new.clone())?;
            Ok(new)
        })
    }

    /// Takes a write key away; whether there was one.
    pub fn remove(&self, access_key: &str) -> Result<bool, ServerError> {
        self.change(|keys| Ok(keys.remove(access_key).is_some()))
    }

    /// Access keys with their buckets, sorted.
    pub fn list(&self) -> Vec<(String, String)> {
        self.fresh().keys.values().map(|key| (key.access_key.clone(), key.bucket.clone())).collect()
    }

    /// Changes the keys, in the file too; where `change` fails they stay as they are.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, WriteKey>) -> Result<T, ServerError>,
    ) -> Result<T, ServerError> {
        let mut state = self.lock();
        let Some(path) = &self.path else {
            return change(&mut state.keys);
        };
        let storage = |error: DiskError| ServerError::Storage { path: path.to_path_buf(), source: error.into() };
        let folder = Folder::of_file(path);
        folder.create().map_err(storage)?;
        // Two processes may change the file at once; the lock keeps one from overwriting what the other just added.
        let _lock = Lock::wait_for(&SystemDisk, &beside(path, ".lock")).map_err(storage)?;
        let before = read_keys(path)?;
        let mut keys = before.clone();
        let changed = change(&mut keys)?;
        if keys != before {
            write_keys(path, &keys)?;
        }
        state.stamp = stamp_of(path);
        state.keys = keys;
        Ok(changed)
    }

    /// Whether a key for this bucket is registered.
    pub(crate) fn knows_bucket(&self, bucket: &str) -> bool {
        self.fresh().keys.values().any(|key| key.bucket == bucket)
    }

    pub(super) fn find(&self, access_key: &str) -> Option<WriteKey> {
        self.fresh().keys.get(access_key).cloned()
    }

    /// The keys, read again if the file changed.
    fn fresh(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        if let Some(path) = &self.path {
            let stamp = stamp_of(path);
            if stamp != state.stamp {
                match read_keys(path) {
                    Ok(keys) => state.keys = keys,
                    Err(error) => tracing::warn!(%error, "the write keys read before stay valid"),
                }
                state.stamp = stamp;
            }
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn insert(keys: &mut BTreeMap<String, WriteKey>, key: WriteKey) -> Result<(), ServerError> {
    match keys.get(&key.access_key) {
        Some(known) if known.bucket != key.bucket => {
            Err(ServerError::InvalidKey { access_key: key.access_key, reason: "it belongs to another bucket" })
        }
        _ => {
            keys.insert(key.access_key.clone(), key);
            Ok(())
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What changes when a file is replaced or written. `None` if there is none.
fn stamp_of(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Some((metadata.modified().ok(), metadata.len(), inode))
}

fn read_keys(path: &Path) -> Result<BTreeMap<String, WriteKey>, ServerError> {
    let invalid = |reason: String| ServerError::InvalidKeysFile { path: path.to_owned(), reason };
    let storage = |source| ServerError::Storage { path: path.to_owned(), source };
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_FILE_BYTES => return Err(invalid("it is larger than 32 MiB".to_owned())),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(storage(error)),
    }
    let text = fs::read(path).map_err(storage)?;
    let file: KeysFile = serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
    let mut keys = BTreeMap::new();
    for key in file.keys {
        key.check().and_then(|()| insert(&mut keys, key)).map_err(|error| invalid(error.to_string()))?;
    }
    Ok(keys)
}

/// Replaces the file in one step; only its owner may read it.
fn write_keys(path: &Path, keys: &BTreeMap<String, WriteKey>) -> Result<(), ServerError> {
    let storage = |source| ServerError::Storage { path: path.to_owned(), source };
    let text = serde_json::to_vec_pretty(&KeysFile { keys: keys.values().cloned().collect() });
    let text = text.map_err(|error| storage(error.into()))?;
    let options = WriteOptions { readers: Readers::Owner, ..WriteOptions::default() };
    let name = path.file_name().unwrap_or_default();
    Folder::of_file(path).write_with(name, &[&text, b"\n"], options).map_err(|error| storage(error.into()))
}

#[async_trait::async_trait]
impl S3Auth for KeyRing {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.find(access_key) {
            Some(key) => Ok(SecretKey::from(key.secret_key)),
            None => Err(s3_error!(InvalidAccessKeyId, "this access key is not registered here")),
        }
    }
}

#[async_trait::async_trait]
impl S3Access for KeyRing {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = context.s3_op().name();
        if PUBLIC_OPERATIONS.contains(&operation) {
            return Ok(());
        }
        // Before the key: no key of anybody's would help.
        if !WRITER_OPERATIONS.contains(&operation) && operation != LIST_BUCKETS {
            return Err(s3_error!(NotImplemented, "this server does not offer {operation}"));
        }
        let Some(credentials) = context.credentials() else {
            return Err(s3_error!(AccessDenied, "{operation} needs a bucket's access key"));
        };
        let key = self.find(&credentials.access_key);
        if operation == LIST_BUCKETS && key.is_some() {
            return Ok(());
        }
        match (key, context.s3_path().get_bucket_name()) {
            (Some(key), Some(bucket)) if key.bucket == bucket => Ok(()),
            _ => Err(s3_error!(AccessDenied, "this access key belongs to another bucket")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_registered_by_another_process_counts_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let server = KeyRing::from_file(&path).unwrap();
        assert!(server.find("miner-1").is_none());
        let other = KeyRing::from_file(&path).unwrap();
        other.register(WriteKey::new("miner-1", "secret-secret", "bucket-1")).unwrap();
        assert_eq!(server.find("miner-1").unwrap().bucket, "bucket-1");
        server.register(WriteKey::new("miner-2", "secret-secret", "bucket-2")).unwrap();
        assert!(other.find("miner-2").is_some() && other.find("miner-1").is_some());
        assert!(other.register(WriteKey::new("miner-2", "secret-secret", "bucket-1")).is_err());
    }

    #[test]
    fn a_secret_is_replaced_on_demand_only() {
        let folder = tempfile::tempdir().unwrap();
        let ring = KeyRing::from_file(folder.path().join("keys.json")).unwrap();
        let key = |secret: &str| WriteKey::new("miner-1", secret, "bucket-1");
        ring.register(key("first-secret")).unwrap();
        ring.register(key("first-secret")).unwrap();
        assert!(matches!(ring.register(key("second-secret")), Err(ServerError::KeyExists { .. })));
        assert_eq!(ring.find_or_register(key("third-secret")).unwrap(), key("first-secret"));
        assert!(ring.find_or_register(WriteKey::new("miner-1", "third-secret", "bucket-2")).is_err());
        ring.replace(key("second-secret")).unwrap();
        assert_eq!(ring.find("miner-1").unwrap(), key("second-secret"));
        assert_eq!(ring.list(), [("miner-1".to_owned(), "bucket-1".to_owned())]);
        assert!(ring.remove("miner-1").unwrap());
        assert!(!ring.remove("miner-1").unwrap());
        assert!(ring.list().is_empty());
    }

    #[test]
    fn a_broken_file_is_refused_at_start_and_ignored_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let ring = KeyRing::from_file(&path).unwrap();
        ring.register(WriteKey::new("miner-1", "secret-secret", "bucket-1")).unwrap();
        fs::write(&path, b"{").unwrap();
        assert!(ring.find("miner-1").is_some());
        assert!(matches!(KeyRing::from_file(&path), Err(ServerError::InvalidKeysFile { .. })));
    }

    #[test]
    fn malformed_keys_are_refused_and_secrets_stay_out_of_debug() {
        for key in [
            WriteKey::new("a", "secret-secret", "bucket-1"),
            WriteKey::new("miner/1", "secret-secret", "bucket-1"),
            WriteKey::new("miner-1", "short", "bucket-1"),
            WriteKey::new("miner-1", "secret-secret", "../bucket"),
        ] {
            assert!(KeyRing::in_memory([key]).is_err());
        }
        let key = WriteKey::new("miner-1", "secret-secret", "bucket-1");
        assert!(!format!("{key:?}{:?}", key.credentials()).contains("secret-secret"));
    }
}
