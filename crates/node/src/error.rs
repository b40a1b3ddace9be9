//! What stops a node, and what to do about it.

use crate::DataFolderError;
use templar_base::{BlockHash, GenesisError, PublicKey, StateHash, Window};
use templar_bucket::BucketError;
use templar_corpus::{AssignmentError, CorpusError, PlanError};
use templar_engine::EngineError;
use templar_gauntlet::JudgeError;
use templar_gradient::{AggregateError, FeedbackError, LayoutError, LengthMismatch, MergeError};
use templar_ledger::ChainError;
use templar_round::{SealError, SignedError};

/// An operation of a node that failed.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data folder cannot be used.
    #[error(transparent)]
    DataFolder(#[from] DataFolderError),
    /// The genesis document cannot be used.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The corpus is not the run's, or is damaged.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The corpus is too small for the run's rules.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// No data for this uid or window.
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The ledger refused or is away.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A bucket refused or is away.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// A sealed payload does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A signed document does not hold.
    #[error(transparent)]
    Signed(#[from] SignedError),
    /// The error feedback refused.
    #[error(transparent)]
    Feedback(#[from] FeedbackError),
    /// Payloads could not be merged.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// An aggregate object does not decode.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    /// The model's layout cannot be cut into chunks.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Buffers of different models met.
    #[error(transparent)]
    Length(#[from] LengthMismatch),
    /// The window could not be judged.
    #[error(transparent)]
    Judge(#[from] JudgeError),
    /// The run is for another ledger.
    #[error("the run's genesis names the ledger {wanted}, but this one is {actual}; check the ledger's address")]
    WrongLedger {
        /// What the genesis says.
        wanted: BlockHash,
        /// What answers.
        actual: BlockHash,
    },
    /// The hotkey has no slot.
    #[error("hotkey {hotkey} is not registered in subnet {netuid}; run `templar token register` with its coldkey")]
    NotRegistered {
        /// The key.
        hotkey: PublicKey,
        /// The subnet.
        netuid: u16,
    },
    /// This program computes with other numerics than the run asks for.
    #[error("the run asks for numerics `{wanted}`, this program computes with `{actual}`; use the matching release")]
    Numerics {
        /// What the genesis says.
        wanted: String,
        /// What the engine does.
        actual: String,
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
    /// Nobody offers an agreed checkpoint.
    #[error("no checkpoint that most of the stake agrees on can be fetched for window {window}: {reason}")]
    NoCheckpoint {
        /// The newest window of interest.
        window: Window,
        /// What was tried.
        reason: String,
    },
    /// The window has not begun.
    #[error("window {window} has not begun{}; wait, or name an earlier one", current_text(.current))]
    NotYet {
        /// Asked for.
        window: Window,
        /// The window at hand; none before the run's start.
        current: Option<Window>,
    },
    /// Not yet on the ledger, or gone from it.
    #[error("{what} of window {window} is missing")]
    Missing {
        /// What is missing.
        what: String,
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
    /// The operating system gave no random bytes.
    #[error("the system's random source failed: {0}")]
    Random(String),
    /// A thread of this node has ended.
    #[error("the node's computing thread has ended; see the message before, then start the node again")]
    WorkerGone,
    /// The own bucket takes less than a window's payload in the time that there is for it.
    #[error(
        "the payload of {bytes} bytes was not in the bucket {seconds} s after it was made, when its window ended: \
        the bucket is away, failing, or too slow for this run; its warnings before this one say more"
    )]
    TooSlow {
        /// The payload, sealed.
        bytes: u64,
        /// How long it was under way.
        seconds: u64,
    },
    /// Something did not come in time.
    #[error("{what} did not happen within {seconds} s")]
    Deadline {
        /// What was waited for.
        what: &'static str,
        /// How long.
        seconds: u64,
    },
}

fn current_text(current: &Option<Window>) -> String {
    current.map_or(": the run has not started".to_owned(), |current| format!(": the run is at window {current}"))
}
