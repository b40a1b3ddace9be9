//! A snapshot of the state that a ledger offers to download.

use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{BlockHash, BlockNumber, ContentHash};

/// What a ledger offers to download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct SnapshotOffer {
    /// The block after which it is the state.
    pub block: BlockNumber,
    /// That block's hash.
    pub hash: BlockHash,
    /// Hash of each part, in order.
    pub parts: Vec<ContentHash>,
}
