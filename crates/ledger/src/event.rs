//! What a block did: receipts for those who asked, events for everybody.

use crate::{Refusal, Topic, TransactionHash};
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{BlockNumber, PublicKey, Rao, Uid};

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Receipt {
    /// Which transaction.
    pub transaction: TransactionHash,
    /// The block that includes it.
    pub block: BlockNumber,
    /// Applied, or refused without effect.
    pub result: Result<(), Refusal>,
}

/// One fact that a block established.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Free balance moved.
    Transferred {
        /// Payer.
        from: PublicKey,
        /// Payee.
        to: PublicKey,
        /// How much.
        amount: Rao,
    },
    /// A hotkey got a slot; its price was burned.
    Registered {
        /// The slot.
        uid: Uid,
        /// The key that holds it now.
        hotkey: PublicKey,
        /// Its owner, who paid.
        coldkey: PublicKey,
        /// What was burned.
        burned: Rao,
        /// The key that lost the slot, if the subnet was full.
        replaced: Option<PublicKey>,
    },
    /// A validator set its weights.
    WeightsSet {
        /// The validator's slot.
        uid: Uid,
    },
    /// Stake was put behind a hotkey.
    StakeAdded {
        /// Behind whom.
        hotkey: PublicKey,
        /// Whose stake.
        coldkey: PublicKey,
        /// How much.
        amount: Rao,
    },
    /// Stake was taken back.
    StakeRemoved {
        /// From whom.
        hotkey: PublicKey,
        /// Whose stake.
        coldkey: PublicKey,
        /// How much.
        amount: Rao,
    },
    /// A commitment was written.
    Committed {
        /// By whom.
        hotkey: PublicKey,
        /// About what.
        topic: Topic,
        /// Which one.
        index: u64,
    },
    /// An epoch ended and paid out.
    EpochEnded {
        /// TAO issued, the sum of the three parts.
        issued: Rao,
        /// The owner's part.
        owner: Rao,
        /// The miners' part.
        miners: Rao,
        /// The validators' part.
        validators: Rao,
    },
    /// A slot's pay for an epoch, staked behind its hotkey.
    Emitted {
        /// The slot.
        uid: Uid,
        /// Its key.
        hotkey: PublicKey,
        /// Pay as a miner.
        incentive: Rao,
        /// Pay as a validator, shared among its stakers.
        dividends: Rao,
    },
}

/// An event and its block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct EventRecord {
    /// The block.
    pub block: BlockNumber,
    /// The fact.
    pub event: Event,
}
