//! A folder of durable files.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::draft::folder_of;
use crate::{Disk, DiskError, Lock, SystemDisk, WriteOptions, Writer};

/// A folder on a disk. Making a handle touches nothing; clones are cheap.
#[derive(Debug, Clone)]
pub struct Folder {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl Folder {
    /// A folder of the machine's disk.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::over(Arc::new(SystemDisk), path)
    }

    /// A folder of any disk.
    pub fn over(disk: Arc<dyn Disk>, path: impl Into<PathBuf>) -> Self {
        Self { disk, path: path.into() }
    }

    /// The folder that holds the file `path`, on the machine's disk.
    pub fn of_file(path: &Path) -> Self {
        Self::new(folder_of(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The disk that it is on.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// A folder below this one.
    pub fn folder(&self, name: impl AsRef<Path>) -> Self {
        Self { disk: Arc::clone(&self.disk), path: self.path.join(name) }
    }

    /// Creates the folder with its parents, if needed.
    pub fn create(&self) -> Result<(), DiskError> {
        self.disk.create_folders(&self.path).map_err(|error| DiskError::new("create the folder", &self.path, error))
    }

    /// Removes the folder with everything in it; nothing happens where there is none.
    pub fn remove(&self) -> Result<(), DiskError> {
        absent_is_done(self.disk.remove_folder(&self.path))
            .map_err(|error| DiskError::new("remove the folder", &self.path, error))
    }

    /// The bytes of a file; `None` if there is none.
    pub fn read(&self, name: impl AsRef<Path>) -> Result<Option<Vec<u8>>, DiskError> {
        let path = self.path.join(name);
        let Some(mut file) = self.open_path(&path)? else { return Ok(None) };
        let failed = |error| DiskError::new("read", &path, error);
        let facts = self.disk.facts(&path).map_err(failed)?;
        let mut bytes = Vec::with_capacity(usize::try_from(facts.bytes).unwrap_or(0));
        file.read_to_end(&mut bytes).map_err(failed)?;
        Ok(Some(bytes))
    }

    /// Opens a file for reading from its start; `None` if there is none.
    pub fn open(&self, name: impl AsRef<Path>) -> Result<Option<Box<dyn Read + Send>>, DiskError> {
        self.open_path(&self.path.join(name))
    }

    fn open_path(&self, path: &Path) -> Result<Option<Box<dyn Read + Send>>, DiskError> {
        match self.disk.open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DiskError::new("read", path, error)),
        }
    }

    /// Writes a file of these parts, whole or not at all, over an older one.
    pub fn write(&self, name: impl AsRef<Path>, parts: &[&[u8]]) -> Result<(), DiskError> {
        self.write_with(name, parts, WriteOptions::default())
    }

    /// Like [`Folder::write`], with options.
    pub fn write_with(&self, name: impl AsRef<Path>, parts: &[&[u8]], options: WriteOptions) -> Result<(), DiskError> {
        let mut writer = self.writer(name, options)?;
        parts.iter().try_for_each(|part| writer.write(part))?;
        writer.finish().map(|_| ())
    }

    /// Begins a file that is streamed; it appears when it is finished.
    pub fn writer(&self, name: impl AsRef<Path>, options: WriteOptions) -> Result<Writer, DiskError> {
        Writer::create(Arc::clone(&self.disk), &self.path.join(name), options)
    }

    /// Removes a file; nothing happens where there is none.
    pub fn remove_file(&self, name: impl AsRef<Path>) -> Result<(), DiskError> {
        let path = self.path.join(name);
        absent_is_done(self.disk.remove_file(&path)).map_err(|error| DiskError::new("remove", &path, error))
    }

    /// Makes this process the only one that has the lock `name` of this folder; [`DiskError::InUse`] if another holds
    /// it. The folder must exist.
    pub fn lock(&self, name: impl AsRef<Path>) -> Result<Lock, DiskError> {
        Lock::try_take(&*self.disk, &self.path.join(name))
    }

    /// Like [`Folder::lock`], but waits for a lock that every holder keeps briefly.
    pub fn wait_for_lock(&self, name: impl AsRef<Path>) -> Result<Lock, DiskError> {
        Lock::wait_for(&*self.disk, &self.path.join(name))
    }

    /// Bytes that may still be written to its file system.
    pub fn free_bytes(&self) -> Result<u64, DiskError> {
        self.disk.free_bytes(&self.path).map_err(|error| DiskError::new("ask for the free space of", &self.path, error))
    }
}

pub(crate) fn absent_is_done(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
