//! Streams to and from the files of a data folder.

use super::{DataFolder, DataFolderError};
use std::io::{self, Read, Write};
use templar_disk::{WriteOptions, Writer};

/// A file that is written piece by piece and appears, whole, when it is finished; dropped before, it leaves nothing.
pub struct FileWriter(Writer);

/// A file that is read piece by piece and hashed on the way.
pub struct FileReader {
    file: Box<dyn Read + Send>,
    hasher: blake3::Hasher,
}

impl DataFolder {
    /// Starts a file that replaces the one of this name when it is finished.
    pub fn writer(&self, name: &str) -> Result<FileWriter, DataFolderError> {
        Ok(FileWriter(self.folder.writer(name, WriteOptions::default())?))
    }

    /// Opens a file; none if there is none.
    pub fn open_file(&self, name: &str) -> Result<Option<FileReader>, DataFolderError> {
        let file = self.folder.open(name)?;
        Ok(file.map(|file| FileReader { file, hasher: blake3::Hasher::new() }))
    }

    /// Removes a file. One that cannot be removed only takes up space.
    pub fn remove(&self, name: &str) {
        let _ = self.folder.remove_file(name);
    }

    /// Removes the files `<prefix>.<number>` of other numbers than `kept`. One that cannot be removed is left for the next
    /// time: it only takes up space.
    pub fn remove_numbered(&self, prefix: &str, kept: u64) {
        let Ok(names) = self.folder.disk().list(self.folder.path()) else { return };
        for name in names {
            let number =
                name.to_str().and_then(|name| name.strip_prefix(prefix)?.strip_prefix('.')?.parse::<u64>().ok());
            if number.is_some_and(|number| number != kept) {
                let _ = self.folder.remove_file(&name);
            }
        }
    }
}

impl FileWriter {
    /// Appends bytes.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), DataFolderError> {
        Ok(self.0.write(bytes)?)
    }

    /// Brings the file to the disk under its name; gives the BLAKE3 of its bytes.
    pub fn finish(self) -> Result<[u8; 32], DataFolderError> {
        Ok(self.0.finish()?.hash)
    }
}

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut self.0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for FileReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(out)?;
        self.hasher.update(&out[..count]);
        Ok(count)
    }
}

impl FileReader {
    /// Reads to the end; gives the BLAKE3 of the whole file, none where it cannot be read.
    pub fn hash_to_end(mut self) -> Option<[u8; 32]> {
        io::copy(&mut self, &mut io::sink()).ok()?;
        Some(*self.hasher.finalize().as_bytes())
    }
}
