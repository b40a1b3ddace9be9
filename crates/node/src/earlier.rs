//! The candidates of the last windows and what was merged of them, on a validator's disk: to see who sends them again.

use crate::context::Context;
use crate::gather::Gathered;
use crate::holders::in_own_order;
use crate::{DataFolderError, NodeError};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use templar_base::{Uid, Window};
use templar_disk::Folder;
use templar_gauntlet::{COMPARED_MERGES, COMPARED_WINDOWS, EarlierPayload, EarlierPayloads, Submission};
use templar_gradient::{Aggregate, GradientLayout, Payload};
use templar_record::fetch_aggregate;
use templar_round::{Selection, applied_majority};

/// In the data folder; below it a folder a window, and in that a file a payload.
const FOLDER: &str = "earlier";
/// In a window's folder: nobody was merged.
const NULL_MARK: &str = "null";
/// In a window's folder: the aggregate.
const MERGED: &str = "merged";

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

impl EarlierOnDisk {
    /// The windows that are compared with, and where they are kept.
    fn windows(&self) -> impl Iterator<Item = (Window, PathBuf)> {
        let compared = self.window.minus(COMPARED_WINDOWS).until(self.window);
        compared.map(|window| (window, self.folder.join(window.to_string())))
    }
}

impl EarlierPayloads for EarlierOnDisk {
    /// A file that cannot be read leaves the rest: other judges have it.
    fn for_each(&self, visit: &mut dyn FnMut(EarlierPayload<'_>)) {
        for (window, folder) in self.windows() {
            let is_of_null_window = folder.join(NULL_MARK).exists();
            for uid in numbers::<u16>(&folder) {
                let Ok(bytes) = std::fs::read(folder.join(uid.to_string())) else { continue };
                let Ok(payload) = Payload::from_bytes(bytes, &self.layout) else { continue };
                visit(EarlierPayload { uid: Uid(uid), window, is_of_null_window, payload: &payload });
            }
        }
    }

    fn for_each_merged(&self, visit: &mut dyn FnMut(Window, &Aggregate)) {
        let oldest = self.window.minus(COMPARED_MERGES);
        for (window, folder) in self.windows().filter(|(window, _)| *window >= oldest) {
            let Ok(bytes) = std::fs::read(folder.join(MERGED)) else { continue };
            let Ok(merged) = Aggregate::from_bytes(bytes, &self.layout) else { continue };
            visit(window, &merged);
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

/// A candidate of one of the last windows; none where it is not kept, or not whole.
pub(crate) fn kept_payload(own_folder: &Path, window: Window, uid: Uid, layout: &GradientLayout) -> Option<Payload> {
    let folder = Folder::new(own_folder).folder(FOLDER).folder(window.to_string());
    Payload::from_bytes(folder.read(uid.to_string()).ok()??, layout).ok()
}

/// Keeps what was gathered, and removes what is too old to be compared with.
pub(crate) fn keep(own_folder: &Path, gathered: &Gathered) -> Result<(), NodeError> {
    let all = Folder::new(own_folder).folder(FOLDER);
    let folder = all.folder(gathered.window.to_string());
    folder.create().map_err(DataFolderError::from)?;
    for entry in gathered.entries.iter().filter(|entry| gathered.is_candidate(entry.uid)) {
        if let Submission::Payload { payload, .. } = &entry.submission {
            folder.write(entry.uid.to_string(), &[payload.bytes()]).map_err(DataFolderError::from)?;
        }
    }
    let oldest = gathered.window.minus(COMPARED_WINDOWS);
    for window in numbers::<u64>(all.path()).into_iter().filter(|window| *window < oldest.get()) {
        all.folder(window.to_string()).remove().map_err(DataFolderError::from)?;
    }
    Ok(())
}

/// Notes that nobody was merged in a window.
pub(crate) fn note_null(own_folder: &Path, window: Window) -> Result<(), NodeError> {
    write(own_folder, window, NULL_MARK, &[])
}

/// Keeps what was merged in a window.
pub(crate) fn keep_merged(own_folder: &Path, merged: &Aggregate) -> Result<(), NodeError> {
    write(own_folder, merged.window(), MERGED, merged.bytes())
}

fn write(own_folder: &Path, window: Window, name: &str, bytes: &[u8]) -> Result<(), NodeError> {
    let folder = Folder::new(own_folder).folder(FOLDER).folder(window.to_string());
    folder.create().map_err(DataFolderError::from)?;
    Ok(folder.write(name, &[bytes]).map_err(DataFolderError::from)?)
}

/// Fetches what was merged in the windows before one and is not on this disk, since this node joined later or was away: one
/// aggregate after the other, each from those who applied it. What cannot be had now is looked for in the next window.
pub(crate) async fn fetch_missing(context: Arc<Context>, window: Window) {
    let folder = context.folder.path().join(FOLDER);
    for past in window.minus(COMPARED_WINDOWS).until(window) {
        let of_window = folder.join(past.to_string());
        let is_known = of_window.join(MERGED).exists() || of_window.join(NULL_MARK).exists();
        // The window before may still be on its way to this disk.
        if !is_known
            && past.next() < window
            && let Err(error) = fetch(&context, past).await
        {
            context.journal.warn(format!("what was merged in window {past} is not compared with for now: {error}"));
        }
    }
}

async fn fetch(context: &Arc<Context>, window: Window) -> Result<(), NodeError> {
    let (run, record) = (&context.run, &context.network.record);
    let agreed = record.agreed(run, window).await?;
    let Some(step) = agreed.step else { return note_null(context.folder.path(), window) };
    let electors = record.electors(run, window).await?;
    let majority = applied_majority(&electors, &record.reports(window).await?);
    let Some((hash, by)) = majority.and_then(|majority| Some((majority.applied.aggregate?, majority.by))) else {
        return Ok(());
    };
    let selection = Selection { uids: agreed.selected().collect(), step };
    let from = in_own_order(by, context.network.hotkey.public(), window);
    let merged = fetch_aggregate(run, record, window, hash, &selection, &from).await?.content;
    let own = Arc::clone(context);
    context.heavy.run(move || keep_merged(own.folder.path(), &merged)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar_gradient::{Accumulation, MergeRule, Metadata};
    use templar_trainer::Sender;

    #[test]
    fn what_was_merged_is_shown_for_eight_windows_and_a_damaged_file_leaves_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let layout = GradientLayout::new([("tensor".to_owned(), 5000, 64)]).unwrap();
        let rules = Accumulation::with_decay(0.9);
        let merged = |window: u64| {
            let values: Vec<f32> = (0..5000u64).map(|i| ((i * 37 + window) % 101) as f32 - 50.0).collect();
            let metadata = Metadata { window: Window(window), ..Metadata::default() };
            let payload = Sender::once(&layout, rules, &values, metadata).unwrap();
            Aggregate::merge(&layout, &[(&payload, 1)], MergeRule::default()).unwrap()
        };
        for window in [0, 1, 2, 7] {
            keep_merged(folder.path(), &merged(window)).unwrap();
        }
        note_null(folder.path(), Window(3)).unwrap();
        write(folder.path(), Window(4), MERGED, b"no aggregate").unwrap();
        let shown = |window: u64| {
            let mut shown = Vec::new();
            EarlierOnDisk::before(Window(window), folder.path(), &layout)
                .for_each_merged(&mut |window, merged| shown.push((window, merged.clone())));
            shown
        };
        assert_eq!(shown(9), [7].map(|window| (Window(window), merged(window))));
        assert_eq!(shown(3), [1, 2].map(|window| (Window(window), merged(window))));
        assert!(shown(16).is_empty());
    }
}
