//! Objects as files of a folder: for the `file://` store, and for our server.
//!
//! An object appears whole or not at all, at whatever instant the machine dies: bytes go to a staging file, are
//! flushed to the disk, and get their name last. All functions here block; callers run them on blocking threads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use templar_disk::{Disk, DiskError, Draft, Existing, Readers, SystemDisk};

use crate::{ObjectEntry, PutMode, PutOutcome};

/// Name of the staging folder; no key can name it because it begins with a dot.
const STAGING_FOLDER: &str = ".staging";
/// Held shared by every writer of a folder, and exclusively while leftovers are swept.
const STAGING_LOCK: &str = ".staging.lock";
/// How often a store is tried when a delete removes its parent folder at the same moment.
const PARENT_ATTEMPTS: u32 = 16;

/// A folder of objects with a staging folder on the same file system.
#[derive(Debug)]
pub(crate) struct ObjectFolder {
    root: PathBuf,
    /// `None` in a reader.
    staging: Option<PathBuf>,
    /// Keeps other processes from sweeping our staging files.
    _lock: Option<File>,
}

impl ObjectFolder {
    /// Opens a folder for reading; it need not exist yet.
    pub(crate) fn reader(root: &Path) -> Self {
        Self { root: root.to_owned(), staging: None, _lock: None }
    }

    /// Opens a folder for writing, makes it if needed, and removes what dead writers left unless another one lives.
    pub(crate) fn writer(root: &Path) -> io::Result<Self> {
        let staging = root.join(STAGING_FOLDER);
        fs::create_dir_all(&staging)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(root.join(STAGING_LOCK))?;
        if lock.try_lock().is_ok() {
            sweep(&staging)?;
            lock.unlock()?;
        }
        lock.lock_shared()?;
        Ok(Self { root: root.to_owned(), staging: Some(staging), _lock: Some(lock) })
    }

    /// A bucket folder below a root whose owner holds the lock and sweeps `staging` itself.
    pub(crate) fn with_staging(root: PathBuf, staging: PathBuf) -> Self {
        Self { root, staging: Some(staging), _lock: None }
    }

    /// A staging file for a new object.
    pub(crate) fn stage(&self) -> io::Result<Draft> {
        match &self.staging {
            Some(staging) => stage_in(staging),
            None => Err(io::Error::new(ErrorKind::PermissionDenied, "the folder was opened for reading")),
        }
    }

    /// Flushes a staged object to the disk and gives it its name.
    pub(crate) fn publish(&self, mut staged: Draft, key: &str, mode: PutMode) -> io::Result<PutOutcome> {
        staged.sync()?;
        let existing = match mode {
            PutMode::Create => Existing::Keep,
            PutMode::Replace => Existing::Replace,
        };
        let path = self.root.join(key);
        // The root itself has no parent inside the store; a key always has one.
        let parent = path.parent().unwrap_or(&self.root);
        let mut attempt = 0;
        loop {
            attempt += 1;
            create_folders(&self.root, parent)?;
            match staged.name(&path, existing) {
                Ok(()) => break,
                Err(DiskError::Exists { .. }) if mode == PutMode::Create => {
                    if path.is_dir() {
                        return Err(ErrorKind::IsADirectory.into());
                    }
                    return Ok(PutOutcome::AlreadyExists);
                }
                // A delete took the empty parent away between the two calls.
                Err(error) if error.kind() == ErrorKind::NotFound && attempt < PARENT_ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
        }
        SystemDisk.sync_folder(parent)?;
        Ok(PutOutcome::Created)
    }

    /// Opens an object and tells its size in bytes.
    pub(crate) fn open(&self, key: &str) -> io::Result<(File, fs::Metadata)> {
        let file = match File::open(self.root.join(key)) {
            Ok(file) => file,
            // `a` is an object, `a/b` is asked for: there is none.
            Err(error) if error.kind() == ErrorKind::NotADirectory => return Err(ErrorKind::NotFound.into()),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(ErrorKind::NotFound.into());
        }
        Ok((file, metadata))
    }

    /// Deletes an object and the folders that it leaves empty. It is no error if there is none.
    pub(crate) fn delete(&self, key: &str) -> io::Result<()> {
        let path = self.root.join(key);
        if path.is_dir() {
            return Ok(());
        }
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
            Err(error) => return Err(error),
        }
        for folder in path.ancestors().skip(1).take_while(|folder| *folder != self.root) {
            if fs::remove_dir(folder).is_err() {
                // The first folder that is not empty; flush it so that the delete survives a power cut.
                return match SystemDisk.sync_folder(folder) {
                    Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                };
            }
        }
        SystemDisk.sync_folder(&self.root)
    }

    /// Objects whose key begins with `prefix` (any text) and sorts after `after`, in the order of their bytes, at most
    /// `limit`; and whether there are more. A folder that does not exist is empty.
    pub(crate) fn list(&self, prefix: &str, after: &str, limit: usize) -> io::Result<(Vec<ObjectEntry>, bool)> {
        let mut walk = Walk { prefix, after, limit, found: Vec::new() };
        let more = walk.folder(&self.root, "")?;
        Ok((walk.found, more))
    }
}

/// A new file in a staging folder, with a name of this process.
pub(crate) fn stage_in(staging: &Path) -> io::Result<Draft> {
    Ok(Draft::create_in(Arc::new(SystemDisk), staging, "", "", Readers::Anybody)?)
}

/// Removes everything in a staging folder.
pub(crate) fn sweep(staging: &Path) -> io::Result<()> {
    for entry in fs::read_dir(staging)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Makes `folder` and its parents up to `root`, and flushes the names of the new ones.
fn create_folders(root: &Path, folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|error| match error.kind() {
        // An object has the name of a folder that is wanted.
        ErrorKind::AlreadyExists => ErrorKind::NotADirectory.into(),
        _ => error,
    })?;
    for made in folder.ancestors().take_while(|part| *part != root).skip(1) {
        match SystemDisk.sync_folder(made) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    SystemDisk.sync_folder(root)
}

/// An ordered walk. Only names that can be keys are looked at, so what else lies in the folder is not seen.
struct Walk<'a> {
    prefix: &'a str,
    after: &'a str,
    limit: usize,
    found: Vec<ObjectEntry>,
}

impl Walk<'_> {
    /// Walks one folder whose keys begin with `base` (empty or ending in a slash). Returns true when it stopped at the
    /// limit with more to come.
    fn folder(&mut self, folder: &Path, base: &str) -> io::Result<bool> {
        let mut names = Vec::new();
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // A folder sorts by its name with the slash, as its keys do.
            let name = match entry.file_type()? {
                kind if kind.is_dir() => format!("{base}{name}/"),
                kind if kind.is_file() => format!("{base}{name}"),
                _ => continue,
            };
            if crate::check_key(name.trim_end_matches('/')).is_ok() && self.concerns(&name) {
                names.push(name);
            }
        }
        names.sort_unstable();
        for name in names {
            let path = self.path_of(folder, base, &name);
            if name.ends_with('/') {
                if self.folder(&path, &name)? {
                    return Ok(true);
                }
                continue;
            }
            let size = match fs::metadata(&path) {
                Ok(metadata) => metadata.len(),
                // Deleted since the folder was read.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if self.found.len() == self.limit {
                return Ok(true);
            }
            self.found.push(ObjectEntry { key: name, size });
        }
        Ok(false)
    }

    fn path_of(&self, folder: &Path, base: &str, name: &str) -> PathBuf {
        folder.join(name[base.len()..].trim_end_matches('/'))
    }

    /// Whether a key, or any key below a folder name that ends in a slash, can be part of the answer.
    fn concerns(&self, name: &str) -> bool {
        let is_folder = name.ends_with('/');
        let in_prefix = name.starts_with(self.prefix) || (is_folder && self.prefix.starts_with(name));
        let is_after = name > self.after || (is_folder && self.after.starts_with(name));
        in_prefix && is_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn put(store: &ObjectFolder, key: &str, bytes: &[u8]) -> io::Result<PutOutcome> {
        let mut staged = store.stage()?;
        staged.write(bytes)?;
        store.publish(staged, key, PutMode::Replace)
    }

    #[test]
    fn a_dropped_upload_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let store = ObjectFolder::writer(folder.path()).unwrap();
        let mut staged = store.stage().unwrap();
        staged.write(b"half").unwrap();
        drop(staged);
        assert_eq!(fs::read_dir(folder.path().join(STAGING_FOLDER)).unwrap().count(), 0);
        assert!(store.list("", "", 10).unwrap().0.is_empty());
    }

    #[test]
    fn leftovers_are_swept_only_when_no_other_writer_lives() {
        let folder = tempfile::tempdir().unwrap();
        let living = ObjectFolder::writer(folder.path()).unwrap();
        let leftover = folder.path().join(STAGING_FOLDER).join("1-1");
        fs::write(&leftover, b"half").unwrap();
        let second = ObjectFolder::writer(folder.path()).unwrap();
        assert!(leftover.exists(), "swept under a living writer");
        drop((living, second));
        ObjectFolder::writer(folder.path()).unwrap();
        assert!(!leftover.exists());
    }

    #[test]
    fn deletes_and_stores_in_one_folder_do_not_disturb_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let store = ObjectFolder::writer(folder.path()).unwrap();
        std::thread::scope(|scope| {
            for name in ["a", "b", "c"] {
                let store = &store;
                scope.spawn(move || {
                    let key = format!("deep/er/{name}");
                    for _ in 0..50 {
                        put(store, &key, b"x").unwrap();
                        store.delete(&key).unwrap();
                    }
                });
            }
        });
        assert!(!folder.path().join("deep").exists());
    }

    #[test]
    fn a_key_below_another_key_is_refused_not_mixed_up() {
        let folder = tempfile::tempdir().unwrap();
        let store = ObjectFolder::writer(folder.path()).unwrap();
        put(&store, "a/b", b"x").unwrap();
        assert!(put(&store, "a", b"y").is_err());
        assert!(put(&store, "a/b/c", b"y").is_err());
        assert_eq!(store.open("a/b/c").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(store.open("a").unwrap_err().kind(), ErrorKind::NotFound);
        let staged = fs::read_dir(folder.path().join(STAGING_FOLDER)).unwrap().count();
        assert_eq!(staged, 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn listing_agrees_with_a_sorted_map(
            keys in prop::collection::btree_set("[a-c+=.-]{1,2}(/[a-c0.-]{1,2}){0,2}", 0..12),
            prefix in "[a-c]{0,1}(/[a-c]{0,1}){0,1}",
            after in "[a-c.-]{0,2}(/[a-c0]{0,2}){0,2}",
            limit in 0usize..6,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let store = ObjectFolder::writer(folder.path()).unwrap();
            let mut map = BTreeMap::new();
            for key in keys {
                if crate::check_key(&key).is_ok() && put(&store, &key, b"x").is_ok() {
                    map.insert(key, 1u64);
                }
            }
            let expected: Vec<_> = map.keys().filter(|k| k.starts_with(&prefix) && **k > after).cloned().collect();
            let (found, more) = store.list(&prefix, &after, limit).unwrap();
            let found: Vec<_> = found.into_iter().map(|entry| entry.key).collect();
            prop_assert_eq!(&found[..], &expected[..expected.len().min(limit)]);
            prop_assert_eq!(more, expected.len() > limit);
        }
    }
}
