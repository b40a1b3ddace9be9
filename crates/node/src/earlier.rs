//! The candidates of the last windows on a validator's disk, to see who sends them again.

use crate::NodeError;
use crate::gather::Gathered;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use templar_base::{Uid, Window};
use templar_disk::Folder;
use templar_gauntlet::{COMPARED_WINDOWS, EarlierPayload, EarlierPayloads, Submission};
use templar_gradient::{GradientLayout, Payload};

/// In the data folder; below it a folder a window, and in that a file a payload.
const FOLDER: &str = "earlier";
/// In a window's folder: nobody was merged.
const NULL_MARK: &str = "null";

/// The payloads of windows before one.
#[derive(Debug)]
pub(crate) struct EarlierOnDisk {
    folder: PathBuf,
    layout: GradientLayout,
    window: Window,
}

impl EarlierOnDisk {
    /// Those before `window`.
    pub(crate) fn before(window: Window, own_folder: &Path, layout: &GradientLayout) -> Self {
        Self { folder: own_folder.join(FOLDER), layout: layout.clone(), window }
    }
}

impl EarlierPayloads for EarlierOnDisk {
    /// A file that cannot be read leaves the rest: other judges have it.
    fn for_each(&self, visit: &mut dyn FnMut(EarlierPayload<'_>)) {
        let first = self.window.minus(COMPARED_WINDOWS);
        for window in numbers::<u64>(&self.folder).into_iter().map(Window) {
            if window < first || window >= self.window {
                continue;
            }
            let folder = self.folder.join(window.to_string());
            let is_of_null_window = folder.join(NULL_MARK).exists();
            for uid in numbers::<u16>(&folder) {
                let Ok(bytes) = std::fs::read(folder.join(uid.to_string())) else { continue };
                let Ok(payload) = Payload::from_bytes(bytes, &self.layout) else { continue };
                visit(EarlierPayload { uid: Uid(uid), window, is_of_null_window, payload: &payload });
            }
        }
    }
}

/// The numbers that name entries of a folder, ascending.
fn numbers<N: FromStr + Ord>(folder: &Path) -> Vec<N> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut numbers: Vec<N> = names.filter_map(|name| name.parse().ok()).collect();
    numbers.sort();
    numbers
}

/// Keeps what was gathered, and removes what is too old to be compared with.
pub(crate) fn keep(own_folder: &Path, gathered: &Gathered) -> Result<(), NodeError> {
    let all = Folder::new(own_folder).folder(FOLDER);
    let folder = all.folder(gathered.window.to_string());
    folder.create().map_err(crate::DataFolderError::from)?;
    for entry in &gathered.entries {
        if let Submission::Payload { payload, .. } = &entry.submission {
            folder.write(entry.uid.to_string(), &[payload.bytes()]).map_err(crate::DataFolderError::from)?;
        }
    }
    let oldest = gathered.window.minus(COMPARED_WINDOWS);
    for window in numbers::<u64>(all.path()).into_iter().filter(|window| *window < oldest.get()) {
        all.folder(window.to_string()).remove().map_err(crate::DataFolderError::from)?;
    }
    Ok(())
}

/// Notes that nobody was merged in a window.
pub(crate) fn note_null(own_folder: &Path, window: Window) -> Result<(), NodeError> {
    let folder = Folder::new(own_folder).folder(FOLDER).folder(window.to_string());
    if !folder.path().is_dir() {
        return Ok(());
    }
    Ok(folder.write(NULL_MARK, &[]).map_err(crate::DataFolderError::from)?)
}
