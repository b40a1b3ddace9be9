//! What a rule set decides. A further one is a further variant: each method is a match.

use crate::rules::curve;
use crate::rules::yuma::{self, EpochInput, EpochTerms};
use crate::state::RuleSet;

impl RuleSet {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::S425 => "s425",
        }
    }

    /// Shares out an epoch.
    pub fn epoch(self, input: &EpochInput) -> Vec<EpochTerms> {
        match self {
            Self::S425 => yuma::epoch(input),
        }
    }

    /// What a block issues after `issued`, `full` before any halving; in the smallest unit.
    pub fn block_emission(self, full: u64, issued: u64) -> u64 {
        match self {
            Self::S425 => curve::block_emission(full, issued),
        }
    }

    /// What the price of a slot is multiplied by each block, in 2^-32.
    pub fn price_decay(self, half_life_blocks: u32) -> u64 {
        match self {
            Self::S425 => curve::decay_per_block(half_life_blocks),
        }
    }
}
