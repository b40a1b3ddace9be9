//! What can go wrong with the processes of PyTorch.

use std::io;
use std::path::PathBuf;
use templar_engine::EngineError;

/// What to do where there is no Python with PyTorch.
const GET_TORCH: &str =
    "name a Python that has PyTorch with --python, or make an environment with `templar doctor --setup torch`";

/// A failure of the ranks: the processes that PyTorch runs in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TorchError {
    /// The interpreter cannot be started.
    #[error("cannot start {}: {source}; {GET_TORCH}", python.display())]
    NoPython {
        /// The interpreter.
        python: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The interpreter has no PyTorch, or one that does not load.
    #[error("{} has no PyTorch that loads ({reason}); {GET_TORCH}", python.display())]
    NoTorch {
        /// The interpreter.
        python: PathBuf,
        /// What Python said.
        reason: String,
    },
    /// A rank ended.
    #[error("rank {rank} ended ({how}) while {doing}; all ranks are stopped{}", last_words(said))]
    Ended {
        /// Which one.
        rank: usize,
        /// What was requested.
        doing: &'static str,
        /// Its exit status.
        how: String,
        /// The end of what it wrote to its standard error.
        said: String,
    },
    /// A rank failed within a request.
    #[error("rank {rank} failed while {doing}: {reason}; all ranks are stopped{}", last_words(said))]
    Failed {
        /// Which one.
        rank: usize,
        /// What was requested.
        doing: &'static str,
        /// What Python raised.
        reason: String,
        /// The end of what it wrote to its standard error.
        said: String,
    },
    /// A rank did not answer in time.
    #[error("rank {rank} gave no answer within {seconds} s while {doing}; all ranks are stopped{}", last_words(said))]
    Silent {
        /// Which one.
        rank: usize,
        /// What was requested.
        doing: &'static str,
        /// The deadline.
        seconds: u64,
        /// The end of what it wrote to its standard error.
        said: String,
    },
    /// A rank answered something that the protocol does not have.
    #[error("rank {rank} broke the protocol while {doing}: {what}; all ranks are stopped")]
    Protocol {
        /// Which one.
        rank: usize,
        /// What was requested.
        doing: &'static str,
        /// What it did.
        what: String,
    },
    /// The ranks cannot serve a request; they go on, unless this is about their opening.
    #[error("PyTorch rejects a request while {doing}: {reason}")]
    Refused {
        /// What was requested.
        doing: &'static str,
        /// Why not.
        reason: String,
    },
    /// The ranks ended in an earlier request.
    #[error("the ranks are gone since an earlier request: {reason}")]
    Gone {
        /// How.
        reason: String,
    },
    /// A request has more parts than fit into one.
    #[error("a step of this number of micro-batches does not fit into one request; use fewer, larger ones")]
    RequestTooLong,
    /// The folder or a file for the exchange of values cannot be used.
    #[error("cannot write {} for the exchange with PyTorch: {source}; free some space there", path.display())]
    Exchange {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A number of ranks that cannot be.
    #[error("{0} ranks cannot be started; choose 1 to {MAX_RANKS}")]
    RankCount(usize),
}

/// More ranks than any machine has GPUs.
pub const MAX_RANKS: usize = 64;

/// What comes before the end of what a rank wrote.
pub(crate) const LAST_WORDS: &str = ". It wrote last:\n";

fn last_words(text: &str) -> String {
    if text.trim().is_empty() { String::new() } else { format!("{LAST_WORDS}{}", text.trim()) }
}

impl TorchError {
    /// Whether the ranks are gone after it.
    pub fn is_lost(&self) -> bool {
        match self {
            Self::Ended { .. }
            | Self::Failed { .. }
            | Self::Silent { .. }
            | Self::Protocol { .. }
            | Self::Gone { .. } => true,
            Self::NoPython { .. }
            | Self::NoTorch { .. }
            | Self::Refused { .. }
            | Self::RequestTooLong
            | Self::Exchange { .. }
            | Self::RankCount(_) => false,
        }
    }
}

impl From<TorchError> for EngineError {
    fn from(error: TorchError) -> Self {
        match error.is_lost() {
            true => Self::Lost(error.to_string()),
            false => Self::Process(error.to_string()),
        }
    }
}
