//! What can go wrong with a local network.

use crate::{FolderError, RuleName};
use std::io;
use std::path::PathBuf;
use templar_base::{GenesisError, ModelConfigError};
use templar_bucket::{BucketError, ServerError};
use templar_chain::ChainError;
use templar_corpus::{BuildError, CorpusError, PlanError};
use templar_engine::{EngineError, UnknownPreset};
use templar_ledger::ProfileError;
use templar_wallet::WalletError;

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
    /// No port is free on 127.0.0.1; other programs hold them all.
    #[error("no port is free on 127.0.0.1")]
    NoPort(#[source] io::Error),
    /// The system's random source failed.
    #[error("the system's random source failed: {0}")]
    Random(getrandom::Error),
    /// The network was made with another rule; the caller is at fault.
    #[error("the network in {} has {}", root.display(), rule.map_or("a rule of its own".to_owned(), |rule| format!("the rule {rule}")))]
    OtherRule {
        /// The network's folder.
        root: PathBuf,
        /// Its rule; none where it has no name.
        rule: Option<RuleName>,
    },
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
    /// The corpus has too few tokens for the plan.
    #[error("the prepared text is too small")]
    TooLittleText(#[from] PlanError),
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
