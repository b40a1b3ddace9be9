//! Why a slot was paid what it was paid: every term of Yuma and of the payout.

use crate::{ChainError, YumaRule};
use async_trait::async_trait;
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Alpha, BlockNumber, Netuid, PublicKey, Rao, Uid};

/// An epoch and one slot's part in it. Shares are decimal numbers from 0 to 1, cut after nine decimals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The block that ended the epoch.
    pub block: BlockNumber,
    /// The slot.
    pub uid: Uid,
    /// The rules of the epoch.
    pub rule: YumaRule,
    /// What was shared out among all slots.
    pub emission: Alpha,
    /// The owner's part, taken before.
    pub owner_cut: Alpha,
    /// What the epoch knew of the slot.
    pub input: SlotInput,
    /// What it found for the slot.
    pub terms: SlotTerms,
    /// What each validator gave the slot: R is the sum of the products.
    pub as_miner: Vec<MinerTerm>,
    /// What the slot holds of each miner: D before normalisation is the sum of the products, in Yuma 3 times A.
    pub as_validator: Vec<ValidatorTerm>,
    /// What was paid.
    pub payout: Payout,
    /// Amounts that were recomputed, beside those that were paid.
    pub checks: Vec<Check>,
}

/// What an epoch knew of a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotInput {
    /// What its stake counts for.
    pub stake: Alpha,
    /// Whether it held a permit.
    pub permit: bool,
    /// Block of its last weights.
    pub last_update: BlockNumber,
    /// Block of its registration.
    pub registered_at: BlockNumber,
    /// Its weights, in 1/65535 of its largest.
    pub weights: Vec<(u16, u16)>,
    /// Its bonds before the epoch, in 1/65535.
    pub bonds: Vec<(u16, u16)>,
}

/// What an epoch found for a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotTerms {
    /// Whether it set weights lately.
    pub active: bool,
    /// S.
    pub stake_share: String,
    /// A.
    pub active_stake: String,
    /// C.
    pub consensus: String,
    /// T.
    pub validator_trust: String,
    /// R.
    pub rank: String,
    /// I.
    pub incentive: String,
    /// D, normalised.
    pub dividends: String,
    /// Whether it holds a permit from then on.
    pub permit: bool,
}

/// What one validator gave a miner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinerTerm {
    /// The validator.
    pub validator: Uid,
    /// A of the validator.
    pub active_stake: String,
    /// W, what it said.
    pub weight: String,
    /// W̄, what the consensus left of it.
    pub clipped: String,
    /// A · W̄.
    pub product: String,
}

/// What a validator gets by one miner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorTerm {
    /// The miner.
    pub miner: Uid,
    /// The validator's share of all bonds to it.
    pub bond_share: String,
    /// I of the miner.
    pub incentive: String,
    /// The product of the two.
    pub product: String,
}

/// An amount, recomputed and as paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Which.
    pub what: String,
    /// By the terms above.
    pub recomputed: Alpha,
    /// By the ledger's record.
    pub paid: Alpha,
}

impl Explanation {
    /// Whether every recomputed amount is what was paid, to the rao.
    pub fn agrees(&self) -> bool {
        self.checks.iter().all(|check| check.recomputed == check.paid)
    }
}

/// What a slot was paid for an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Payout {
    /// The key that held the slot.
    pub hotkey: PublicKey,
    /// Its part of the miners' half, staked behind it for its owner; or burned.
    pub incentive: Alpha,
    /// Whether the incentive was burned: the subnet's owner is not paid for mining.
    pub is_burned: bool,
    /// Its part of the validators' half: the sum of the next three.
    pub dividends: Alpha,
    /// What the validator keeps of it.
    pub take: Alpha,
    /// What all who staked alpha behind it share.
    pub to_alpha_stakers: Alpha,
    /// What was sold for those who staked TAO on the root behind it.
    pub to_root_stakers: Alpha,
    /// The TAO that the sale brought them.
    pub root_tao: Rao,
}

/// A chain that explains what it paid.
#[async_trait]
pub trait Explain: Send + Sync {
    /// Why a slot was paid what it was paid in the newest epoch that ended at `at` or before; the newest of all where
    /// no block is named.
    async fn explain(&self, netuid: Netuid, uid: Uid, at: Option<BlockNumber>) -> Result<Explanation, ChainError>;
}
