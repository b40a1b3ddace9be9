//! A folder that is replaced as a whole or not at all, and has one writer.

use crate::FileError;
use crate::companions::is_companion;
use crate::training::{OPTIMISER_FILE, RECORD_FILE};
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use templar_disk::{DiskError, Existing, Folder, FolderDraft, SystemDisk, WriteOptions, Writers};
use templar_engine::checkpoint::{CONFIG_FILE, INDEX_FILE, TOKENIZER_FILE};

pub use templar_disk::Lock;

/// A folder that cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// The path has no last part, such as `.` or `/`; the caller is at fault.
    #[error("{} has no name of its own: name a folder to create", path.display())]
    NoName {
        /// The path.
        path: PathBuf,
    },
    /// Another process holds the folder.
    #[error("{} is in use: another process trains there", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// There is a file in its place; the caller is at fault.
    #[error("{} is a file: name a folder to create", path.display())]
    IsFile {
        /// The path.
        path: PathBuf,
    },
    /// The folder has what no model folder has, which would be gone with the folder that is replaced; the caller is at
    /// fault.
    #[error(
        "{} has {name} in it, which is not a file of a model and would be lost: it is left as it is; move that away, or \
         name another folder",
        path.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// The first such file or folder.
        name: String,
    },
    /// The folder or a file in it cannot be written; the disk or the path is at fault.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Makes this process the only one that writes the folder, for as long as the lock is held. As the folder is replaced as a
/// whole, it fails where there is more in it than a model.
pub fn lock(folder: &Path) -> Result<Lock, FolderError> {
    let Some(name) = folder.file_name() else { return Err(FolderError::NoName { path: folder.to_owned() }) };
    check_replaceable(folder)?;
    let parent = Folder::of_file(folder);
    parent.create().map_err(FileError::from)?;
    parent.lock(format!(".{}.lock", name.to_string_lossy())).map_err(|error| match error {
        DiskError::InUse { .. } => FolderError::InUse { path: folder.to_owned() },
        error => FileError::from(error).into(),
    })
}

fn check_replaceable(folder: &Path) -> Result<(), FolderError> {
    if folder.is_file() {
        return Err(FolderError::IsFile { path: folder.to_owned() });
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // What is in the way of making it is told when it is made.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(FileError::at("read", folder)(error).into()),
    };
    let names = entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned());
    match names.filter(|name| !is_of_model(name)).min() {
        Some(name) => Err(FolderError::Foreign { path: folder.to_owned(), name }),
        None => Ok(()),
    }
}

/// Whether a file or folder of this name belongs to a model folder.
fn is_of_model(name: &str) -> bool {
    const NAMES: [&str; 8] = [
        CONFIG_FILE,
        TOKENIZER_FILE,
        RECORD_FILE,
        OPTIMISER_FILE,
        INDEX_FILE,
        // Of Hugging Face, besides the companions.
        "added_tokens.json",
        "vocab.json",
        "merges.txt",
    ];
    let is_parameters = name.starts_with("model") && name.ends_with(".safetensors");
    // What was being written when a process was killed.
    let is_draft = name.starts_with('.') && name.ends_with(".new");
    is_parameters || is_draft || NAMES.contains(&name) || is_companion(name)
}

/// Replaces the folder by one with these files. A kill at any instant leaves the old one or the new one.
pub fn replace(folder: &Path, files: &[(&str, &[u8])]) -> Result<(), FileError> {
    replace_with(folder, |new| files.iter().try_for_each(|(name, bytes)| write_file(&new.join(name), bytes)))
}

/// As [`replace`], with files that `write` puts into the folder that it is given (by [`write_file`]).
/// Gives what `write` gives.
pub fn replace_with<T, E: From<FileError>>(folder: &Path, write: impl FnOnce(&Path) -> Result<T, E>) -> Result<T, E> {
    let draft = FolderDraft::beside(Arc::new(SystemDisk), folder, Writers::One).map_err(FileError::from)?;
    let written = write(draft.folder().path())?;
    draft.put_in_place(Existing::Replace).map_err(FileError::from)?;
    Ok(written)
}

/// Writes a file, whole or not at all, so that it survives a power failure.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let name = path.file_name().unwrap_or_default();
    Ok(Folder::of_file(path).write(name, &[bytes])?)
}

/// Writes a file piece by piece, whole or not at all, so that it survives a power failure.
pub fn stream_file<E: From<FileError>>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let name = path.file_name().unwrap_or_default();
    let file = Folder::of_file(path).writer(name, WriteOptions::default()).map_err(FileError::from)?;
    let mut buffered = BufWriter::new(file);
    write(&mut buffered)?;
    let file = buffered.into_inner().map_err(|error| FileError::at("write", path)(error.into_error()))?;
    file.finish().map_err(FileError::from)?;
    Ok(())
}

/// Puts the old folder back if a kill came between the two renames of [`replace`].
pub fn recover(folder: &Path) -> Result<(), FileError> {
    Ok(templar_disk::recover(&SystemDisk, folder)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_replaced_whole_and_leaves_nothing_beside() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("first");
        for text in ["one", "two"] {
            replace(&folder, &[("a", text.as_bytes())]).unwrap();
            assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), text);
            assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_kill_between_two_renames_is_repaired() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("first");
        replace(&folder, &[("a", b"one")]).unwrap();
        fs::rename(&folder, root.path().join(".first.old")).unwrap();
        recover(&folder).unwrap();
        assert!(folder.join("a").is_file());
    }

    #[test]
    fn a_folder_with_more_than_a_model_in_it_is_left_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("first");
        let names = ["config.json", "model-00001-of-00002.safetensors", "chat_template.jinja", "training.json"];
        for name in names {
            lock(&folder).unwrap();
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(name), "x").unwrap();
        }
        lock(&folder).unwrap();
        fs::create_dir(folder.join("photos")).unwrap();
        fs::write(folder.join("thesis.txt"), "x").unwrap();
        let error = lock(&folder).unwrap_err().to_string();
        assert!(error.contains("photos in it") && error.contains("would be lost"), "{error}");
        let error = lock(&folder.join("thesis.txt")).unwrap_err().to_string();
        assert!(error.contains("is a file"), "{error}");
    }

    #[test]
    fn a_folder_has_one_writer() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("first");
        let held = lock(&folder).unwrap();
        assert!(lock(&folder).unwrap_err().to_string().contains("is in use"));
        drop(held);
        lock(&folder).unwrap();
    }
}
