//! What can go wrong with a local network.

use crate::FolderError;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use templar_base::{GenesisError, ModelConfigError, Problem};
use templar_bucket::{BucketError, ServerError};
use templar_chain::ChainError;
use templar_corpus::{BuildError, CorpusError, PlanError, SourceError, TokenizerError};
use templar_dashboard::DashboardError;
use templar_engine::{EngineError, UnknownPreset};
use templar_evaluation::RunTaskError;
use templar_ledger::{ProfileError, StoreError};
use templar_record::RecordError;
use templar_wallet::WalletError;

/// In decimal units, as `model presets` has them.
fn gigabytes(bytes: u64) -> String {
    match bytes {
        1_000_000_000_000.. => format!("{:.1} TB", bytes as f64 / 1e12),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// A network that cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A process cannot be started.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// The page cannot be served.
    #[error(transparent)]
    Dashboard(#[from] DashboardError),
    /// The run's rules cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// No port is free on the address; other programs hold them all, or the address is not one of this machine.
    #[error("cannot listen on {host}")]
    NoPort {
        /// The address.
        host: IpAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The system's random source failed.
    #[error("the system's random source failed: {0}")]
    Random(getrandom::Error),
    /// The network was made otherwise than it is asked for; the caller is at fault.
    #[error("the network in {} has {has}", root.display())]
    OtherWish {
        /// The network's folder.
        root: PathBuf,
        /// What it has, where something else is asked for.
        has: String,
        /// The flags that ask for something else.
        flags: String,
    },
    /// The network's nodes compute with other numerics than the engine that is asked for; the caller is at fault.
    #[error("the network in {} computes with the numerics {has}, and this engine with {class}", root.display())]
    OtherNumerics {
        /// The network's folder.
        root: PathBuf,
        /// The classes that it allows.
        has: String,
        /// The engine's.
        class: String,
    },
    /// The network has no room for the nodes that are asked for; the caller is at fault.
    #[error(
        "the network in {} has room for {nodes} more nodes: funds of its owner end there", root.display()
    )]
    NoRoom {
        /// The network's folder.
        root: PathBuf,
        /// More nodes that it may have.
        nodes: usize,
    },
    /// A part of the network is missing, damaged or of another one: what was in it cannot be made again.
    #[error("the network in {} cannot be started: {what}", root.display())]
    Lost {
        /// The network's folder.
        root: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The ledger's file cannot be used.
    #[error("cannot use the ledger of the network")]
    Store(#[from] StoreError),
    /// A service ends at once.
    #[error("the {name} ends at once: {reason}")]
    Ended {
        /// `ledger` or `bucket`.
        name: String,
        /// The last line of its log.
        reason: String,
        /// Its log.
        log: PathBuf,
    },
    /// All nodes together need more memory than there is; the caller is at fault.
    #[error(
        "{preset} with {miners} miners and {validators} validators needs {}, and this machine has {} free",
        gigabytes(*needed), gigabytes(*available)
    )]
    TooLittleMemory {
        /// Size of the model.
        preset: String,
        /// Number of miners.
        miners: usize,
        /// Number of validators.
        validators: usize,
        /// Bytes of all nodes.
        needed: u64,
        /// Bytes that processes may still take.
        available: u64,
    },
    /// The text is too small for any share-out.
    #[error(
        "the text has {tokens} tokens in {bytes} bytes, too few for a network with {miners} miners at its start: it \
         needs about {needed} bytes"
    )]
    TooLittleText {
        /// Size of the text.
        bytes: u64,
        /// Tokens that it gives.
        tokens: u64,
        /// Number of miners.
        miners: usize,
        /// About how many bytes of text are needed.
        needed: u64,
    },
    /// The text cannot be read.
    #[error("cannot read the text")]
    Source(#[from] SourceError),
    /// There is no network in the folder.
    #[error("there is no local network in {}", root.display())]
    NoNetwork {
        /// The folder.
        root: PathBuf,
    },
    /// The genesis document is damaged, or of another version of the protocol.
    #[error("cannot use {}", path.display())]
    Genesis {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: GenesisError,
    },
    /// The plan's genesis contradicts itself; this program is at fault.
    #[error("the planned genesis is not valid")]
    PlannedGenesis(#[from] GenesisError),
    /// The text cannot be made a corpus.
    #[error("cannot prepare the text")]
    Build(#[from] BuildError),
    /// The corpus cannot be used, or is too small.
    #[error("cannot use the prepared text")]
    Corpus(#[from] CorpusError),
    /// What the model is to be asked does not fit the network.
    #[error("what idle validators are to ask cannot be used: {0}")]
    Evaluation(Problem),
    /// The questions for the model cannot be used.
    #[error(transparent)]
    Questions(#[from] RunTaskError),
    /// The share-out of the text contradicts itself; this program is at fault.
    #[error("cannot share out the text")]
    ShareOut(#[from] PlanError),
    /// The model's size has no such name.
    #[error(transparent)]
    Preset(#[from] UnknownPreset),
    /// The model's sizes do not fit each other.
    #[error(transparent)]
    Model(#[from] ModelConfigError),
    /// The speed of this machine cannot be measured.
    #[error("cannot measure the speed of this machine")]
    Engine(#[from] EngineError),
    /// A key cannot be made or read.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The ledger's rules contradict each other; this program is at fault.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The ledger does not come up in time.
    #[error("the ledger does not come up")]
    LedgerDown(#[source] ChainError),
    /// The node runs already.
    #[error("node {name} of this network runs already, in another process; stop that one, or join under another name")]
    NodeRuns {
        /// Its name.
        name: String,
    },
    /// The name is another node's, or the network's own.
    #[error("the name {name} is taken by {by}; join under another name")]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        by: String,
    },
    /// The network does not run.
    #[error("the local network does not run")]
    NotRunning(#[source] ChainError),
    /// The ledger rejects what a node needs.
    #[error("cannot {action} {node}")]
    Ledger {
        /// `register`, `stake on`, `fund`.
        action: &'static str,
        /// The node.
        node: String,
        /// The ledger's answer.
        source: ChainError,
    },
    /// The ledger does not answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A write key of the bucket server cannot be registered.
    #[error(transparent)]
    BucketKeys(#[from] ServerError),
    /// A bucket's location is not valid.
    #[error(transparent)]
    Bucket(#[from] BucketError),
}

impl SetupError {
    /// Whether the command was used wrongly, rather than having failed.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::OtherWish { .. }
                | Self::OtherNumerics { .. }
                | Self::NoRoom { .. }
                | Self::TooLittleMemory { .. }
                | Self::Evaluation(_)
                | Self::Preset(_)
        )
    }

    /// What to do about it, for people who use `templar up`.
    pub fn remedy(&self) -> Option<String> {
        let remedy = match self {
            Self::OtherWish { flags, .. } => {
                return Some(format!("leave {flags} out to keep the network as it is, or start over with --fresh"));
            }
            Self::Ended { log, .. } | Self::Child(ChildError::KeepsEnding { log, .. }) => {
                return Some(format!("read {}", log.display()));
            }
            Self::OtherNumerics { .. } => {
                "choose the engine with --engine (torch for torch-bf16, cpu for strict), or start over with --fresh"
            }
            Self::NoRoom { .. } => "take fewer --miners or --validators, or start over with --fresh",
            Self::TooLittleMemory { .. } => "take a smaller --preset, or fewer --miners and --validators",
            Self::TooLittleText { .. } => "give a longer --text, or start with fewer --miners",
            Self::Build(BuildError::Tokenizer(TokenizerError::TextTooPlain { .. })) => {
                "take a smaller --vocab-size, or leave it out for what the text gives"
            }
            Self::Dashboard(_) => "choose another address with --dashboard, or leave the page out with --no-dashboard",
            Self::NoPort { .. } => "name an address of this machine, or close some programs that listen",
            Self::Corpus(_) | Self::Genesis { .. } | Self::Lost { .. } | Self::Store(_) => {
                "put back a copy of what is missing or damaged, or start over with `templar up --fresh`"
            }
            Self::Evaluation(_) => "change --evaluation or --evaluation-every",
            Self::Questions(error) => error.remedy(),
            Self::NoNetwork { .. } => "start one with `templar up`, or name its folder with --data",
            Self::LedgerDown(_) => "read logs/ledger.log in the network's folder",
            Self::Folder(FolderError::Unusable { .. }) => "choose another one with --data",
            Self::Folder(FolderError::InUse { .. }) => "stop it, or choose another folder with --data",
            Self::Folder(FolderError::Damaged { .. }) => "start over with --fresh",
            Self::Folder(FolderError::Version { .. }) => {
                "start over with --fresh, or choose another folder with --data"
            }
            _ => return None,
        };
        Some(remedy.to_owned())
    }
}

/// A process of the network that cannot be started, watched or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// The list of processes cannot be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Its log cannot be written; the disk is at fault.
    #[error("cannot write {}", path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It cannot be started.
    #[error("cannot start {name}")]
    Start {
        /// Its name.
        name: String,
        /// The system's answer.
        source: io::Error,
    },
    /// It ends by itself again and again.
    #[error("{name} has ended {times} times in a row: {reason}")]
    KeepsEnding {
        /// Its name.
        name: String,
        /// How often.
        times: u32,
        /// The last error in its log.
        reason: String,
        /// Its log.
        log: PathBuf,
    },
    /// The system does not report how it is, or does not end it.
    #[error("cannot {action} {name}")]
    Control {
        /// `watch` or `stop`.
        action: &'static str,
        /// Its name.
        name: String,
        /// The system's answer.
        source: io::Error,
    },
}
