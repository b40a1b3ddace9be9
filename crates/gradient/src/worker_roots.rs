//! Roots of what a worker alone holds, by which a payload is bound to the steps that made it.
//!
//! ```text
//! parameters   the state root of the worker's parameters (see `state`)
//! optimiser    BLAKE3 of: step u64, state root of the first moment, state root of the second
//! leaf         BLAKE3 of: parameters, optimiser
//! ```
//! Each is hashed under a context of its own. The leaves of all states of a window, the start included, make the Merkle
//! tree whose root is [`crate::Metadata::trajectory_root`].

use crate::merkle::MerkleTree;
use templar_base::{ContentHash, StateHash};

const OPTIMISER_CONTEXT: &str = "templar worker optimiser v1";
const LEAF_CONTEXT: &str = "templar worker state v1";

/// Roots of a worker's parameters and of its optimiser's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct WorkerRoots {
    /// State root of the parameters.
    pub parameters: StateHash,
    /// Root of the optimiser's step and moments.
    pub optimiser: ContentHash,
}

impl WorkerRoots {
    /// Bytes of the coding.
    pub(crate) const BYTES: usize = 64;

    /// The leaf of this state in a trajectory.
    pub fn leaf(&self) -> ContentHash {
        let bytes = [self.parameters.as_bytes().as_slice(), self.optimiser.as_bytes()].concat();
        ContentHash::new(blake3::derive_key(LEAF_CONTEXT, &bytes))
    }
}

/// The root of an optimiser's state: its step, and the state roots of its two moments.
pub fn optimiser_root(step: u64, first: StateHash, second: StateHash) -> ContentHash {
    let bytes = [step.to_le_bytes().as_slice(), first.as_bytes(), second.as_bytes()].concat();
    ContentHash::new(blake3::derive_key(OPTIMISER_CONTEXT, &bytes))
}

/// The Merkle tree over the leaves of a trajectory, in order; nothing where there are none.
pub fn trajectory_tree(leaves: &[ContentHash]) -> Option<MerkleTree> {
    (!leaves.is_empty()).then(|| MerkleTree::of_leaves(leaves.iter().map(|leaf| *leaf.as_bytes()).collect()))
}

/// What the error feedback of a payload began as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[repr(u8)]
pub enum FeedbackOrigin {
    /// Empty: the worker's first payload.
    #[default]
    First = 0,
    /// What the last payload left.
    Kept = 1,
    /// What the last payload left, with that payload put back: nothing was merged in its window.
    TakenBack = 2,
    /// Empty: what was sent had made the model worse.
    Voided = 3,
    /// Empty: the last payload did not reach the others in time.
    Unsent = 4,
    /// Empty: the worker took over a checkpoint.
    Installed = 5,
}

impl FeedbackOrigin {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        let all = [Self::First, Self::Kept, Self::TakenBack, Self::Voided, Self::Unsent, Self::Installed];
        all.into_iter().find(|origin| *origin as u8 == byte)
    }
}
