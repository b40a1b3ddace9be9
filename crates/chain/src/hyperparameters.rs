//! The subnet's rules, and the run settings that its token's holders adopted.

use serde::{Deserialize, Serialize};
use templar_base::{Alpha, BlockHash, BlockNumber, Netuid, Rao, SettingChange};

/// The subnet's rules that nodes must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hyperparameters {
    /// Which subnet.
    pub netuid: Netuid,
    /// The chain's name.
    pub genesis: BlockHash,
    /// Time between blocks, in milliseconds.
    pub block_time_ms: u64,
    /// Blocks from epoch to epoch.
    pub tempo: u32,
    /// Slots.
    pub max_uids: u16,
    /// Validators that hold a permit at most.
    pub max_validators: u16,
    /// Blocks during which a new slot is protected.
    pub immunity_blocks: u64,
    /// Blocks between two weight settings of one validator.
    pub weights_rate_limit_blocks: u64,
    /// Version key that weights must carry at least.
    pub weights_version: u64,
    /// Stake from which on a hotkey may set weights.
    pub weights_stake_threshold: Alpha,
    /// Whether weights are committed an epoch before they are revealed.
    pub commit_reveal: bool,
    /// Least stake.
    pub minimum_stake: Rao,
    /// Bytes of commitments a tempo, each with 32 bytes of overhead.
    pub commitment_bytes_per_tempo: u32,
    /// Blocks after which a write-once commitment is dropped.
    pub commitment_retention_blocks: u64,
    /// Blocks for which history is kept.
    pub history_blocks: u64,
}

/// The run settings that were adopted up to a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingChanges {
    /// Everything that was decided up to this block is among them.
    pub at: BlockNumber,
    /// In the order of their adoption.
    pub changes: Vec<SettingChange>,
}
