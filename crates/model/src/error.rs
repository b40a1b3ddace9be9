//! A file or folder that cannot be read or written.

use std::io;
use std::path::{Path, PathBuf};
use templar_disk::DiskError;

/// A file or folder that cannot be read or written; the disk or the path is at fault.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct FileError {
    /// What was tried: `read`, `write`, `make the folder`, ...
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The system's answer.
    #[source]
    pub source: io::Error,
}

impl From<DiskError> for FileError {
    fn from(error: DiskError) -> Self {
        Self { action: error.operation(), path: error.path().to_owned(), source: error.into() }
    }
}

impl FileError {
    /// Turns the system's error into one that names the action and the path.
    pub(crate) fn at<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Self + Copy + 'a {
        move |source| Self { action, path: path.to_owned(), source }
    }
}
