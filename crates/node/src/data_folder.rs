//! A node's folder: one process, one run, files that are whole or not there.

mod file;

pub use file::FileWriter;

use std::io;
use std::path::{Path, PathBuf};
use templar_base::RunId;
use templar_disk::{DiskError, Folder, Lock};
use templar_round::Role;

/// Version of the files' form.
const VERSION: u32 = 2;

/// A data folder that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataFolderError {
    /// Another process holds it.
    #[error("data folder {} is in use by another process; stop it, or choose another folder with --data", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// It holds another run, role or version.
    #[error("data folder {} holds {found}, not {wanted}; choose another folder with --data, or remove this one", path.display())]
    Other {
        /// The folder.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// The disk is full.
    #[error("the disk under {} is full; free some space, the node goes on by itself", path.display())]
    Full {
        /// The file that could not be written.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot use {}: {source}; check the path and its permissions", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Locked by the process that uses the folder.
const LOCK_FILE: &str = "lock";

/// A folder that this process alone uses.
#[derive(Debug)]
pub struct DataFolder {
    folder: Folder,
    /// Held for as long as the folder is open; the system frees it with the process, however that ends.
    _lock: Lock,
}

impl From<DiskError> for DataFolderError {
    fn from(error: DiskError) -> Self {
        let path = error.path().to_owned();
        match error {
            DiskError::InUse { .. } => Self::InUse { path },
            DiskError::Full { .. } => Self::Full { path },
            other => Self::Io { path, source: other.into() },
        }
    }
}

impl DataFolder {
    /// Opens (or makes) the folder of one role in one run.
    pub fn open(path: &Path, run: RunId, role: Role) -> Result<Self, DataFolderError> {
        let folder = Folder::new(path);
        folder.create()?;
        let lock = folder.lock(LOCK_FILE).map_err(|error| match error {
            DiskError::InUse { .. } => DataFolderError::InUse { path: path.to_owned() },
            other => other.into(),
        })?;
        let folder = Self { folder, _lock: lock };
        let wanted = format!("version {VERSION}, run {run}, {role}");
        match folder.read("contents")? {
            Some(bytes) if bytes == wanted.as_bytes() => {}
            Some(bytes) => {
                let found = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
                return Err(DataFolderError::Other { path: path.to_owned(), found, wanted });
            }
            None => folder.write("contents", &[wanted.as_bytes()])?,
        }
        Ok(folder)
    }

    /// Whether a process uses the folder now. It makes nothing; a process may start right after.
    pub fn is_in_use(path: &Path) -> bool {
        path.is_dir() && matches!(Folder::new(path).lock(LOCK_FILE), Err(DiskError::InUse { .. }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The bytes of a file; none if it is not there.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, DataFolderError> {
        Ok(self.folder.read(name)?)
    }

    /// Writes a file of these parts, atomically: after a kill at any instant the old or the new one is there, whole.
    pub fn write(&self, name: &str, parts: &[&[u8]]) -> Result<(), DataFolderError> {
        Ok(self.folder.write(name, parts)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("templar-data-folder-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn a_second_opener_and_another_run_are_refused() {
        let path = scratch("lock");
        let folder = DataFolder::open(&path, RunId::new([1; 32]), Role::Miner).unwrap();
        let second = DataFolder::open(&path, RunId::new([1; 32]), Role::Miner);
        assert!(matches!(second, Err(DataFolderError::InUse { .. })));
        drop(folder);
        let other = DataFolder::open(&path, RunId::new([2; 32]), Role::Miner);
        assert!(matches!(other, Err(DataFolderError::Other { .. })));
        assert!(DataFolder::open(&path, RunId::new([1; 32]), Role::Miner).is_ok());
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let path = scratch("write");
        let folder = DataFolder::open(&path, RunId::new([1; 32]), Role::Miner).unwrap();
        assert_eq!(folder.read("state").unwrap(), None);
        folder.write("state", &[b"one", b"two"]).unwrap();
        folder.write("state", &[b"three"]).unwrap();
        assert_eq!(folder.read("state").unwrap().unwrap(), b"three");
        fs::remove_dir_all(path).unwrap();
    }
}
