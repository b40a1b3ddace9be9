//! The subnet at a block: its slots, their stakes and weights.

use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Alpha, BlockNumber, Netuid, PublicKey, Uid};

/// One slot of the subnet as nodes see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Neuron {
    /// The slot.
    pub uid: Uid,
    /// The key that holds it.
    pub hotkey: PublicKey,
    /// The key that owns the hotkey.
    pub coldkey: PublicKey,
    /// What the stake behind the hotkey counts for: its alpha, and its TAO on the root by the chain's weight.
    pub stake: Alpha,
    /// Whether it may judge.
    pub permit: bool,
    /// Whether it set weights lately, as of the last epoch.
    pub active: bool,
    /// The weight that the majority of the stake gives it, in 1/65535.
    pub consensus: u16,
    /// The part of its own weights within the consensus, in 1/65535.
    pub validator_trust: u16,
    /// When it got the slot.
    pub registered_at: BlockNumber,
    /// When it last set weights; 0 for never.
    pub last_update: BlockNumber,
    /// Its part of the last epoch's miners' pay, in 1/65535.
    pub incentive: u16,
    /// Its part of the last epoch's validators' pay, in 1/65535.
    pub dividends: u16,
    /// Its pay for the last epoch.
    pub emission: Alpha,
    /// Its weights over other slots; none where they are not known for this block.
    pub weights: Option<Vec<(Uid, u16)>>,
}

/// The subnet at a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Metagraph {
    /// After which block.
    pub block: BlockNumber,
    /// Which subnet.
    pub netuid: Netuid,
    /// Blocks from epoch to epoch.
    pub tempo: u32,
    /// How pay is computed.
    pub emission_rule: String,
    /// All slots, by uid.
    pub neurons: Vec<Neuron>,
}

impl Metagraph {
    /// The slot of `hotkey`.
    pub fn neuron(&self, hotkey: &PublicKey) -> Option<&Neuron> {
        self.neurons.iter().find(|neuron| neuron.hotkey == *hotkey)
    }

    /// The slots that may judge, with their stake, by uid.
    pub fn validators(&self) -> impl Iterator<Item = &Neuron> {
        self.neurons.iter().filter(|neuron| neuron.permit && neuron.stake > Alpha::ZERO)
    }
}
