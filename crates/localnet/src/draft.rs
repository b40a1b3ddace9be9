//! A new network on its way: its parts are made in a folder of their own, and take the place of the old one's only when
//! all of them are there.

use crate::FolderError;
use serde::Serialize;
use std::path::Path;
use templar_disk::{DiskError, Folder};

/// Where the parts of a new network are made, within the network's folder.
const DRAFT: &str = "new";
/// It is there once all other parts are.
const COMPLETE: &str = "complete";
/// What a new network has; the settings come last, since they make a folder a network.
const PARTS: [&str; 5] = ["corpus", "wallets", "ledger.json", "plan.json", "network.json"];
/// What a network makes while it runs.
const TRACES: [&str; 11] = [
    "nodes",
    "ledger",
    "bucket",
    "logs",
    "metrics",
    "trained",
    "fetching",
    "trained-window.json",
    "genesis.json",
    "bucket-keys.json",
    "processes.json",
];

/// A network on its way. Dropped before it is in place, it is removed, and the old network is as it was.
#[derive(Debug)]
pub struct Draft {
    network: Folder,
    folder: Folder,
}

impl Draft {
    pub(crate) fn new(network: &Folder) -> Result<Self, DiskError> {
        let folder = network.folder(DRAFT);
        folder.remove()?;
        folder.create()?;
        Ok(Self { network: network.clone(), folder })
    }

    /// The folder for its parts.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a part as JSON.
    pub(crate) fn write_json(&self, name: &str, facts: &impl Serialize) -> Result<(), FolderError> {
        let path = || self.path().join(name);
        let text = serde_json::to_vec_pretty(facts).map_err(|source| FolderError::Damaged { path: path(), source })?;
        let failed = |error: DiskError| FolderError::File { action: "write", path: path(), source: error.into() };
        self.folder.write(name, &[&text]).map_err(failed)
    }

    /// Removes the old network, where there is one, and puts the new one in its place. A kill at any instant leaves the
    /// old network, or the new one once the folder is opened again.
    pub(crate) fn put_in_place(self) -> Result<(), FolderError> {
        let put = self.folder.write(COMPLETE, &[]).and_then(|()| settle(&self.network));
        put.map_err(|error| FolderError::Unusable { path: self.network.path().to_owned(), source: error.into() })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // One that is complete is put in place when the folder is opened again.
        if !self.folder.path().join(COMPLETE).exists() {
            let _ = self.folder.remove();
        }
    }
}

/// Puts a complete new network in place, and removes an incomplete one. Only what `templar up` makes is removed, so that
/// a wrong --data costs nobody a file.
pub(crate) fn settle(network: &Folder) -> Result<(), DiskError> {
    let draft = network.folder(DRAFT);
    if !draft.path().join(COMPLETE).is_file() {
        return draft.remove();
    }
    let remove = |name: &str| match network.path().join(name).is_dir() {
        true => network.folder(name).remove(),
        false => network.remove_file(name),
    };
    TRACES.into_iter().try_for_each(remove)?;
    for name in PARTS {
        let (new, old) = (draft.path().join(name), network.path().join(name));
        if new.exists() {
            remove(name)?;
            let moved = network.disk().rename(&new, &old);
            moved.map_err(|error| DiskError::Failed { operation: "write", path: old, source: error })?;
        }
    }
    draft.remove()
}

#[cfg(test)]
mod tests {
    use crate::{Folder, Settings};

    #[test]
    fn an_old_network_stays_until_the_new_one_is_complete() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("up");
        let folder = Folder::open(&path).unwrap();
        folder.save(&Settings::new(1, 2)).unwrap();
        std::fs::create_dir_all(path.join("nodes/miner-0")).unwrap();
        // Given up, and killed: both leave the old one.
        drop(folder.draft().unwrap());
        std::mem::forget(folder.draft().unwrap());
        drop(folder);
        let folder = Folder::open(&path).unwrap();
        assert!(!path.join("new").exists() && path.join("nodes/miner-0").exists());
        let draft = folder.draft().unwrap();
        draft.write_json("network.json", &Settings::new(3, 4)).unwrap();
        // A kill after the last part, before anything is moved.
        std::fs::write(draft.path().join("complete"), "").unwrap();
        drop((draft, folder));
        let folder = Folder::open(&path).unwrap();
        assert_eq!(folder.settings().unwrap().unwrap().miners, 4);
        assert!(!path.join("new").exists() && !path.join("nodes").exists());
    }
}
