//! Where a local network keeps its things.

use crate::draft::{self, Draft};
use crate::{Node, Role};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use templar_base::RunId;
use templar_dashboard::METRICS_SUFFIX;
use templar_disk::{DiskError, Lock};

/// Version of the folder's format.
const VERSION: u32 = 1;

/// A network's folder that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// The folder cannot be created or locked; the disk or the path is at fault.
    #[error("cannot use the folder {}", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another process runs the network.
    #[error("another `templar up` runs in {}", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file cannot be read or written; the disk is at fault.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read`, `write` or `remove`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The settings are damaged.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The network was made by another version of this program.
    #[error("{} holds a network of version {version}, this program runs version {VERSION}", path.display())]
    Version {
        /// The folder.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

/// What was decided when the network was made; later starts follow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Version of the format of the folder.
    pub version: u32,
    /// Number of validators.
    pub validators: usize,
    /// Number of miners.
    pub miners: usize,
    /// Port of the ledger.
    pub ledger_port: u16,
    /// Port of the bucket server.
    pub bucket_port: u16,
    /// The address that both listen on; this machine alone where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<IpAddr>,
    /// The run that the folder holds; none before its first start is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Names the text that was asked for, as [`TextSources::key`](templar_corpus::TextSources::key) does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Further flags of the nodes, such as those of their engine; they hold for this start.
    #[serde(skip)]
    pub node_flags: Vec<String>,
}

/// The folder of one local network, held by this process alone.
#[derive(Debug)]
pub struct Folder {
    disk: templar_disk::Folder,
    _lock: Lock,
}

impl Folder {
    /// Opens the folder, and finishes or drops the network that was being prepared in it when a process was killed.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let unusable = |source| FolderError::Unusable { path: path.to_owned(), source };
        let disk = templar_disk::Folder::new(path);
        let locked = disk.create().and_then(|()| disk.lock("lock"));
        let lock = locked.map_err(|error| match error {
            DiskError::InUse { .. } => FolderError::InUse { path: path.to_owned() },
            error => unusable(error.into()),
        })?;
        let folder = Self { disk, _lock: lock };
        draft::settle(&folder.disk).map_err(|error| unusable(error.into()))?;
        Ok(folder)
    }

    /// An empty place beside the network for the parts of a new one.
    pub fn draft(&self) -> Result<Draft, FolderError> {
        Draft::new(&self.disk)
            .map_err(|error| FolderError::Unusable { path: self.disk.path().to_owned(), source: error.into() })
    }

    pub(crate) fn remove_file(&self, name: &str) -> Result<(), FolderError> {
        self.disk.remove_file(name).map_err(|error| FolderError::File {
            action: "remove",
            path: self.disk.path().join(name),
            source: error.into(),
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.disk.path()
    }

    /// The folder of one process.
    pub fn node(&self, name: &str) -> PathBuf {
        self.disk.path().join("nodes").join(name)
    }

    /// The log of one process.
    pub fn log(&self, name: &str) -> PathBuf {
        self.disk.path().join("logs").join(format!("{name}.log"))
    }

    /// The folder of the processes' metrics.
    pub fn all_metrics(&self) -> PathBuf {
        self.disk.path().join("metrics")
    }

    /// The file of one process's metrics, in a folder that exists.
    pub(crate) fn metrics(&self, name: &str) -> io::Result<PathBuf> {
        let folder = self.all_metrics();
        fs::create_dir_all(&folder)?;
        Ok(folder.join(format!("{name}{METRICS_SUFFIX}")))
    }

    /// What was decided when the network was made; none for a new one.
    pub fn settings(&self) -> Result<Option<Settings>, FolderError> {
        read_settings(self.disk.path())
    }

    /// Writes a file whole or not at all.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        let failed = |error: DiskError| FolderError::File {
            action: "write",
            path: self.disk.path().join(name),
            source: error.into(),
        };
        self.disk.write(name, &[bytes]).map_err(failed)
    }

    /// Keeps the settings.
    pub fn save(&self, settings: &Settings) -> Result<(), FolderError> {
        self.write_json("network.json", settings)
    }

    /// As [`Folder::write`], of facts as JSON.
    pub(crate) fn write_json(&self, name: &str, facts: &impl Serialize) -> Result<(), FolderError> {
        let path = || self.disk.path().join(name);
        let text = serde_json::to_vec_pretty(facts).map_err(|source| FolderError::Damaged { path: path(), source })?;
        self.write(name, &text)
    }
}

/// What was decided when the network in `root` was made; none where there is none.
pub fn read_settings(root: &Path) -> Result<Option<Settings>, FolderError> {
    let path = root.join("network.json");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FolderError::File { action: "read", path, source }),
    };
    let settings: Settings = serde_json::from_slice(&bytes).map_err(|source| FolderError::Damaged { path, source })?;
    match settings.version {
        VERSION => Ok(Some(settings)),
        version => Err(FolderError::Version { path: root.to_owned(), version }),
    }
}

impl Settings {
    /// The address that the ledger and the bucket server listen on.
    pub fn host(&self) -> IpAddr {
        self.listen.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Address of the ledger.
    pub fn ledger_url(&self) -> String {
        format!("ws://{}", SocketAddr::new(self.host(), self.ledger_port))
    }

    /// Address of the bucket server.
    pub fn bucket_url(&self) -> String {
        format!("http://{}", SocketAddr::new(self.host(), self.bucket_port))
    }

    /// Settings of a new network.
    pub fn new(validators: usize, miners: usize) -> Self {
        let (listen, run, text) = (None, None, None);
        Self {
            version: VERSION,
            validators,
            miners,
            ledger_port: 0,
            bucket_port: 0,
            listen,
            run,
            text,
            node_flags: Vec::new(),
        }
    }

    /// The nodes: miners first, so that they get the lowest uids, which have data.
    pub fn nodes(&self) -> Vec<Node> {
        let of = |role: Role, count| (0..count).map(move |number| Node::new(role, &format!("{role}-{number}")));
        of(Role::Miner, self.miners).chain(of(Role::Validator, self.validators)).collect()
    }
}
