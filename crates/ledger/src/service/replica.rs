//! A follower's copy of a ledger: it stands where the blocks end that it replayed itself.
//!
//! A copy begins at the first block, or at a snapshot. All that is believed is the chain's name: the authority's key is in
//! it, each block is signed with that key, and the digest of the whole state is in the block's header.

mod copy;
mod download;
mod error;

pub use copy::Replica;
pub use download::{SnapshotSource, fetch_snapshot};
pub use error::ReplicaError;
