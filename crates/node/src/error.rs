//! What stops a node, whose fault it is, and what to do about it.

use crate::DataFolderError;
use std::any::Any;
use templar_audit::AnswerError;
use templar_base::FindingsError;
use templar_base::{PublicKey, RunId, Uid, Window};
use templar_bucket::BucketError;
use templar_chain::ChainError;
use templar_corpus::{AssignmentError, CorpusError, PlanError};
use templar_engine::{EngineError, OptimiserStateError};
use templar_gauntlet::JudgeError;
use templar_gradient::{FeedbackError, LengthMismatch, MergeError};
use templar_record::RecordError;
use templar_round::SignedError;
use templar_trainer::{ReplayError, TrainerError};
use tokio::task::JoinError;

/// An operation of a node that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    /// Buffers of different models met.
    #[error(transparent)]
    Length(#[from] LengthMismatch),
    /// A worker's window failed.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// The window could not be judged.
    #[error(transparent)]
    Judge(#[from] JudgeError),
    /// An audit's steps cannot be done.
    #[error("a payload's steps cannot be done again: {0}")]
    Replay(#[from] ReplayError),
    /// What is kept for audits cannot be written or read.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// All nodes were away, and this one has missed something that was agreed before.
    #[error(
        "window {agreed} is the last that most of the stake agreed on, and this node stopped before it, at the start of \
         window {next}; nobody offers a checkpoint. It waits for a validator that was there: start one of them"
    )]
    MissedAgreement {
        /// The window whose start this node holds.
        next: Window,
        /// The last agreed window.
        agreed: Window,
    },
    /// The hotkey has no slot.
    #[error("hotkey {hotkey} is not registered in subnet {netuid}; run `templar token register` with its coldkey")]
    NotRegistered {
        /// The key.
        hotkey: PublicKey,
        /// The subnet.
        netuid: u16,
    },
    /// The validators judge another run: this one's document is not theirs.
    #[error(
        "no validator runs this run: its document is of run {own}, and they judge run {other}; take the genesis document \
         of the run that you want to join"
    )]
    OtherRun {
        /// The run of the document.
        own: RunId,
        /// The run that is judged.
        other: RunId,
    },
    /// This program computes with other numerics than the run asks for.
    #[error(
        "the run allows the numerics {wanted}, and this node's engine computes with `{actual}`; choose the engine with \
        --engine (cpu for strict numerics, torch for torch-bf16), or use the matching release"
    )]
    Numerics {
        /// What the genesis says.
        wanted: String,
        /// What the engine does.
        actual: String,
    },
    /// The machine asks for an outcome whose parts this node no longer holds.
    #[error("the aggregate or the rules of window {window} are not in memory; they are read again")]
    NothingToApply {
        /// The window.
        window: Window,
    },
    /// The parameters held are those at the start of another window, or other ones.
    #[error("the parameters held are not those agreed for the start of window {window}")]
    OtherStart {
        /// The window.
        window: Window,
    },
    /// The key of a sealed payload is not held: it was sealed by an earlier process, or not at all.
    #[error("no sealed payload of window {window} is held, so that its key cannot be published")]
    NoSealKey {
        /// The window.
        window: Window,
    },
    /// The ratings at a window's start are not held: votes or a checkpoint could not be read.
    #[error("the ratings at the start of window {window} are not known yet; they come with the votes before it")]
    RatingsUnknown {
        /// The window.
        window: Window,
    },
    /// What is to be judged was not gathered.
    #[error("the payloads of window {window} were not gathered; the window is not judged")]
    NothingGathered {
        /// The window.
        window: Window,
    },
    /// A selected payload cannot be had.
    #[error("the payload of uid {uid} of window {window} is not committed, or does not open; the aggregate is fetched")]
    NoPayload {
        /// The miner's slot.
        uid: Uid,
        /// The window.
        window: Window,
    },
    /// A verdict cannot be voted for.
    #[error(transparent)]
    Vote(#[from] FindingsError),
    /// The operating system gave no random bytes.
    #[error("the system's random source failed; check the system")]
    Random(#[source] getrandom::Error),
    /// The operating system gave no thread.
    #[error("the {name} thread cannot be started; check the limits of this system")]
    NoThread {
        /// The thread.
        name: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread of this node has ended.
    #[error("the node's computing thread has ended; see the message before, then start the node again")]
    WorkerGone,
    /// The processes that this node computes with are gone. What is on disk is whole.
    #[error("the engine is gone: {reason}; start the node again, which resumes from what is on disk")]
    EngineLost {
        /// How.
        reason: String,
    },
    /// A task or thread of this node panicked. What is on disk is whole.
    #[error("{what} of this node panicked: {reason}; this program is at fault, start the node again")]
    Panicked {
        /// Which.
        what: String,
        /// Its message.
        reason: String,
    },
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

/// What a panic says.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it gave no reason".to_owned())
}

impl NodeError {
    /// The error of a task that panicked.
    pub(crate) fn panicked(what: &str, error: JoinError) -> Self {
        let reason = match error.try_into_panic() {
            Ok(panic) => panic_text(panic.as_ref()),
            Err(error) => error.to_string(),
        };
        Self::Panicked { what: what.to_owned(), reason }
    }
}
