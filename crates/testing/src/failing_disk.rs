//! A disk that stops working.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use templar_disk::{Disk, DiskFile, Facts, LockMode, Readers, SystemDisk};

/// The machine's disk, on which every change fails after a given number of them: a full disk where it is asked again, a
/// killed process where it is not. Reading keeps working.
#[derive(Debug)]
pub struct FailingDisk {
    changes_left: Arc<AtomicU64>,
    error: io::ErrorKind,
    can_exchange: bool,
}

struct FailingFile {
    file: Box<dyn DiskFile>,
    changes_left: Arc<AtomicU64>,
    error: io::ErrorKind,
}

fn spend(changes_left: &AtomicU64, error: io::ErrorKind) -> io::Result<()> {
    let spent = changes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    spent.map(|_| ()).map_err(|_| error.into())
}

impl FailingDisk {
    /// A disk on which `changes` changes succeed, and all later ones fail with `error`.
    pub fn after(changes: u64, error: io::ErrorKind) -> Self {
        Self { changes_left: Arc::new(AtomicU64::new(changes)), error, can_exchange: true }
    }

    /// The same, of a system that cannot swap two folders in one step.
    pub fn without_exchange(mut self) -> Self {
        self.can_exchange = false;
        self
    }

    /// Allows further changes, such as after somebody freed space.
    pub fn allow(&self, changes: u64) {
        self.changes_left.store(changes, Ordering::Relaxed);
    }

    fn change(&self) -> io::Result<()> {
        spend(&self.changes_left, self.error)
    }
}

impl Write for FailingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        spend(&self.changes_left, self.error)?;
        // Half of it, as a disk that fills up takes it.
        self.file.write(&bytes[..bytes.len().div_ceil(2)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl DiskFile for FailingFile {
    fn append(&mut self, path: &Path) -> io::Result<u64> {
        spend(&self.changes_left, self.error)?;
        self.file.append(path)
    }

    fn sync(&mut self) -> io::Result<()> {
        spend(&self.changes_left, self.error)?;
        self.file.sync()
    }
}

impl Disk for FailingDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        SystemDisk.open(path)
    }

    fn facts(&self, path: &Path) -> io::Result<Facts> {
        SystemDisk.facts(path)
    }

    fn create(&self, path: &Path, readers: Readers, only_new: bool) -> io::Result<Box<dyn DiskFile>> {
        self.change()?;
        let file = SystemDisk.create(path, readers, only_new)?;
        Ok(Box::new(FailingFile { file, changes_left: Arc::clone(&self.changes_left), error: self.error }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        SystemDisk.rename(from, to)
    }

    fn name_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        SystemDisk.name_new(from, to)
    }

    fn exchange(&self, a: &Path, b: &Path) -> io::Result<()> {
        self.change()?;
        if !self.can_exchange {
            return Err(io::ErrorKind::Unsupported.into());
        }
        SystemDisk.exchange(a, b)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        SystemDisk.remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        SystemDisk.remove_folder(path)
    }

    fn create_folders(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        SystemDisk.create_folders(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        SystemDisk.list(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.change()?;
        SystemDisk.sync_folder(folder)
    }

    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Option<Box<dyn fmt::Debug + Send + Sync>>> {
        SystemDisk.lock(path, mode)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        match self.changes_left.load(Ordering::Relaxed) {
            0 => Ok(0),
            _ => SystemDisk.free_bytes(path),
        }
    }
}
