//! A folder that is replaced as a whole or not at all, and has one writer.

use crate::FileError;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

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
    /// The folder or a file in it cannot be written; the disk or the path is at fault.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A name beside the folder, such as `.first.new` beside `first`.
fn beside(folder: &Path, suffix: &str) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!(".{name}{suffix}"))
}

/// Makes this process the only one that writes the folder, for as long as the file is held.
pub fn lock(folder: &Path) -> Result<File, FolderError> {
    if folder.file_name().is_none() {
        return Err(FolderError::NoName { path: folder.to_owned() });
    }
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(FileError::at("make the folder", parent))?;
    }
    let path = beside(folder, ".lock");
    let file = File::options().create(true).append(true).open(&path).map_err(FileError::at("write", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(FolderError::InUse { path: folder.to_owned() }),
        Err(fs::TryLockError::Error(error)) => Err(FileError::at("lock", &path)(error).into()),
    }
}

/// Replaces the folder by one with these files. A kill at any instant leaves the old one or the new one.
pub fn replace(folder: &Path, files: &[(&str, &[u8])]) -> Result<(), FileError> {
    replace_with(folder, |new| files.iter().try_for_each(|(name, bytes)| write_file(&new.join(name), bytes)))
}

/// As [`replace`], with files that `write` puts into the folder that it is given (by [`write_file`]).
pub fn replace_with<E: From<FileError>>(folder: &Path, write: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    let new = beside(folder, ".new");
    remove(&new).and_then(|()| fs::create_dir_all(&new)).map_err(FileError::at("make the folder", &new))?;
    write(&new)?;
    put_in_place(&new, folder).map_err(FileError::at("write the checkpoint", folder))?;
    Ok(())
}

/// Writes a file so that it survives a power failure.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(FileError::at("write", path))
}

fn put_in_place(new: &Path, folder: &Path) -> io::Result<()> {
    let old = beside(folder, ".old");
    File::open(new)?.sync_all()?;
    if !folder.exists() {
        fs::rename(new, folder)?;
    } else if exchange(new, folder) {
        remove(new)?;
    } else {
        // Between these two the folder is missing; `recover` puts the old one back.
        remove(&old)?;
        fs::rename(folder, &old)?;
        fs::rename(new, folder)?;
        remove(&old)?;
    }
    if let Some(parent) = folder.parent() {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Swaps two folders in one step, where the system can.
#[cfg(target_os = "linux")]
fn exchange(a: &Path, b: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> bool {
    false
}

/// Puts the old folder back if a kill came between the two renames of [`replace`].
pub fn recover(folder: &Path) -> Result<(), FileError> {
    let old = beside(folder, ".old");
    if !folder.exists() && old.is_dir() {
        fs::rename(&old, folder).map_err(FileError::at("restore the folder", folder))?;
    }
    Ok(())
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
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
    fn a_kill_between_two_renames_is_mended() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("first");
        replace(&folder, &[("a", b"one")]).unwrap();
        fs::rename(&folder, beside(&folder, ".old")).unwrap();
        recover(&folder).unwrap();
        assert!(folder.join("a").is_file());
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
