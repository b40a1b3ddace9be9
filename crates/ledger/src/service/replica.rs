//! A follower's copy of a ledger: it stands where the blocks end that it replayed itself.
//!
//! A copy begins at the first block, or at a snapshot. Headers are not signed, each names the one before by its hash;
//! so a snapshot is believed where its block is one that the follower trusts, or an ancestor of one: the digest of the
//! whole state is in the block's header, the header under the block's hash.

mod copy;
mod download;
mod error;

pub use copy::Replica;
pub use download::{SnapshotSource, fetch_snapshot};
pub use error::ReplicaError;
