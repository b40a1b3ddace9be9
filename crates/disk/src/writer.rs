//! A file that is streamed, hashed as it is written, and visible at its end.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Disk, DiskError, Draft};

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Readers {
    /// As the process's mask says.
    #[default]
    Anybody,
    /// Its owner only: permissions 0600 from the first byte.
    Owner,
}

/// What happens to an existing file of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// It is replaced, in one step.
    #[default]
    Replace,
    /// It stays, and the write fails with [`DiskError::Exists`]; of any number of racing writers one creates the file.
    Keep,
}

/// How many may write the file at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Writers {
    /// One, because the folder is locked: the draft is `<name>.new`, and what a killed writer left is replaced.
    #[default]
    One,
    /// Several: each draft has a name of its own, `.<name>.<process>-<number>.new`.
    Many,
}

/// How a file is written. The default is a file for anybody that replaces an older one, by a single writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteOptions {
    /// Who may read it.
    pub readers: Readers,
    /// What happens to an existing file of the name.
    pub existing: Existing,
    /// How many may write it at the same time.
    pub writers: Writers,
}

/// What a finished [`Writer`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Size of the file in bytes.
    pub bytes: u64,
    /// BLAKE3 of the file.
    pub hash: [u8; 32],
}

/// A file that is being streamed to the disk. It appears at [`Writer::finish`], whole; dropped before, it leaves
/// nothing. Nothing is buffered: many small pieces belong in a [`std::io::BufWriter`] around it.
pub struct Writer {
    draft: Draft,
    target: PathBuf,
    existing: Existing,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("target", &self.target).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Writer {
    /// Begins the file `target`; its folder must exist.
    pub fn create(disk: Arc<dyn Disk>, target: &Path, options: WriteOptions) -> Result<Self, DiskError> {
        let name = target.file_name().unwrap_or_default();
        let draft = match options.writers {
            Writers::One => {
                let mut draft = name.to_owned();
                draft.push(".new");
                Draft::create_at(disk, target.with_file_name(draft), options.readers)?
            }
            Writers::Many => {
                let prefix = format!(".{}.", name.to_string_lossy());
                Draft::create_in(disk, crate::draft::folder_of(target), &prefix, ".new", options.readers)?
            }
        };
        let (target, existing) = (target.to_owned(), options.existing);
        Ok(Self { draft, target, existing, hasher: blake3::Hasher::new(), bytes: 0 })
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.draft.write(bytes)?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// BLAKE3 of what was written so far, such as for a trailer that covers all bytes before it.
    pub fn hash(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }

    /// Flushes the file to the disk and makes it visible in one step.
    pub fn finish(self) -> Result<Written, DiskError> {
        let written = Written { bytes: self.bytes, hash: self.hash() };
        self.draft.publish(&self.target, self.existing)?;
        Ok(written)
    }
}

/// For encoders that write to any stream; errors keep the kind that the system gave.
impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::write(self, bytes)?;
        Ok(bytes.len())
    }

    /// Does nothing: only [`Writer::finish`] brings the bytes to the disk.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
