//! A file on its way: bytes without a name that anybody looks for.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Disk, DiskError, DiskFile, Existing, Readers};

/// The path of a draft; its file is removed when this is dropped.
#[derive(Debug)]
pub struct DraftPath {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl DraftPath {
    /// Where the draft is.
    pub fn as_path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DraftPath {
    fn drop(&mut self) {
        // After a rename there is nothing here; what cannot be removed is left to the next writer or sweep.
        let _ = self.disk.remove_file(&self.path);
    }
}

/// A file that is being written; it is removed unless it is published.
pub struct Draft {
    // The file is closed before its path removes it.
    file: Box<dyn DiskFile>,
    path: DraftPath,
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("path", &self.path.path).finish_non_exhaustive()
    }
}

impl Draft {
    /// A draft at this path; what an earlier writer left there is replaced. For writers that are alone.
    pub fn create_at(disk: Arc<dyn Disk>, path: PathBuf, readers: Readers) -> Result<Self, DiskError> {
        let file = disk.create(&path, readers, false).map_err(|error| DiskError::new("create", &path, error))?;
        Ok(Self::new(disk, path, file))
    }

    /// A draft in `folder` under a name that no living writer has: `prefix`, the process, and a number.
    pub fn create_in(
        disk: Arc<dyn Disk>,
        folder: &Path,
        prefix: &str,
        suffix: &str,
        readers: Readers,
    ) -> Result<Self, DiskError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("{prefix}{}-{number}{suffix}", std::process::id()));
            match disk.create(&path, readers, true) {
                Ok(file) => return Ok(Self::new(disk, path, file)),
                // A leftover of a dead process with our number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(DiskError::new("create", &path, error)),
            }
        }
    }

    fn new(disk: Arc<dyn Disk>, path: PathBuf, file: Box<dyn DiskFile>) -> Self {
        Self { file, path: DraftPath { disk, path } }
    }

    /// Where the draft is.
    pub fn path(&self) -> &Path {
        &self.path.path
    }

    /// Appends bytes, unbuffered.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.file.write_all(bytes).map_err(|error| self.path.failed("write", error))
    }

    /// Appends another file whole; returns its length in bytes.
    pub fn append(&mut self, path: &Path) -> Result<u64, DiskError> {
        self.file.append(path).map_err(|error| DiskError::new("append", path, error))
    }

    /// Flushes the bytes to the disk.
    pub fn sync(&mut self) -> Result<(), DiskError> {
        self.file.sync().map_err(|error| self.path.failed("write", error))
    }

    /// Closes the file and keeps its path, so that waiting drafts hold no descriptor. The bytes are not flushed to the
    /// disk.
    pub fn close(self) -> DraftPath {
        self.path
    }

    /// Flushes the bytes to the disk, gives the file its name in one step, and flushes the name.
    pub fn publish(mut self, target: &Path, existing: Existing) -> Result<(), DiskError> {
        self.sync()?;
        self.name(target, existing)?;
        let folder = folder_of(target);
        self.path.disk.sync_folder(folder).map_err(|error| DiskError::new("flush", folder, error))
    }

    /// Gives a flushed file its name in one step; the name may still be lost with the power. The draft stays as it is
    /// where this fails.
    pub fn name(&self, target: &Path, existing: Existing) -> Result<(), DiskError> {
        let disk = &self.path.disk;
        let named = match existing {
            Existing::Replace => disk.rename(&self.path.path, target),
            // Where the draft's own name stays, it goes with the draft.
            Existing::Keep => disk.name_new(&self.path.path, target),
        };
        named.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => DiskError::Exists { path: target.to_owned() },
            _ => DiskError::new("write", target, error),
        })
    }
}

impl DraftPath {
    fn failed(&self, operation: &'static str, error: io::Error) -> DiskError {
        DiskError::new(operation, &self.path, error)
    }
}

/// The folder of a file; the current one where the path is a name only.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
