//! What can go wrong with a durable file, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why an operation on a file or folder failed. The old content is still there, whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// Another process holds the lock.
    #[error("{} is in use by another process; stop that process, or choose another folder", path.display())]
    InUse {
        /// The locked file.
        path: PathBuf,
    },
    /// There is something already, and the caller did not want to replace it.
    #[error("{} exists already; remove it, or choose another name", path.display())]
    Exists {
        /// The file or folder.
        path: PathBuf,
    },
    /// The disk has no room.
    #[error("cannot {operation} {}: {source}; the disk is full: free some space and retry", path.display())]
    Full {
        /// What was asked of the disk.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system rejected the operation.
    #[error("cannot {operation} {}: {source}; check the path and its permissions", path.display())]
    Failed {
        /// What was asked of the disk.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl DiskError {
    /// Sorts an error of the system.
    pub(crate) fn new(operation: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { operation, path, source },
            _ => Self::Failed { operation, path, source },
        }
    }

    /// What was asked of the disk, such as `write`.
    pub fn operation(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "lock",
            Self::Exists { .. } => "create",
            Self::Full { operation, .. } | Self::Failed { operation, .. } => operation,
        }
    }

    /// The file or folder in question.
    pub fn path(&self) -> &Path {
        match self {
            Self::InUse { path } | Self::Exists { path } | Self::Full { path, .. } | Self::Failed { path, .. } => path,
        }
    }

    /// The kind of the system's error.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::InUse { .. } => io::ErrorKind::WouldBlock,
            Self::Exists { .. } => io::ErrorKind::AlreadyExists,
            Self::Full { source, .. } | Self::Failed { source, .. } => source.kind(),
        }
    }
}

/// The system's own error, for callers that name the path themselves.
impl From<DiskError> for io::Error {
    fn from(error: DiskError) -> Self {
        match error {
            DiskError::Full { source, .. } | DiskError::Failed { source, .. } => source,
            other => Self::new(other.kind(), other),
        }
    }
}
