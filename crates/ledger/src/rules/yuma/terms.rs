//! What an epoch depends on, and what it finds.

use crate::arithmetic::fixed::{I32F32, StakeWeight};
use parity_scale_codec::{Decode, Encode};
use templar_chain::YumaRule;

/// What an epoch knows of one uid.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct EpochRow {
    /// What its stake counts for, in the smallest unit.
    pub stake: StakeWeight,
    /// Whether it holds a permit.
    pub permit: bool,
    /// Block of its last weights.
    pub last_update: u64,
    /// Block of its registration.
    pub registered_at: u64,
    /// Block of the oldest weight commit that still waits for its reveal.
    pub oldest_commit: Option<u64>,
    /// Its weights, in 1/65535 of its largest.
    pub weights: Vec<(u16, u16)>,
    /// Its bonds, in 1/65535.
    pub bonds: Vec<(u16, u16)>,
}

/// Everything that an epoch depends on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EpochInput {
    /// The block at which it ends.
    pub block: u64,
    /// Bonds to uids registered at this block or later are dropped; none drops nothing.
    pub last_tempo: Option<u64>,
    /// The parameters.
    pub rule: YumaRule,
    /// Stake under this counts nothing, in the smallest unit.
    pub stake_threshold: u64,
    /// The owner's uid.
    pub owner: Option<u16>,
    /// What is shared out, in the smallest unit.
    pub emission: u64,
    /// One row for each uid, from 0 without gaps.
    pub rows: Vec<EpochRow>,
}

/// What an epoch found for one uid: every term of the formulas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EpochTerms {
    /// Whether it set weights lately.
    pub active: bool,
    /// S, its share of all stake.
    pub stake: I32F32,
    /// A, its share of the stake that counts.
    pub active_stake: I32F32,
    /// W, its weights, adding up to one.
    pub weights: Vec<(u16, I32F32)>,
    /// W̄, its weights clipped at the consensus.
    pub clipped_weights: Vec<(u16, I32F32)>,
    /// C, the weight that the majority gives it.
    pub consensus: I32F32,
    /// T, the part of its weights within the consensus.
    pub validator_trust: I32F32,
    /// R, its rank before normalisation.
    pub rank: I32F32,
    /// I, its share of the miners' half.
    pub incentive: I32F32,
    /// E, its bonds after this epoch, in the scale in which they are kept.
    pub bonds: Vec<(u16, I32F32)>,
    /// E with each column adding up to one: its share of each miner's dividends.
    pub bond_shares: Vec<(u16, I32F32)>,
    /// Its share of the validators' half.
    pub dividends: I32F32,
    /// Whether it holds a permit from now on.
    pub permit: bool,
    /// Its bonds as they are kept; none where they are left as they were.
    pub kept_bonds: Option<Vec<(u16, u16)>>,
    /// Its pay as a miner, in the smallest unit.
    pub server_emission: u64,
    /// Its pay as a validator, in the smallest unit.
    pub validator_emission: u64,
    /// Both, as the chain rounds the sum.
    pub emission: u64,
}
