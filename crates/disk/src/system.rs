//! The disk of the machine.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::Path;

use crate::{Disk, DiskFile, Facts, LockMode, Readers};

/// The disk of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

impl DiskFile for File {
    fn append(&mut self, path: &Path) -> io::Result<u64> {
        // Between two files the system copies by itself.
        io::copy(&mut Self::open(path)?, self)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

impl Disk for SystemDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(path)?))
    }

    fn facts(&self, path: &Path) -> io::Result<Facts> {
        let metadata = fs::metadata(path)?;
        Ok(Facts { bytes: metadata.len(), is_folder: metadata.is_dir() })
    }

    fn create(&self, path: &Path, readers: Readers, only_new: bool) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(!only_new).create_new(only_new);
        #[cfg(unix)]
        if readers == Readers::Owner {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        let file = options.open(path)?;
        // The mode above is of new files only.
        #[cfg(unix)]
        if readers == Readers::Owner {
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        }
        #[cfg(not(unix))]
        let _ = readers;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn name_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        first_that_works(&[hard_link, rename_unless_taken, rename_alone], from, to)
    }

    #[cfg(target_os = "linux")]
    fn exchange(&self, a: &Path, b: &Path) -> io::Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn exchange(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn create_folders(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let names: io::Result<Vec<OsString>> =
            fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect();
        let mut names = names?;
        names.sort_unstable();
        Ok(names)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        // Other systems than Unix cannot open a folder, and need not.
        #[cfg(unix)]
        File::open(folder)?.sync_all()?;
        #[cfg(not(unix))]
        let _ = folder;
        Ok(())
    }

    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Option<Box<dyn fmt::Debug + Send + Sync>>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match mode {
            LockMode::Wait => file.lock()?,
            LockMode::Try => match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            },
        }
        Ok(Some(Box::new(file)))
    }

    #[cfg(unix)]
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let facts = rustix::fs::statvfs(path)?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }

    #[cfg(not(unix))]
    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A way to name a file that fails where the name is taken.
type Naming = fn(&Path, &Path) -> io::Result<()>;

/// Names a file in the first of these ways that the file system offers: exFAT and many network mounts have no hard
/// links, and each says so with another error. A name that is taken ends the search.
fn first_that_works(ways: &[Naming], from: &Path, to: &Path) -> io::Result<()> {
    let mut outcome = Err(io::ErrorKind::Unsupported.into());
    for name in ways {
        outcome = name(from, to);
        match &outcome {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {}
            _ => break,
        }
    }
    outcome
}

fn hard_link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)
}

#[cfg(target_os = "linux")]
fn rename_unless_taken(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

#[cfg(not(target_os = "linux"))]
fn rename_unless_taken(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The last resort: a look and a rename, while the folder is locked against other processes of this program. The lock
/// is on the folder itself, so that no file of it is left behind.
fn rename_alone(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(unix)]
    let _alone = {
        let folder = File::open(crate::draft::folder_of(to))?;
        // Where even locks are not offered, the look is all that there is.
        let _ = folder.lock();
        folder
    };
    match fs::symlink_metadata(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
        Err(error) => Err(error),
    }
}

/// Reads exactly `buffer.len()` bytes of a file from `offset` on, without moving its position;
/// [`io::ErrorKind::UnexpectedEof`] where it ends earlier.
#[cfg(unix)]
pub fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Reads exactly `buffer.len()` bytes of a file from `offset` on; [`io::ErrorKind::UnexpectedEof`] where it ends
/// earlier. On this system it moves the file's position.
#[cfg(not(unix))]
pub fn read_exact_at(mut file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    use std::io::{Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_links(_: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    #[test]
    fn a_file_system_without_hard_links_names_files_and_replaces_none() {
        let ways: [&[Naming]; 3] =
            [&[hard_link], &[no_links, rename_unless_taken, rename_alone], &[no_links, rename_alone]];
        for ways in ways {
            let folder = tempfile::tempdir().unwrap();
            let path = |name: &str| folder.path().join(name);
            fs::write(path("draft"), "new").unwrap();
            first_that_works(ways, &path("draft"), &path("key")).unwrap();
            assert_eq!(fs::read(path("key")).unwrap(), b"new");
            // A hard link is a second name of the draft.
            let _ = fs::remove_file(path("draft"));
            fs::write(path("draft"), "newer").unwrap();
            fs::create_dir(path("folder")).unwrap();
            for taken in ["key", "folder"] {
                let refused = first_that_works(ways, &path("draft"), &path(taken)).unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists, "{taken}");
            }
            assert_eq!(fs::read(path("key")).unwrap(), b"new");
            let missing = first_that_works(ways, &path("draft"), &path("none/key")).unwrap_err();
            assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn of_many_that_name_at_once_one_succeeds() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("key");
        let name = |number: usize| {
            let draft = folder.path().join(format!("draft-{number}"));
            fs::write(&draft, "x").unwrap();
            rename_alone(&draft, &target).is_ok()
        };
        let named: Vec<bool> = std::thread::scope(|scope| {
            let tasks: Vec<_> = (0..8).map(|number| scope.spawn(move || name(number))).collect();
            tasks.into_iter().map(|task| task.join().unwrap()).collect()
        });
        assert_eq!(named.iter().filter(|done| **done).count(), 1);
    }
}
