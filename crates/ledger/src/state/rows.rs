//! The rows of the state's tables.

use super::moving_price::MovingPrice;
use super::weighted_pool::WeightedPool;
use parity_scale_codec::{Decode, Encode};
use templar_base::{Alpha, BlockNumber, Netuid, PublicKey};
use templar_chain::Topic;

/// The subnet of root stake, which is held in TAO.
pub const ROOT: Netuid = Netuid(0);

/// Where a commitment stands: topic and index first, so that a window's commitments lie together.
pub(crate) type CommitmentKey = (Topic, u64, PublicKey);

/// One slot of the subnet, without what is stored elsewhere (stake, weights).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Slot {
    pub hotkey: PublicKey,
    pub permit: bool,
    pub active: bool,
    pub registered_at: BlockNumber,
    pub last_update: BlockNumber,
    pub consensus: u16,
    pub validator_trust: u16,
    pub incentive: u16,
    pub dividends: u16,
    pub emission: Alpha,
}

impl Slot {
    /// A slot that was just given to `hotkey`.
    pub fn new(hotkey: PublicKey, registered_at: BlockNumber) -> Self {
        Self {
            hotkey,
            permit: false,
            active: false,
            registered_at,
            last_update: BlockNumber(0),
            consensus: 0,
            validator_trust: 0,
            incentive: 0,
            dividends: 0,
            emission: Alpha::ZERO,
        }
    }
}

/// A commitment as stored.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Commitment {
    pub block: BlockNumber,
    pub data: Vec<u8>,
}

/// Everything behind a hotkey in a subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct StakeTotal {
    /// Alpha, or TAO on the root, in the smallest unit.
    pub amount: u64,
    /// All shares of it.
    pub shares: u128,
}

/// A hash of weights that are to come.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct WeightCommit {
    pub hash: [u8; 32],
    pub block: BlockNumber,
}

/// What the subnet holds and has issued.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Subnet {
    /// The market of the token.
    pub pool: WeightedPool,
    /// The slow mean of the price.
    pub moving_price: MovingPrice,
    /// Tokens that were ever made.
    pub alpha_issued: Alpha,
    /// Tokens that were destroyed.
    pub alpha_burned: Alpha,
    /// The owner's part, waiting for the epoch's end.
    pub pending_owner: Alpha,
    /// Miners' and validators' part, waiting for the epoch's end.
    pub pending_emission: Alpha,
    /// When the last epoch ended; 0 before the first.
    pub last_epoch: BlockNumber,
}
