//! What stops a node, and what to do about it.

use crate::DataFolderError;
use templar_base::{PublicKey, Window};
use templar_bucket::BucketError;
use templar_chain::ChainError;
use templar_corpus::{AssignmentError, CorpusError, PlanError};
use templar_engine::checkpoint::CheckpointError;
use templar_engine::{EngineError, OptimiserStateError};
use templar_gauntlet::JudgeError;
use templar_gradient::{FeedbackError, LengthMismatch, MergeError};
use templar_record::RecordError;
use templar_round::SignedError;
use templar_trainer::TrainerError;

/// An operation of a node that failed.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Something of the run's public record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The data folder cannot be used.
    #[error(transparent)]
    DataFolder(#[from] DataFolderError),
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
    /// The optimiser's state could not be written or read.
    #[error(transparent)]
    Optimiser(#[from] OptimiserStateError),
    /// The ledger refused or is away.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A bucket refused or is away.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// A signed document does not hold.
    #[error(transparent)]
    Signed(#[from] SignedError),
    /// The error feedback refused.
    #[error(transparent)]
    Feedback(#[from] FeedbackError),
    /// Payloads could not be merged.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The model's files cannot be made.
    #[error(transparent)]
    ModelFiles(#[from] CheckpointError),
    /// Buffers of different models met.
    #[error(transparent)]
    Length(#[from] LengthMismatch),
    /// A worker's window failed.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// The window could not be judged.
    #[error(transparent)]
    Judge(#[from] JudgeError),
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
    /// Not yet on the ledger, or gone from it.
    #[error("{what} of window {window} is missing")]
    Missing {
        /// What is missing.
        what: String,
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
