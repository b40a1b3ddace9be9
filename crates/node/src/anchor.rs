//! The end point of a miner's last payload, in a file: another copy of the model that does not have to be in memory.

use crate::snapshot::{fill_values, write_values};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use templar_trainer::{Anchor, AnchorError};

/// A file of values that is written and read in one go each. It does not have to survive a kill, so it is not flushed to
/// the disk; its hash shows whether what is read back is what was written.
pub(crate) struct FileAnchor {
    path: PathBuf,
    parameters: usize,
    writing: Option<(BufWriter<File>, blake3::Hasher)>,
    reading: Option<(BufReader<File>, blake3::Hasher)>,
    hash: Option<blake3::Hash>,
}

impl FileAnchor {
    /// An anchor for this many parameters; the file is made at the first write.
    pub(crate) fn new(path: &Path, parameters: usize) -> Self {
        Self { path: path.to_owned(), parameters, writing: None, reading: None, hash: None }
    }

    fn append(&mut self, start: usize, values: &[f32]) -> io::Result<()> {
        if start == 0 {
            (self.reading, self.hash) = (None, None);
            self.writing = Some((BufWriter::new(File::create(&self.path)?), blake3::Hasher::new()));
        }
        let Some((file, hasher)) = &mut self.writing else { return Err(io::ErrorKind::InvalidInput.into()) };
        write_values(values, |bytes| {
            hasher.update(bytes);
            file.write_all(bytes)
        })?;
        if start + values.len() == self.parameters {
            file.flush()?;
            self.hash = Some(hasher.finalize());
            self.writing = None;
        }
        Ok(())
    }

    fn next(&mut self, start: usize, out: &mut [f32]) -> io::Result<()> {
        let Some(hash) = self.hash else { return Err(io::ErrorKind::NotFound.into()) };
        if start == 0 {
            self.reading = Some((BufReader::new(File::open(&self.path)?), blake3::Hasher::new()));
        }
        let Some((file, hasher)) = &mut self.reading else { return Err(io::ErrorKind::InvalidInput.into()) };
        fill_values(&mut Hashed { stream: file, hasher }, out)?;
        if start + out.len() == self.parameters {
            let is_same = hasher.finalize() == hash;
            self.reading = None;
            if !is_same {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is damaged"));
            }
        }
        Ok(())
    }
}

impl Anchor for FileAnchor {
    fn write(&mut self, start: usize, values: &[f32]) -> Result<(), AnchorError> {
        self.append(start, values).map_err(|source| AnchorError { action: "written", source: source.into() })
    }

    fn read(&mut self, start: usize, out: &mut [f32]) -> Result<(), AnchorError> {
        self.next(start, out).map_err(|source| AnchorError { action: "read", source: source.into() })
    }
}

/// A stream whose bytes are hashed on the way.
struct Hashed<'a, S> {
    stream: &'a mut S,
    hasher: &'a mut blake3::Hasher,
}

impl<S: Read> Read for Hashed<'_, S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(out)?;
        self.hasher.update(&out[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back_and_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchor.values");
        let values: Vec<f32> = (0..50_000).map(|value| value as f32 - 7.5).collect();
        let mut anchor = FileAnchor::new(&path, values.len());
        let mut out = vec![0f32; 20_000];
        assert!(anchor.read(0, &mut out).is_err(), "there is none yet");
        let write = |anchor: &mut FileAnchor| {
            anchor.write(0, &values[..30_000]).unwrap();
            anchor.write(30_000, &values[30_000..]).unwrap();
        };
        for _ in 0..2 {
            write(&mut anchor);
            // Read in other ranges than written, and twice.
            for _ in 0..2 {
                anchor.read(0, &mut out).unwrap();
                assert_eq!(out, values[..20_000]);
                let mut rest = vec![0f32; 30_000];
                anchor.read(20_000, &mut rest).unwrap();
                assert_eq!(rest, values[20_000..]);
            }
        }
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[70_000] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let mut all = vec![0f32; 50_000];
        assert!(anchor.read(0, &mut all).is_err());
        std::fs::write(&path, &bytes[..90_000]).unwrap();
        assert!(anchor.read(0, &mut all).is_err());
    }
}
