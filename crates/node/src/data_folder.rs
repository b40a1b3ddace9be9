//! A node's folder: one process, one run, files that are whole or not there.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use templar_base::RunId;
use templar_round::Role;

/// Version of the files' form.
const VERSION: u32 = 1;

/// A data folder that cannot be used.
#[derive(Debug, thiserror::Error)]
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

/// A folder that this process alone uses.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// Held for as long as the folder is open; the system frees it with the process, however that ends.
    _lock: File,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> DataFolderError + '_ {
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DataFolderError::Full { path: path.to_owned() },
        _ => DataFolderError::Io { path: path.to_owned(), source },
    }
}

impl DataFolder {
    /// Opens (or makes) the folder of one role in one run.
    pub fn open(path: &Path, run: RunId, role: Role) -> Result<Self, DataFolderError> {
        fs::create_dir_all(path).map_err(failed(path))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataFolderError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(failed(&lock_path)(source)),
        }
        let folder = Self { path: path.to_owned(), _lock: lock };
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

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of a file; none if it is not there.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, DataFolderError> {
        let path = self.path.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path)(error)),
        }
    }

    /// Writes a file of these parts, atomically: after a kill at any instant the old or the new one is there, whole.
    pub fn write(&self, name: &str, parts: &[&[u8]]) -> Result<(), DataFolderError> {
        let path = self.path.join(name);
        let temporary = self.path.join(format!("{name}.new"));
        let write = || -> io::Result<()> {
            let mut file = File::create(&temporary)?;
            for part in parts {
                file.write_all(part)?;
            }
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|error| {
            // Half a file would only take up space that is short already.
            let _ = fs::remove_file(&temporary);
            failed(&path)(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
