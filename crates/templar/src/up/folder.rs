//! Where a local network keeps its things.

use crate::failure::Advise;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

/// Version of the folder's form.
const VERSION: u32 = 1;

/// What was decided when the network was made; later starts go by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// [`VERSION`].
    pub version: u32,
    /// Number of validators.
    pub validators: usize,
    /// Number of miners.
    pub miners: usize,
    /// Port of the ledger.
    pub ledger_port: u16,
    /// Port of the bucket server.
    pub bucket_port: u16,
}

/// The folder of one local network, held by this process alone.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Opens the folder. With `fresh`, removes the network that is in it first.
    pub fn open(path: &Path, fresh: bool) -> anyhow::Result<Self> {
        let what = || format!("cannot use the folder {}", path.display());
        fs::create_dir_all(path).with_context(what).advise("choose another one with --data")?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock"));
        let lock = lock.with_context(what).advise("choose another one with --data")?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(anyhow::anyhow!("another `templar up` runs in {}", path.display()))
                    .advise("stop it, or choose another folder with --data");
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(what),
        }
        let folder = Self { path: path.to_owned(), _lock: lock };
        if fresh {
            folder.clear().with_context(what)?;
        }
        Ok(folder)
    }

    /// Removes the network: only what `templar up` makes, so that a wrong --data costs nobody a file.
    fn clear(&self) -> std::io::Result<()> {
        for name in ["nodes", "ledger", "bucket", "wallets", "corpus", "logs"] {
            match fs::remove_dir_all(self.path.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        for name in ["network.json", "genesis.json", "ledger.json", "bucket-keys.json", "processes.json"] {
            match fs::remove_file(self.path.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of one process.
    pub fn node(&self, name: &str) -> PathBuf {
        self.path.join("nodes").join(name)
    }

    /// What was decided when the network was made; none for a new one.
    pub fn settings(&self) -> anyhow::Result<Option<Settings>> {
        read_settings(&self.path)
    }

    /// Writes a file whole or not at all.
    pub fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let (path, temporary) = (self.path.join(name), self.path.join(format!("{name}.new")));
        let write = || {
            fs::write(&temporary, bytes)?;
            File::open(&temporary)?.sync_all()?;
            fs::rename(&temporary, &path)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Keeps the settings.
    pub fn save(&self, settings: &Settings) -> anyhow::Result<()> {
        self.write("network.json", &serde_json::to_vec_pretty(settings)?)
    }
}

/// What was decided when the network in `root` was made; none where there is none.
pub fn read_settings(root: &Path) -> anyhow::Result<Option<Settings>> {
    let path = root.join("network.json");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let settings: Settings = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is damaged", path.display()))
        .advise("start over with --fresh")?;
    if settings.version != VERSION {
        return Err(anyhow::anyhow!("{} holds a network of version {}", root.display(), settings.version))
            .advise("start over with --fresh, or choose another folder with --data");
    }
    Ok(Some(settings))
}

impl Settings {
    /// Address of the ledger.
    pub fn ledger_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.ledger_port)
    }

    /// Settings of a new network.
    pub fn new(validators: usize, miners: usize) -> Self {
        Self { version: VERSION, validators, miners, ledger_port: 0, bucket_port: 0 }
    }

    /// The names of the nodes: miners first, so that they get the lowest uids, which have data.
    pub fn node_names(&self) -> Vec<String> {
        let miners = (0..self.miners).map(|number| format!("miner-{number}"));
        miners.chain((0..self.validators).map(|number| format!("validator-{number}"))).collect()
    }
}
