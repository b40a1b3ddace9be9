//! The tokens of a corpus, left in their files and read a sequence at a time.
//!
//! Files are read by position; the system's page cache keeps what is read often, as it would for a memory map. A map was
//! not chosen: where somebody copies a corpus over itself, a file is empty for a moment, and reading a map of it ends
//! the process by a signal; here it is an error with a name. Files stay open, so that a folder may go while its corpus
//! is in use; only of a very large corpus, whose files are more than a process may have open, the later ones are opened
//! for each read.

use crate::shard::{HEADER_BYTES, Width};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use templar_disk::read_exact_at;

/// Most files that one part of a corpus keeps open: a gigabyte of text or two. A process has 1024 descriptors by default.
const MOST_OPEN_FILES: usize = 128;

/// A shard's tokens cannot be read, or are not those that were checked when the corpus was opened.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot read the tokens of {}: {source}; do not write into an open corpus, or fetch it again", path.display())]
pub struct TokensUnreadable {
    /// The shard.
    pub path: PathBuf,
    /// What the system says.
    pub source: Arc<io::Error>,
}

/// The shards of one part of a corpus, one behind the other.
#[derive(Debug)]
pub(crate) struct TokenShards {
    width: Width,
    vocab_size: u32,
    shards: Vec<Shard>,
    tokens: u64,
    most_open: usize,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    /// None where it is opened for each read.
    file: Option<File>,
    /// Tokens of all shards before it.
    start: u64,
    tokens: u64,
}

impl TokenShards {
    pub(crate) fn new(vocab_size: u32) -> Self {
        let width = Width::of_vocabulary(vocab_size);
        Self { width, vocab_size, shards: Vec::new(), tokens: 0, most_open: MOST_OPEN_FILES }
    }

    /// Adds a shard that was checked.
    pub(crate) fn push(&mut self, path: PathBuf, file: File, tokens: u64) {
        let file = (self.shards.len() < self.most_open).then_some(file);
        self.shards.push(Shard { path, file, start: self.tokens, tokens });
        self.tokens += tokens;
    }

    pub(crate) fn len(&self) -> u64 {
        self.tokens
    }

    /// Bytes of the tokens, on the disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.tokens * self.width.bytes() as u64
    }

    /// Appends the tokens of a range, which the caller keeps inside.
    pub(crate) fn read(&self, start: u64, count: usize, out: &mut Vec<u32>) -> Result<(), TokensUnreadable> {
        let (mut at, end) = (start, start + count as u64);
        let mut number = self.shards.partition_point(|shard| shard.start + shard.tokens <= start);
        while at < end {
            let shard = &self.shards[number];
            let stop = end.min(shard.start + shard.tokens);
            self.read_from(shard, at - shard.start, (stop - at) as usize, out)
                .map_err(|source| TokensUnreadable { path: shard.path.clone(), source: Arc::new(source) })?;
            (at, number) = (stop, number + 1);
        }
        Ok(())
    }

    fn read_from(&self, shard: &Shard, first: u64, count: usize, out: &mut Vec<u32>) -> io::Result<()> {
        let width = self.width.bytes();
        let mut bytes = vec![0; count * width];
        let offset = HEADER_BYTES as u64 + first * width as u64;
        match &shard.file {
            Some(file) => read_exact_at(file, &mut bytes, offset)?,
            None => read_exact_at(&File::open(&shard.path)?, &mut bytes, offset)?,
        }
        let before = out.len();
        self.width.decode(&bytes, out);
        if out[before..].iter().any(|id| *id >= self.vocab_size) {
            out.truncate(before);
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file changed since it was checked"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::encode_shard;

    /// Shards of 5, 0 and 7 tokens, which count up; at most `most_open` of them stay open.
    fn shards(folder: &std::path::Path, vocab_size: u32, most_open: usize) -> TokenShards {
        let mut shards = TokenShards { most_open, ..TokenShards::new(vocab_size) };
        for (number, range) in [0..5u32, 5..5, 5..12].into_iter().enumerate() {
            let (path, ids) = (folder.join(number.to_string()), range.collect::<Vec<_>>());
            std::fs::write(&path, encode_shard(&ids, shards.width)).unwrap();
            let file = File::open(&path).unwrap();
            shards.push(path, file, ids.len() as u64);
        }
        shards
    }

    #[test]
    fn every_range_is_read_across_shards() {
        for (vocab_size, most_open) in [(300, 9), (100_000, 1), (300, 0)] {
            let folder = tempfile::tempdir().unwrap();
            let shards = shards(folder.path(), vocab_size, most_open);
            assert_eq!((shards.len(), shards.bytes()), (12, 12 * shards.width.bytes() as u64));
            for start in 0..=12u32 {
                for count in 0..=12 - start {
                    let mut out = vec![77];
                    shards.read(u64::from(start), count as usize, &mut out).unwrap();
                    let expected: Vec<u32> = [77].into_iter().chain(start..start + count).collect();
                    assert_eq!(out, expected);
                }
            }
        }
    }

    #[test]
    fn a_shard_that_shrinks_or_changes_is_an_error() {
        for most_open in [9, 0] {
            let folder = tempfile::tempdir().unwrap();
            let shards = shards(folder.path(), 300, most_open);
            let last = folder.path().join("2");
            let good = std::fs::read(&last).unwrap();
            let mut spoilt = good.clone();
            *spoilt.last_mut().unwrap() = 0xff;
            for bytes in [&good[..good.len() - 1], &good[..0], &spoilt] {
                std::fs::write(&last, bytes).unwrap();
                let mut out = Vec::new();
                let error = shards.read(3, 9, &mut out).unwrap_err();
                assert!(error.to_string().contains(last.to_str().unwrap()), "{error}");
                shards.read(3, 2, &mut out).unwrap();
            }
            std::fs::write(&last, &good).unwrap();
            shards.read(5, 7, &mut Vec::new()).unwrap();
        }
    }

    #[test]
    fn open_files_outlive_their_folder_and_others_are_missed() {
        let folder = tempfile::tempdir().unwrap();
        let shards = shards(folder.path(), 300, 2);
        folder.close().unwrap();
        shards.read(0, 5, &mut Vec::new()).unwrap();
        let error = shards.read(4, 2, &mut Vec::new()).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::NotFound);
    }
}
