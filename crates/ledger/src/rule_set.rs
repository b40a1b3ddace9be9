//! What a rule set decides, behind one trait: the chain's rules change, and a ledger stays with those of its genesis.

use crate::curve;
use crate::yuma::{self, EpochInput, EpochTerms};
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// The rules that a ledger goes by.
pub trait RuleSet: Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Shares out an epoch.
    fn epoch(&self, input: &EpochInput) -> Vec<EpochTerms>;

    /// What a block issues after `issued`, `full` before any halving; in the smallest unit.
    fn block_emission(&self, full: u64, issued: u64) -> u64;

    /// What the price of a slot is multiplied by each block, in 2^-32.
    fn price_decay(&self, half_life_blocks: u32) -> u64;
}

/// Which rule set, as a profile names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum RuleSetName {
    /// Bittensor's at spec version 425.
    #[default]
    S425,
}

impl RuleSetName {
    /// The rules of that name.
    pub fn rules(self) -> &'static dyn RuleSet {
        match self {
            Self::S425 => &S425,
        }
    }
}

/// Bittensor's rules at spec version 425.
struct S425;

impl RuleSet for S425 {
    fn name(&self) -> &'static str {
        "s425"
    }

    fn epoch(&self, input: &EpochInput) -> Vec<EpochTerms> {
        yuma::epoch(input)
    }

    fn block_emission(&self, full: u64, issued: u64) -> u64 {
        curve::block_emission(full, issued)
    }

    fn price_decay(&self, half_life_blocks: u32) -> u64 {
        curve::decay_per_block(half_life_blocks)
    }
}
