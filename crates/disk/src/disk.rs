//! The operations that durable files are made of: the one place where a simulated or failing disk goes.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;

use crate::Readers;

/// A disk, as far as durable files need one. Errors are those of the operating system, by their kinds.
///
/// What is written may be lost with the power until [`DiskFile::sync`]; a new name, a rename or a removal until
/// [`Disk::sync_folder`] of its folder.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Opens a file for reading from its start.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>>;

    /// Size and kind of what is at `path`.
    fn facts(&self, path: &Path) -> io::Result<Facts>;

    /// Creates an empty file for writing. With `only_new` an existing one is an error
    /// ([`io::ErrorKind::AlreadyExists`]), otherwise it is emptied.
    fn create(&self, path: &Path, readers: Readers, only_new: bool) -> io::Result<Box<dyn DiskFile>>;

    /// Renames a file or folder in one step, over an existing file.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file the name `to` in one step; fails with [`io::ErrorKind::AlreadyExists`] where the name is taken,
    /// whatever has it. The old name may stay beside the new one.
    fn name_new(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Swaps two folders in one step; [`io::ErrorKind::Unsupported`] where the system cannot.
    fn exchange(&self, a: &Path, b: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder with everything in it.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;

    /// Creates a folder and its parents; an existing one is left as it is.
    fn create_folders(&self, path: &Path) -> io::Result<()>;

    /// The names in a folder, sorted.
    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>>;

    /// Flushes the names in a folder to the disk.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Locks the file at `path`, which is created if needed; `None` if another holder has it. The lock is released when
    /// the result is dropped or the process ends, however that ends.
    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Option<Box<dyn fmt::Debug + Send + Sync>>>;

    /// Bytes that an unprivileged process may still write to the file system of `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// A file that is being written.
pub trait DiskFile: Write + Send {
    /// Appends another file of the same disk whole; returns its length in bytes.
    fn append(&mut self, path: &Path) -> io::Result<u64>;

    /// Flushes the bytes to the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Whether it is a folder.
    pub is_folder: bool,
}

/// How a lock is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// For one holder, at once or not at all.
    Try,
    /// For one holder, however long that takes.
    Wait,
}
