//! What a validator applied in a window, for the ledger.

use crate::sealing::parse_exactly;
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{ContentHash, StateHash};

/// The outcome of a window as one validator computed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
pub struct Applied {
    /// Hash of the aggregate; none in a null window.
    pub aggregate: Option<ContentHash>,
    /// State hash of the parameters that the next window starts from.
    pub state: StateHash,
    /// Hash of the ratings after the window.
    pub record: ContentHash,
}

impl Applied {
    /// Reads a report from the ledger; none where the bytes are malformed, and then it does not count.
    pub fn from_ledger(bytes: &[u8]) -> Option<Self> {
        parse_exactly(bytes)
    }
}
