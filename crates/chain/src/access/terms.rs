//! Prices, tiers and the split of the revenue. In genesis at first; governance changes them.

use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use templar_base::{Alpha, RAO_PER_TAO};

/// What is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Text of the trained model; a unit is a token read or written.
    Generation,
    /// Compute time; a unit is a second of one device.
    Compute,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generation => "generation",
            Self::Compute => "compute",
        })
    }
}

impl FromStr for Service {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "generation" => Ok(Self::Generation),
            "compute" => Ok(Self::Compute),
            _ => Err(format!("`{text}` is no service: use generation or compute")),
        }
    }
}

/// Units of each service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Encode, Decode)]
pub struct Units {
    /// Tokens of the model.
    pub generation: u64,
    /// Seconds of a device.
    pub compute: u64,
}

impl Units {
    /// So many of one service.
    pub fn of(service: Service, units: u64) -> Self {
        match service {
            Service::Generation => Self { generation: units, ..Self::default() },
            Service::Compute => Self { compute: units, ..Self::default() },
        }
    }

    /// Service by service, at most what fits.
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    /// Service by service, nothing where `other` is more.
    pub fn minus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_sub)
    }

    /// The larger of the two, service by service.
    pub fn max(self, other: Self) -> Self {
        self.zip(other, u64::max)
    }

    /// The smaller of the two, service by service.
    pub fn min(self, other: Self) -> Self {
        self.zip(other, u64::min)
    }

    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    fn zip(self, other: Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        Self { generation: combine(self.generation, other.generation), compute: combine(self.compute, other.compute) }
    }
}

/// Units that come with stake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct StakeTier {
    /// Stake of the payer from which on the tier holds.
    pub stake: Alpha,
    /// Units that an epoch gives before anything is charged.
    pub units_per_epoch: Units,
}

/// The terms of access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct AccessTerms {
    /// Price of a thousand tokens of the model.
    pub generation_per_thousand: Alpha,
    /// Price of a thousand seconds of a device.
    pub compute_per_thousand: Alpha,
    /// Part of the revenue that is burned, in thousandths.
    pub burned_per_mille: u16,
    /// Part that goes to the treasury, in thousandths; what is left goes to the epoch's miners and validators.
    pub treasury_per_mille: u16,
    /// The least that an account is opened with.
    pub minimum_deposit: Alpha,
    /// Blocks from a payer's wish to close to the refund: the gateway settles in that time.
    pub closing_blocks: u64,
    /// Tiers of stake, the least first; the highest that the payer reaches counts.
    pub tiers: Vec<StakeTier>,
}

/// Tiers that a profile may have.
const MAX_TIERS: usize = 16;

impl AccessTerms {
    /// A tenth of a token for a thousand tokens of text; a third burned, a tenth to the treasury.
    pub fn mainnet_like() -> Self {
        let tier = |stake: u64, generation: u64, compute: u64| StakeTier {
            stake: Alpha::from_rao(stake * RAO_PER_TAO),
            units_per_epoch: Units { generation, compute },
        };
        Self {
            generation_per_thousand: Alpha::from_rao(RAO_PER_TAO / 10),
            compute_per_thousand: Alpha::from_rao(RAO_PER_TAO),
            burned_per_mille: 300,
            treasury_per_mille: 100,
            minimum_deposit: Alpha::from_rao(RAO_PER_TAO / 100),
            closing_blocks: 300,
            tiers: vec![tier(1_000, 10_000, 0), tier(10_000, 200_000, 600)],
        }
    }

    /// The same, with a short wait for refunds.
    pub fn local() -> Self {
        Self { closing_blocks: 20, ..Self::mainnet_like() }
    }

    /// What is wrong with the terms, for the check of the profile: field, value, wanted.
    pub fn fault(&self) -> Option<(&'static str, u64, &'static str)> {
        let split = u64::from(self.burned_per_mille) + u64::from(self.treasury_per_mille);
        let ordered = self.tiers.is_sorted_by(|low, high| low.stake < high.stake);
        match self {
            _ if split > 1_000 => Some(("access.burned_per_mille + treasury_per_mille", split, "1000 at most")),
            _ if self.closing_blocks > 1_000_000 => {
                Some(("access.closing_blocks", self.closing_blocks, "1000000 at most"))
            }
            _ if self.minimum_deposit == Alpha::ZERO => Some(("access.minimum_deposit", 0, "1 or more")),
            _ if self.tiers.len() > MAX_TIERS || !ordered => {
                Some(("access.tiers", self.tiers.len() as u64, "16 at most, by rising stake"))
            }
            _ => None,
        }
    }

    /// What a thousand units cost.
    pub fn price(&self, service: Service) -> Alpha {
        match service {
            Service::Generation => self.generation_per_thousand,
            Service::Compute => self.compute_per_thousand,
        }
    }

    /// Units an epoch that come with `stake`.
    pub fn allowance(&self, stake: Alpha) -> Units {
        let reached = self.tiers.iter().rev().find(|tier| stake >= tier.stake);
        reached.map_or(Units::default(), |tier| tier.units_per_epoch)
    }

    /// What units cost, in thousandths of the token's smallest unit.
    pub fn cost_in_thousandths(&self, units: Units) -> u128 {
        u128::from(units.generation) * u128::from(self.generation_per_thousand.as_rao())
            + u128::from(units.compute) * u128::from(self.compute_per_thousand.as_rao())
    }
}
