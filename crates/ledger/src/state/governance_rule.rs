//! The bounds of what votes can do; part of the ledger's genesis.

use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Alpha, RAO_PER_TAO, Rao};

/// What a value may be, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Bounds {
    /// The least.
    pub least: u64,
    /// The most.
    pub most: u64,
}

impl Bounds {
    /// From `least` to `most`.
    pub(crate) const fn new(least: u64, most: u64) -> Self {
        Self { least, most }
    }
}

/// Eight epochs are ten hours on the chain's clock: capital that is borrowed for a block has no vote.
fn lasting_epochs() -> u8 {
    8
}

/// How proposals are made and decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct GovernanceRule {
    /// Blocks from a proposal to its decision.
    pub voting_blocks: u64,
    /// Part of the snapshot's stake that must vote, in thousandths.
    pub quorum_per_mille: u16,
    /// Part of yes and no that yes must exceed, in thousandths.
    pub majority_per_mille: u16,
    /// What a proposal costs; burned, so that nobody floods the ledger with them.
    pub proposal_cost: Rao,
    /// What a proposer must have staked.
    pub proposer_stake: Alpha,
    /// Stake votes and proposes by the least that its holder had over this number of epochs, the running one included; with 0
    /// by what it has at the proposal.
    #[serde(default = "lasting_epochs")]
    pub lasting_epochs: u8,
    /// Proposals that may be open at once: each holds a snapshot.
    pub max_open: u16,
    /// Bounds of [`templar_base::RunSetting::LearningRateFactor`], in millionths.
    pub learning_rate_factor: Bounds,
    /// Bounds of [`templar_base::RunSetting::OuterAlpha`], in millionths.
    pub outer_alpha: Bounds,
    /// Bounds of [`templar_base::RunSetting::InnerSteps`].
    pub inner_steps: Bounds,
    /// Bounds of [`templar_base::RunSetting::Selected`].
    pub selected: Bounds,
    /// Bounds of the burned part of revenue, in thousandths.
    pub burned_per_mille: Bounds,
    /// Bounds of the treasury's part of revenue, in thousandths.
    pub treasury_per_mille: Bounds,
    /// Bounds of a price for a thousand units, in the token's smallest unit.
    pub price_per_thousand: Bounds,
}

impl GovernanceRule {
    /// A day of twelve-second blocks to vote, a fifth of the stake as quorum, more than half of it to adopt.
    pub fn mainnet_like() -> Self {
        Self {
            voting_blocks: 7_200,
            quorum_per_mille: 200,
            majority_per_mille: 500,
            proposal_cost: Rao::from_rao(RAO_PER_TAO),
            proposer_stake: Alpha::from_whole(100),
            lasting_epochs: lasting_epochs(),
            max_open: 16,
            learning_rate_factor: Bounds::new(100_000, 4_000_000),
            outer_alpha: Bounds::new(50_000, 2_000_000),
            inner_steps: Bounds::new(1, 65_536),
            selected: Bounds::new(1, 64),
            burned_per_mille: Bounds::new(0, 1_000),
            treasury_per_mille: Bounds::new(0, 500),
            price_per_thousand: Bounds::new(0, 100 * RAO_PER_TAO),
        }
    }

    /// The same on a network of one machine: a minute to vote, small sums.
    pub fn local() -> Self {
        Self {
            voting_blocks: 60,
            proposal_cost: Rao::from_rao(RAO_PER_TAO / 100),
            proposer_stake: Alpha::from_rao(RAO_PER_TAO),
            ..Self::mainnet_like()
        }
    }

    /// What the profile's check asks of the fields: name, value, least, most, and the bounds in words.
    pub(crate) fn bounds_of_profile(&self) -> [(&'static str, u64, u64, u64, &'static str); 5] {
        [
            ("governance.voting_blocks", self.voting_blocks, 1, 10_000_000, "1 to 10000000"),
            ("governance.quorum_per_mille", u64::from(self.quorum_per_mille), 1, 1_000, "1 to 1000"),
            ("governance.majority_per_mille", u64::from(self.majority_per_mille), 500, 999, "500 to 999"),
            ("governance.lasting_epochs", u64::from(self.lasting_epochs), 0, 8, "8 at most"),
            ("governance.max_open", u64::from(self.max_open), 1, 64, "1 to 64"),
        ]
    }
}
