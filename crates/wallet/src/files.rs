//! Key files on the disk: all of a change or none of it, and nothing of value replaced without a copy.

use crate::error::WalletError;
use crate::secret::{SecretBytes, zeroizing};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use templar_disk::{DiskError, Draft, Existing, Readers, SystemDisk};

/// A key file is a few hundred bytes; more is not a key file.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// The folder of a wallet for what was replaced. Bittensor's tools do not look there.
const REPLACED: &str = "replaced";

/// A file of a change.
pub(crate) struct NewFile {
    pub(crate) path: PathBuf,
    pub(crate) bytes: SecretBytes,
    /// Whether an existing file of the name gives way, after it was copied.
    pub(crate) replace: bool,
}

pub(crate) fn disk(path: &Path, source: std::io::Error) -> WalletError {
    WalletError::Disk { path: path.to_owned(), source }
}

fn from_disk(error: DiskError) -> WalletError {
    match error {
        DiskError::Exists { path } => WalletError::Exists(path),
        error => WalletError::Disk { path: error.path().to_owned(), source: error.into() },
    }
}

/// The bytes of a key file, none where there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<SecretBytes>, WalletError> {
    let length = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(disk(path, error)),
    };
    if length > MAX_FILE_BYTES {
        return Err(WalletError::Malformed { path: path.to_owned(), reason: format!("it has {length} bytes") });
    }
    Ok(Some(zeroizing(fs::read(path).map_err(|error| disk(path, error))?)))
}

/// Writes the files of one change into the wallet `folder`, with permission 0600: all of them, or where anything fails
/// none. What is replaced is copied first; the copies' paths are the result.
pub(crate) fn write_all(folder: &Path, files: &[NewFile]) -> Result<Vec<PathBuf>, WalletError> {
    let mut made = MadeFolders::default();
    let mut drafts = Vec::new();
    for file in files {
        let parent = file.path.parent().unwrap_or(folder);
        made.create(parent)?;
        let mut draft =
            Draft::create_in(Arc::new(SystemDisk), parent, ".", ".new", Readers::Owner).map_err(from_disk)?;
        draft.write(&file.bytes).and_then(|()| draft.sync()).map_err(from_disk)?;
        drafts.push(draft);
    }
    let kept = keep_copies(folder, files, &mut made)?;
    let mut named = Vec::new();
    for (file, draft) in files.iter().zip(drafts) {
        let before = if file.replace { read(&file.path)? } else { None };
        let existing = if file.replace { Existing::Replace } else { Existing::Keep };
        if let Err(error) = draft.publish(&file.path, existing) {
            undo(&named);
            return Err(from_disk(error));
        }
        named.push((&file.path, before));
    }
    made.are_wanted();
    Ok(kept)
}

/// Copies what is about to be replaced into the folder of replaced keys, under its name and the time.
fn keep_copies(folder: &Path, files: &[NewFile], made: &mut MadeFolders) -> Result<Vec<PathBuf>, WalletError> {
    let now = time::OffsetDateTime::now_utc();
    let (date, clock) = ((now.year(), u8::from(now.month()), now.day()), (now.hour(), now.minute(), now.second()));
    let stamp = format!("{:04}-{:02}-{:02}T{:02}-{:02}-{:02}Z", date.0, date.1, date.2, clock.0, clock.1, clock.2);
    let mut kept = Vec::new();
    for file in files.iter().filter(|file| file.replace) {
        let Some(old) = read(&file.path)? else { continue };
        let replaced = folder.join(REPLACED);
        made.create(&replaced)?;
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        // Two changes in one second keep both copies.
        let mut copy = replaced.join(format!("{stamp}-{name}"));
        let mut number = 2;
        while let Err(error) = write_new(&copy, &old) {
            if !matches!(error, WalletError::Exists(_)) {
                return Err(error);
            }
            copy = replaced.join(format!("{stamp}-{number}-{name}"));
            number += 1;
        }
        kept.push(copy);
    }
    Ok(kept)
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), WalletError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut draft = Draft::create_in(Arc::new(SystemDisk), folder, ".", ".new", Readers::Owner).map_err(from_disk)?;
    draft.write(bytes).and_then(|()| draft.publish(path, Existing::Keep)).map_err(from_disk)
}

/// Takes back what was named before another file of the change failed.
fn undo(named: &[(&PathBuf, Option<SecretBytes>)]) {
    for (path, before) in named {
        // The first error is the one to report; the copies are there besides.
        let _ = fs::remove_file(path);
        if let Some(before) = before {
            let _ = write_new(path, before);
        }
    }
}

/// Folders that were made for a change; they go again, where they are empty, unless the change succeeds.
#[derive(Default)]
struct MadeFolders(Vec<PathBuf>);

impl MadeFolders {
    fn create(&mut self, folder: &Path) -> Result<(), WalletError> {
        let missing: Vec<PathBuf> =
            folder.ancestors().take_while(|part| !part.exists()).map(Path::to_path_buf).collect();
        fs::create_dir_all(folder).map_err(|error| disk(folder, error))?;
        self.0.extend(missing.into_iter().rev());
        Ok(())
    }

    fn are_wanted(mut self) {
        self.0.clear();
    }
}

impl Drop for MadeFolders {
    fn drop(&mut self) {
        for folder in self.0.iter().rev() {
            // One that is not empty stays.
            let _ = fs::remove_dir(folder);
        }
    }
}
