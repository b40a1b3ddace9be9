//! Opening what holds text: files, packed or not, and pipes, which are kept in a file without a name.

use crate::content::{HEAD_BYTES, Look, Packing, look};
use crate::documents::SourceError;
use flate2::read::MultiGzDecoder;
use std::fs::{File, FileType, OpenOptions};
use std::io::{self, IsTerminal, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file to read from the start, as often as asked.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    /// The path, as the operator knows it.
    pub(crate) path: PathBuf,
    /// What came through a pipe.
    kept: Option<Arc<File>>,
}

/// The first bytes of an input, unpacked.
pub(crate) struct Head {
    /// How the input is packed.
    pub(crate) packing: Option<Packing>,
    /// What the bytes say.
    pub(crate) look: Look,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
}

impl Input {
    pub(crate) fn of_file(path: &Path) -> Self {
        Self { path: path.to_path_buf(), kept: None }
    }

    /// Reads a pipe to its end. Every later reading is of what came then.
    pub(crate) fn of_pipe(path: &Path) -> Result<Self, SourceError> {
        let mut pipe = File::open(path).map_err(SourceError::unreadable(path))?;
        Self::keep(path, &mut pipe)
    }

    /// Reads the standard input to its end.
    pub(crate) fn of_stdin(path: &Path) -> Result<Self, SourceError> {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            return Err(SourceError::NotFile { path: path.to_path_buf(), what: "a terminal" });
        }
        Self::keep(path, &mut stdin.lock())
    }

    fn keep(path: &Path, from: &mut impl Read) -> Result<Self, SourceError> {
        let folder = std::env::temp_dir();
        let failed = |source| SourceError::NotKept { path: path.to_path_buf(), folder: folder.clone(), source };
        let mut file = nameless_file(&folder).map_err(failed)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(SourceError::unreadable(path)(source)),
            };
            io::Write::write_all(&mut file, &buffer[..count]).map_err(failed)?;
        }
        Ok(Self { path: path.to_path_buf(), kept: Some(Arc::new(file)) })
    }

    /// The file as it is. One reader of a kept pipe at a time: they share their place.
    pub(crate) fn file(&self) -> Result<File, SourceError> {
        let opened = match &self.kept {
            None => File::open(&self.path),
            Some(kept) => kept.try_clone().and_then(|mut file| file.seek(SeekFrom::Start(0)).map(|_| file)),
        };
        opened.map_err(SourceError::unreadable(&self.path))
    }

    /// What is in the file, unpacked.
    pub(crate) fn reader(&self, packing: Option<Packing>) -> Result<Box<dyn Read + Send>, SourceError> {
        let file = self.file()?;
        Ok(match packing {
            None => Box::new(file),
            Some(Packing::Gzip) => Box::new(MultiGzDecoder::new(io::BufReader::with_capacity(1 << 18, file))),
            Some(Packing::Zstd) => {
                Box::new(zstd::stream::read::Decoder::new(file).map_err(SourceError::unreadable(&self.path))?)
            }
        })
    }

    /// What is at the start of the file.
    pub(crate) fn head(&self) -> Result<Head, SourceError> {
        let outer = self.start(None)?;
        let (packing, bytes) = match look_of(&outer) {
            Look::Packed(packing) => (Some(packing), self.start(Some(packing))?),
            _ => (None, outer),
        };
        Ok(Head { packing, look: look_of(&bytes), bytes })
    }

    fn start(&self, packing: Option<Packing>) -> Result<Vec<u8>, SourceError> {
        let mut bytes = Vec::new();
        let read = self.reader(packing)?.take(HEAD_BYTES as u64).read_to_end(&mut bytes);
        read.map_err(|source| self.failed(packing, source))?;
        Ok(bytes)
    }

    /// A failure to read on.
    pub(crate) fn failed(&self, packing: Option<Packing>, source: io::Error) -> SourceError {
        let path = self.path.clone();
        match (packing, source.kind()) {
            (Some(_), io::ErrorKind::UnexpectedEof) => {
                SourceError::Damaged { path, reason: "what is packed in it is cut off: fetch it again".to_owned() }
            }
            (Some(_), _) => {
                SourceError::Damaged { path, reason: format!("it cannot be unpacked ({source}): fetch it again") }
            }
            (None, _) => SourceError::unreadable(&self.path)(source),
        }
    }
}

fn look_of(head: &[u8]) -> Look {
    look(head, head.len() < HEAD_BYTES)
}

/// A file that is gone when nobody has it open.
fn nameless_file(folder: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let process = std::process::id();
    for number in 0..u32::MAX {
        let path = folder.join(format!("templar-text-{process}-{number}"));
        match options.open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathKind {
    Folder,
    File,
    Pipe,
    /// Neither; with its name.
    Other(&'static str),
}

pub(crate) fn path_kind(kind: FileType) -> PathKind {
    if kind.is_dir() {
        return PathKind::Folder;
    }
    if kind.is_file() {
        return PathKind::File;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return PathKind::Pipe;
        }
        if kind.is_socket() {
            return PathKind::Other("a socket");
        }
    }
    PathKind::Other("a device")
}
