//! The parameters of Yuma consensus.

use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// How bonds grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum BondsRule {
    /// Shares of each miner, bought in proportion to stake.
    Classic,
    /// Each validator's own, whatever its stake.
    Yuma3,
}

/// Bonds that move faster where a validator departs from the consensus; Yuma 3 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct LiquidAlpha {
    /// Slowest movement, in 1/65535.
    pub low: u16,
    /// Fastest movement, in 1/65535.
    pub high: u16,
    /// Steepness of the sigmoid, in hundredths.
    pub steepness: i16,
}

/// The parameters of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct YumaRule {
    /// Blocks after which a validator that set no weights counts as inactive.
    pub activity_cutoff_blocks: u64,
    /// The majority that decides a weight, in 1/65535.
    pub kappa: u16,
    /// How much of a bond stays from epoch to epoch, in millionths.
    pub bonds_moving_average: u64,
    /// How much of a weight over the consensus is lost for bonds, in 1/65535.
    pub bonds_penalty: u16,
    /// How bonds grow.
    pub bonds: BondsRule,
    /// Liquid alpha, where it is on.
    pub liquid_alpha: Option<LiquidAlpha>,
    /// Validators that hold a permit at most, the owner apart.
    pub max_validators: u16,
}
