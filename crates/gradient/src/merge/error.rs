//! Why payloads cannot be merged.

use super::MAX_TOTAL_WEIGHT;
use crate::length::LengthMismatch;
use templar_base::{MergeMethod, Uid};

/// Payloads that cannot be merged; the caller is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// No payload with a weight.
    #[error("no payload has a weight: a window without contributors is null and has no aggregate")]
    NoContributors,
    /// A payload of another layout.
    #[error("the payload of uid {uid} has another layout than the merge")]
    WrongLayout {
        /// Its miner.
        uid: Uid,
    },
    /// Payloads of different runs, windows or start states.
    #[error(
        "the payload of uid {uid} is of another run, window or start state than the others; check metadata before merging"
    )]
    Mixed {
        /// Its miner.
        uid: Uid,
    },
    /// Two payloads of one miner.
    #[error("uid {uid} has two payloads in one merge")]
    Duplicate {
        /// The miner.
        uid: Uid,
    },
    /// Weights that sum to too much.
    #[error("the weights of a merge sum to {total}, over the limit of {MAX_TOTAL_WEIGHT}")]
    TotalWeight {
        /// Their sum.
        total: u64,
    },
    /// A payload that is not in the merge, or not with this content and weight.
    #[error("the payload of uid {uid} is not in the merge as it is given")]
    NotMerged {
        /// The miner.
        uid: Uid,
    },
    /// A method that does not add up payload by payload.
    #[error("{method:?} cannot be merged payload by payload; merge the whole set at once")]
    NotLinear {
        /// The method.
        method: MergeMethod,
    },
    /// The payloads given are not all of the aggregate's.
    #[error("{given} payloads given for an aggregate of {contributors}; all of them are needed for the scale limits")]
    Incomplete {
        /// Payloads given.
        given: usize,
        /// The aggregate's contributors.
        contributors: usize,
    },
    /// A buffer that does not fit.
    #[error(transparent)]
    Length(#[from] LengthMismatch),
}
