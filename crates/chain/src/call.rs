//! What a key can ask of the ledger, the body of a transaction.

use crate::access::AccessCall;
use crate::governance::GovernanceCall;
use crate::trade::PriceLimit;
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Alpha, Netuid, PublicKey, Rao, Uid};

/// The most bytes that one commitment holds; the chain's limit.
pub const MAX_COMMITMENT_BYTES: usize = 512;
/// What a commitment is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Where the node's bucket is. One per hotkey (index 0), replaceable, kept while the hotkey is registered.
    Bucket,
    /// The digest of a sealed payload; index is the window. Write-once.
    Sealed,
    /// A validator's vote; index is the window. Write-once.
    Vote,
    /// What a validator applied; index is the window. Write-once.
    Applied,
    /// The hash of a validator's vote, before anybody may open one; index is the window. Write-once.
    VoteSeal,
    /// Which payloads of a window's pool a validator holds; index is the window. Write-once.
    Held,
}

/// One request to the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Moves free balance from the signer to another account.
    Transfer {
        /// Who receives.
        to: PublicKey,
        /// How much.
        amount: Rao,
    },
    /// Buys a slot for a hotkey; signed by the coldkey, which pays and from then on owns the hotkey.
    Register {
        /// The subnet.
        netuid: Netuid,
        /// The key that gets the slot.
        hotkey: PublicKey,
        /// Refuse when the price is higher than this.
        max_price: Option<Rao>,
    },
    /// Sets the signer's weights over other slots; signed by the hotkey.
    SetWeights {
        /// The subnet.
        netuid: Netuid,
        /// Slots, no two equal.
        uids: Vec<Uid>,
        /// One weight for each slot; only their proportions count.
        values: Vec<u16>,
        /// Version of the weights' meaning; at least the subnet's.
        version_key: u64,
    },
    /// Buys stake behind a hotkey with free balance of the signer, at whatever the pool gives. On the root (subnet 0)
    /// the TAO itself is staked.
    AddStake {
        /// Behind whom.
        hotkey: PublicKey,
        /// The subnet.
        netuid: Netuid,
        /// How much.
        amount: Rao,
    },
    /// Sells stake of the signer behind a hotkey, at whatever the pool gives. On the root (subnet 0) the TAO comes back
    /// as it is.
    RemoveStake {
        /// From whom.
        hotkey: PublicKey,
        /// The subnet.
        netuid: Netuid,
        /// How much of the stake.
        amount: Alpha,
    },
    /// Buys stake, up to a price.
    AddStakeLimit {
        /// Behind whom.
        hotkey: PublicKey,
        /// The subnet.
        netuid: Netuid,
        /// How much to pay at most.
        amount: Rao,
        /// Up to what price.
        limit: PriceLimit,
    },
    /// Sells stake, down to a price.
    RemoveStakeLimit {
        /// From whom.
        hotkey: PublicKey,
        /// The subnet.
        netuid: Netuid,
        /// How much of the stake at most.
        amount: Alpha,
        /// Down to what price.
        limit: PriceLimit,
    },
    /// Moves stake of the signer from one hotkey to another.
    MoveStake {
        /// From whom.
        from: PublicKey,
        /// To whom.
        to: PublicKey,
        /// The subnet.
        netuid: Netuid,
        /// How much.
        amount: Alpha,
    },
    /// Sets what a validator keeps of its stakers' dividends; signed by its coldkey.
    SetTake {
        /// The validator.
        hotkey: PublicKey,
        /// In 1/65535.
        take: u16,
    },
    /// Commits the signer to weights, by their hash; see [`weights_hash`](crate::weights_hash).
    CommitWeights {
        /// The subnet.
        netuid: Netuid,
        /// The hash.
        hash: [u8; 32],
    },
    /// Reveals weights that were committed an epoch before; signed by the hotkey.
    RevealWeights {
        /// The subnet.
        netuid: Netuid,
        /// Slots, no two equal.
        uids: Vec<Uid>,
        /// One weight for each slot; only their proportions count.
        values: Vec<u16>,
        /// What made the hash impossible to guess.
        salt: Vec<u16>,
        /// Version of the weights' meaning; at least the subnet's.
        version_key: u64,
    },
    /// Writes a few bytes on the ledger; signed by a registered hotkey.
    Commit {
        /// The subnet.
        netuid: Netuid,
        /// What about.
        topic: Topic,
        /// Which one; the window for everything but a bucket, which has 0.
        index: u64,
        /// At most [`MAX_COMMITMENT_BYTES`].
        data: Vec<u8>,
    },
    /// Proposals and votes; signed by a coldkey.
    Governance {
        /// The subnet.
        netuid: Netuid,
        /// What is asked.
        call: GovernanceCall,
    },
    /// Prepaid accounts for the use of the trained model.
    Access {
        /// The subnet.
        netuid: Netuid,
        /// What is asked.
        call: AccessCall,
    },
}

impl Call {
    /// Whether a registered hotkey makes this call without a fee, in the lane of each block that is kept for such calls:
    /// commitments and weights.
    pub fn is_for_lane(&self) -> bool {
        match self {
            Self::Commit { .. } | Self::SetWeights { .. } | Self::CommitWeights { .. } | Self::RevealWeights { .. } => {
                true
            }
            Self::Transfer { .. }
            | Self::Register { .. }
            | Self::AddStake { .. }
            | Self::RemoveStake { .. }
            | Self::AddStakeLimit { .. }
            | Self::RemoveStakeLimit { .. }
            | Self::MoveStake { .. }
            | Self::SetTake { .. }
            | Self::Governance { .. }
            | Self::Access { .. } => false,
        }
    }

    /// Signatures within the call, which the ledger checks besides the transaction's own.
    pub fn signatures(&self) -> u32 {
        match self {
            Self::Access { call: AccessCall::Settle { records }, .. } => {
                u32::try_from(records.len()).unwrap_or(u32::MAX)
            }
            _ => 0,
        }
    }
}
