//! Files through which values go between the engine and its ranks, which map them.
//!
//! They are in memory where the system has a folder for that. A file is filled before its name is sent, and never
//! shrinks while a rank may map it: reading beyond its end would kill the rank.

use crate::TorchError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use templar_engine::SEGMENT;

/// Values of the window that ranges of the flat buffers go through: 64 MiB. Measured with 100 million parameters, a
/// whole copy on the host was no faster.
pub(crate) const WINDOW: usize = 16 * SEGMENT;

/// Values that are turned into bytes at a time.
const BLOCK: usize = 1 << 16;

/// Where Linux keeps files in memory.
const IN_MEMORY: &str = "/dev/shm";

/// The folder of the files; it is removed with this.
pub(crate) struct Exchange {
    folder: PathBuf,
    window: File,
    values: usize,
}

/// A file that is removed when this is dropped.
pub(crate) struct Scratch {
    pub path: PathBuf,
    file: File,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Exchange {
    /// A new folder with a window for a model of `total` parameters: below `parent`, or in memory where there is room
    /// for the window, or else in the system's folder for temporary files.
    pub(crate) fn create(parent: Option<&Path>, total: usize) -> Result<Self, TorchError> {
        let values = total.clamp(1, WINDOW);
        if let Some(parent) = parent {
            return Self::create_in(parent, values);
        }
        // Containers often allow little memory here; then the disk is the place.
        Self::create_in(Path::new(IN_MEMORY), values).or_else(|_| Self::create_in(&std::env::temp_dir(), values))
    }

    fn create_in(parent: &Path, values: usize) -> Result<Self, TorchError> {
        let folder = new_folder(parent).map_err(failed(parent))?;
        let path = folder.join("window");
        let made = File::options().read(true).write(true).create_new(true).open(&path).and_then(|mut file| {
            zeros(&mut file, values)?;
            Ok(file)
        });
        match made {
            Ok(window) => Ok(Self { folder, window, values }),
            Err(source) => {
                let _ = fs::remove_dir_all(&folder);
                Err(TorchError::Exchange { path, source })
            }
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The window's file.
    pub(crate) fn window_path(&self) -> PathBuf {
        self.folder.join("window")
    }

    /// Values that fit into the window.
    pub(crate) fn window_values(&self) -> usize {
        self.values
    }

    /// Puts values at the window's start.
    pub(crate) fn put(&mut self, values: &[f32]) -> Result<(), TorchError> {
        let path = self.window_path();
        let put = |file: &mut File| {
            file.seek(SeekFrom::Start(0))?;
            write_words(file, values.iter().map(|value| value.to_le_bytes()))
        };
        put(&mut self.window).map_err(failed(&path))
    }

    /// Takes values from the window's start.
    pub(crate) fn take(&mut self, out: &mut [f32]) -> Result<(), TorchError> {
        let path = self.window_path();
        self.window.seek(SeekFrom::Start(0)).and_then(|_| read_values(&mut self.window, out)).map_err(failed(&path))
    }

    /// A file of words.
    pub(crate) fn words(&self, name: &str, words: impl Iterator<Item = [u8; 4]>) -> Result<Scratch, TorchError> {
        let mut scratch = self.scratch(name)?;
        write_words(&mut scratch.file, words).map_err(failed(&scratch.path))?;
        Ok(scratch)
    }

    /// A file of zeros, which the ranks fill.
    pub(crate) fn zeros(&self, name: &str, values: usize) -> Result<Scratch, TorchError> {
        let mut scratch = self.scratch(name)?;
        zeros(&mut scratch.file, values).map_err(failed(&scratch.path))?;
        Ok(scratch)
    }

    fn scratch(&self, name: &str) -> Result<Scratch, TorchError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let path = self.folder.join(format!("{name}-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).map_err(failed(&path))?;
        Ok(Scratch { path, file })
    }
}

impl Scratch {
    /// All values of the file.
    pub(crate) fn read(&mut self, out: &mut [f32]) -> Result<(), TorchError> {
        self.file.seek(SeekFrom::Start(0)).and_then(|_| read_values(&mut self.file, out)).map_err(failed(&self.path))
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> TorchError + use<> {
    let path = path.to_owned();
    move |source| TorchError::Exchange { path: path.clone(), source }
}

/// A folder that only this user may look into: the ranks run the program in it.
fn new_folder(parent: &Path) -> io::Result<PathBuf> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let moment = since.map_or(0, |since| since.as_nanos());
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = parent.join(format!("templar-torch-{}-{moment}-{number}", std::process::id()));
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder)?;
    Ok(folder)
}

/// Writes zeros rather than making a file with a hole: what has no room fails here, and not in a rank that maps it.
fn zeros(file: &mut File, values: usize) -> io::Result<()> {
    write_words(file, std::iter::repeat_n([0; 4], values))
}

fn write_words(file: &mut File, words: impl Iterator<Item = [u8; 4]>) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(4 * BLOCK);
    for word in words {
        bytes.extend_from_slice(&word);
        if bytes.len() == 4 * BLOCK {
            file.write_all(&bytes)?;
            bytes.clear();
        }
    }
    file.write_all(&bytes)
}

fn read_values(file: &mut File, out: &mut [f32]) -> io::Result<()> {
    let mut bytes = vec![0; 4 * out.len().min(BLOCK)];
    for part in out.chunks_mut(BLOCK) {
        let bytes = &mut bytes[..4 * part.len()];
        file.read_exact(bytes)?;
        let words = bytes.as_chunks::<4>().0;
        part.iter_mut().zip(words).for_each(|(value, word)| *value = f32::from_le_bytes(*word));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_nothing_is_left() {
        let parent = tempfile::tempdir().unwrap();
        let values: Vec<f32> = (0..3 * BLOCK + 7).map(|at| at as f32 * 0.5).collect();
        let mut exchange = Exchange::create(Some(parent.path()), values.len()).unwrap();
        exchange.put(&values).unwrap();
        let mut out = vec![0.0; BLOCK + 1];
        exchange.take(&mut out).unwrap();
        assert_eq!(out, values[..BLOCK + 1]);
        let mut file = exchange.words("tokens", [1.5f32, -2.0].into_iter().map(f32::to_le_bytes)).unwrap();
        let mut out = [0.0; 2];
        file.read(&mut out).unwrap();
        assert_eq!(out, [1.5, -2.0]);
        let zeros = exchange.zeros("logits", 5).unwrap();
        assert_eq!(fs::metadata(&zeros.path).unwrap().len(), 20);
        drop(zeros);
        drop(file);
        assert_eq!(fs::read_dir(exchange.folder()).unwrap().count(), 1);
        drop(exchange);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_window_is_no_larger_than_the_model() {
        let parent = tempfile::tempdir().unwrap();
        assert_eq!(Exchange::create(Some(parent.path()), 10).unwrap().window_values(), 10);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = Exchange::create(Some(Path::new("/nowhere/at/all")), 1).err().unwrap().to_string();
        assert!(error.contains("/nowhere/at/all"), "{error}");
    }
}
