//! Why something could not be read of a run.

use std::io;
use std::path::PathBuf;
use templar_base::{BlockHash, GenesisError, PublicKey, StateHash, Window};
use templar_bucket::BucketError;
use templar_chain::ChainError;
use templar_engine::TooLittleMemory;
use templar_engine::checkpoint::{CheckpointError, StreamError};
use templar_gradient::{AggregateError, LayoutError};
use templar_round::{SealError, SignedError};

/// A reading that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The genesis document cannot be used.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The model's layout cannot be cut into chunks.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The ledger is away or rejected the request.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A bucket is away or rejected the request.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// A sealed payload does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A signed document does not hold.
    #[error(transparent)]
    Signed(#[from] SignedError),
    /// An aggregate object does not decode.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    /// A model file is not one of the run's model.
    #[error("{} is not a file of the run's model; use the run's own model folder", path.display())]
    ModelFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CheckpointError,
    },
    /// The model folder that the run starts from cannot be used; the folder is at fault.
    #[error("cannot use the model folder that the run starts from")]
    FirstModel(#[from] CheckpointError),
    /// A model's files cannot be written.
    #[error("cannot write the model's files")]
    Write(#[from] StreamError),
    /// The system failed on a file.
    #[error("cannot use {}: {source}; check the path and its permissions", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The machine has too little memory for the run's model; nothing was allocated.
    #[error("{0}")]
    Memory(#[source] TooLittleMemory),
    /// The run is for another ledger.
    #[error("the run's genesis names the ledger {wanted}, but this one is {actual}; check the ledger's address")]
    WrongLedger {
        /// What the genesis says.
        wanted: BlockHash,
        /// What answers.
        actual: BlockHash,
    },
    /// The first parameters are not those of the genesis.
    #[error("the first parameters have state hash {actual}, the genesis says {wanted}; use the run's own model folder")]
    FirstState {
        /// What the genesis says.
        wanted: StateHash,
        /// What was computed.
        actual: StateHash,
    },
    /// The genesis wants a model folder and none was named.
    #[error("the run starts from a model folder: name it with --first-parameters DIR")]
    FirstFolder,
    /// A peer has not published where its bucket is, or its address cannot be used.
    #[error("the ledger has no usable bucket address of {hotkey}; the peer is at fault")]
    NoBucketAddress {
        /// The peer.
        hotkey: PublicKey,
    },
    /// No node offers an agreed checkpoint.
    #[error("no checkpoint that most of the stake agrees on can be fetched for window {window}: {reason}")]
    NoCheckpoint {
        /// The newest window of interest.
        window: Window,
        /// What was tried.
        reason: String,
    },
    /// No validator published the checkpoint of this window.
    #[error("no validator has the checkpoint of window {window}; take another window")]
    NotPublished {
        /// The window whose start it is.
        window: Window,
    },
    /// The window has not begun.
    #[error("window {window} has not begun{}; wait, or name an earlier one", current_text(.current))]
    NotYet {
        /// The window asked for.
        window: Window,
        /// The current window; none before the run's start.
        current: Option<Window>,
    },
    /// Votes on a window can still change what is agreed of it.
    #[error(
        "the votes on window {window} are not all in: what is agreed of it can still change; wait, or name an earlier one"
    )]
    Undecided {
        /// The window.
        window: Window,
    },
    /// The settings that hold in a window were read and are not among what was read.
    #[error("the rules of window {window} are unknown although the ledger was read; this program is at fault")]
    RulesUnknown {
        /// The window.
        window: Window,
    },
    /// There is no state at the start of this window that most of the stake reports.
    #[error("most of the stake has not agreed on a state at the start of window {window}, or its reports are pruned")]
    NoAgreedState {
        /// The window.
        window: Window,
    },
    /// None of those who voted for a verdict was named.
    #[error("no validator is known to hold the agreed verdict of window {window}")]
    NoHolder {
        /// The window.
        window: Window,
    },
    /// Another object than agreed.
    #[error("{what} of window {window} is not what was agreed; its bucket is at fault")]
    NotAgreed {
        /// What differs.
        what: &'static str,
        /// The window.
        window: Window,
    },
    /// The evaluations in a bucket are none of the run's.
    #[error("the evaluations in the bucket of {hotkey} cannot be used: {what}; its owner is at fault")]
    Evaluations {
        /// The owner.
        hotkey: PublicKey,
        /// What is wrong with them.
        what: &'static str,
    },
    /// A bucket did not answer in time.
    #[error("the bucket did not answer within {seconds} s; its owner is at fault, or the network")]
    Deadline {
        /// The time it was given.
        seconds: u64,
    },
    /// What was read cannot be packed.
    #[error("the record cannot be packed: {0}")]
    Packed(#[source] Box<crate::PackedError>),
    /// A reading task of this process panicked.
    #[error("a task that reads the record ended early: {0}; this program is at fault")]
    Task(#[from] tokio::task::JoinError),
}

fn current_text(current: &Option<Window>) -> String {
    current.map_or(": the run has not started".to_owned(), |current| format!(": the run is at window {current}"))
}
