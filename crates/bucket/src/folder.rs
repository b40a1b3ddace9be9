//! The store in a folder of this machine: `file://`.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::blocking::blocking;
use crate::object::{check_size, clip};
use crate::object_folder::ObjectFolder;
use crate::store::Store;
use crate::{BucketError, ObjectEntry, ObjectFacts, PutMode, PutOutcome};

/// A bucket that is a folder; its work is done on blocking threads.
#[derive(Debug)]
pub(crate) struct FolderStore {
    folder: Arc<ObjectFolder>,
}

impl FolderStore {
    /// A folder to read; it need not exist yet.
    pub(crate) fn reader(path: &Path) -> Self {
        Self { folder: Arc::new(ObjectFolder::reader(path)) }
    }

    /// A folder to write, created if needed.
    pub(crate) fn writer(path: &Path) -> Result<Self, BucketError> {
        const OPERATION: &str = "opening the folder";
        match ObjectFolder::writer(path) {
            Ok(folder) => Ok(Self { folder: Arc::new(folder) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(BucketError::Failed { operation: OPERATION, reason: error.to_string() })
            }
            Err(error) => Err(BucketError::from_io(OPERATION, "", &error)),
        }
    }

    /// Does something with an object, on a blocking thread.
    async fn work<T: Send + 'static>(
        &self,
        operation: &'static str,
        key: &str,
        work: impl FnOnce(&ObjectFolder, &str) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, BucketError> {
        let (folder, key) = (Arc::clone(&self.folder), key.to_owned());
        blocking(operation, move || {
            work(&folder, &key).map_err(|failure| match failure {
                Failure::Bucket(error) => error,
                Failure::Disk(error) => BucketError::from_io(operation, &key, &error),
            })
        })
        .await
    }
}

/// An error of the disk, which is still to be sorted, or one that is.
enum Failure {
    Disk(io::Error),
    Bucket(BucketError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<BucketError> for Failure {
    fn from(error: BucketError) -> Self {
        Self::Bucket(error)
    }
}

#[async_trait]
impl Store for FolderStore {
    async fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<PutOutcome, BucketError> {
        let operation = mode.operation();
        self.work(operation, key, move |folder, key| {
            let stored = folder.stage().and_then(|mut staged| {
                staged.write(&bytes)?;
                folder.publish(staged, key, mode)
            });
            stored.map_err(|error| match error.kind() {
                // The folder is missing, not the object.
                io::ErrorKind::NotFound => BucketError::Failed { operation, reason: error.to_string() }.into(),
                _ => error.into(),
            })
        })
        .await
    }

    async fn get(&self, key: &str, max_bytes: u64) -> Result<Bytes, BucketError> {
        self.work("get", key, move |folder, key| {
            let (file, metadata) = folder.open(key)?;
            check_size(key, metadata.len(), max_bytes)?;
            Ok(read_file(file, 0..metadata.len())?)
        })
        .await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, BucketError> {
        self.work("get range", key, move |folder, key| {
            let (file, metadata) = folder.open(key)?;
            Ok(read_file(file, clip(key, range, metadata.len())?)?)
        })
        .await
    }

    async fn head(&self, key: &str) -> Result<ObjectFacts, BucketError> {
        self.work("head", key, |folder, key| {
            let (_, metadata) = folder.open(key)?;
            Ok(ObjectFacts { size: metadata.len(), modified: metadata.modified()? })
        })
        .await
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<(Vec<ObjectEntry>, bool), BucketError> {
        let after = after.to_owned();
        self.work("list", prefix, move |folder, prefix| Ok(folder.list(prefix, &after, limit)?)).await
    }

    async fn delete(&self, key: &str) -> Result<(), BucketError> {
        self.work("delete", key, |folder, key| Ok(folder.delete(key)?)).await
    }
}

/// Reads exactly `range`, which is within the file.
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
