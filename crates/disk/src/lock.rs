//! One process at a time.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::{Disk, DiskError, LockMode};

/// A lock on a file, mostly one that stands for a whole folder. It is released when this is dropped, and by the system
/// when the process ends, however that ends.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _held: Box<dyn fmt::Debug + Send + Sync>,
}

impl Lock {
    /// Locks the file at `path`, which is created if needed; [`DiskError::InUse`] if another process holds it.
    pub fn try_take(disk: &dyn Disk, path: &Path) -> Result<Self, DiskError> {
        Self::take(disk, path, LockMode::Try)
    }

    /// Locks the file at `path`, however long another process holds it. For locks that every holder keeps briefly.
    pub fn wait_for(disk: &dyn Disk, path: &Path) -> Result<Self, DiskError> {
        Self::take(disk, path, LockMode::Wait)
    }

    fn take(disk: &dyn Disk, path: &Path, mode: LockMode) -> Result<Self, DiskError> {
        let held = disk.lock(path, mode).map_err(|error| DiskError::new("lock", path, error))?;
        let held = held.ok_or_else(|| DiskError::InUse { path: path.to_owned() })?;
        Ok(Self { path: path.to_owned(), _held: held })
    }

    /// The locked file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
