//! Folders that are replaced as a whole.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::draft::folder_of;
use crate::folder::absent_is_done;
use crate::{Disk, DiskError, Existing, Folder, Writers};

/// A folder on its way: files are written into it, and then it takes the place of another one. Dropped before that, it
/// is removed.
#[derive(Debug)]
pub struct FolderDraft {
    folder: Folder,
    target: PathBuf,
}

impl FolderDraft {
    /// An empty folder beside `target`, on the same file system; parents are created. With [`Writers::One`] (the caller
    /// holds a lock) its name is `.<name>.new`, otherwise it carries the number of the process.
    pub fn beside(disk: Arc<dyn Disk>, target: &Path, writers: Writers) -> Result<Self, DiskError> {
        let path = match writers {
            Writers::One => beside(target, ".new"),
            Writers::Many => beside(target, &format!(".{}.new", std::process::id())),
        };
        let folder = Folder::over(disk, path);
        // What a killed process left there is of no use.
        folder.remove()?;
        folder.create()?;
        Ok(Self { folder, target: target.to_owned() })
    }

    /// The folder to write into.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Puts the folder in place. At whatever instant the process is killed, the old folder or the new one is there; on
    /// systems that cannot swap two folders, [`recover`] may have to bring the old one back.
    pub fn put_in_place(self, existing: Existing) -> Result<(), DiskError> {
        let (disk, new, target) = (&**self.folder.disk(), self.folder.path(), &*self.target);
        let put = || {
            disk.sync_folder(new)?;
            match existing {
                // A rename onto a folder with content fails, in one step.
                Existing::Keep => disk.rename(new, target)?,
                Existing::Replace => replace(disk, new, target)?,
            }
            disk.sync_folder(folder_of(target))
        };
        put().map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty if existing == Existing::Keep => {
                DiskError::Exists { path: target.to_owned() }
            }
            _ => DiskError::new("write the folder", target, error),
        })
    }
}

impl Drop for FolderDraft {
    fn drop(&mut self) {
        // In place, there is nothing to remove; what cannot be removed is left to the next writer.
        let _ = self.folder.remove();
    }
}

fn replace(disk: &dyn Disk, new: &Path, target: &Path) -> io::Result<()> {
    if disk.facts(target).is_err() {
        return disk.rename(new, target);
    }
    match disk.exchange(new, target) {
        Ok(()) => absent_is_done(disk.remove_folder(new)),
        Err(_) => {
            let old = beside(target, ".old");
            absent_is_done(disk.remove_folder(&old))?;
            // Between these two the folder is missing; `recover` puts the old one back.
            disk.rename(target, &old)?;
            disk.rename(new, target)?;
            absent_is_done(disk.remove_folder(&old))
        }
    }
}

/// Puts the old folder back if a kill came between the two renames of [`FolderDraft::put_in_place`].
pub fn recover(disk: &dyn Disk, target: &Path) -> Result<(), DiskError> {
    let old = beside(target, ".old");
    if disk.facts(target).is_err() && disk.facts(&old).is_ok_and(|facts| facts.is_folder) {
        disk.rename(&old, target).map_err(|error| DiskError::new("put back", &old, error))?;
    }
    Ok(())
}

/// A name beside the folder, such as `.first.new` beside `first`.
fn beside(target: &Path, suffix: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}{suffix}"))
}
