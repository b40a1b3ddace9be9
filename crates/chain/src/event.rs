//! What a block did: receipts for those who asked, events for everybody.

use crate::access::AccessEvent;
use crate::governance::GovernanceEvent;
use crate::{Refusal, Topic};
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Alpha, BlockNumber, Netuid, PublicKey, Rao, TransactionHash, Uid};

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
    /// A hotkey got a slot; its price bought tokens, which were burned.
    Registered {
        /// The slot.
        uid: Uid,
        /// The key that holds it now.
        hotkey: PublicKey,
        /// Its owner, who paid.
        coldkey: PublicKey,
        /// What was paid.
        burned: Rao,
        /// The key that lost the slot, if the subnet was full.
        replaced: Option<PublicKey>,
    },
    /// A validator set its weights.
    WeightsSet {
        /// The validator's slot.
        uid: Uid,
    },
    /// A validator committed to weights that it will reveal.
    WeightsCommitted {
        /// The validator's slot.
        uid: Uid,
    },
    /// TAO became stake behind a hotkey.
    StakeAdded {
        /// Behind whom.
        hotkey: PublicKey,
        /// Whose stake.
        coldkey: PublicKey,
        /// What was paid, the fee included.
        paid: Rao,
        /// What it bought.
        alpha: Alpha,
    },
    /// Stake became TAO again.
    StakeRemoved {
        /// From whom.
        hotkey: PublicKey,
        /// Whose stake.
        coldkey: PublicKey,
        /// What was sold, the fee included.
        alpha: Alpha,
        /// What it brought.
        received: Rao,
    },
    /// TAO was staked on the root.
    RootStakeAdded {
        /// Behind whom.
        hotkey: PublicKey,
        /// Whose stake.
        coldkey: PublicKey,
        /// How much.
        amount: Rao,
    },
    /// TAO was taken back from the root.
    RootStakeRemoved {
        /// From whom.
        hotkey: PublicKey,
        /// Whose stake.
        coldkey: PublicKey,
        /// How much.
        amount: Rao,
    },
    /// Stake went from one hotkey to another.
    StakeMoved {
        /// In which subnet; TAO on the root (0), the subnet's token elsewhere.
        netuid: Netuid,
        /// From whom.
        from: PublicKey,
        /// To whom.
        to: PublicKey,
        /// Whose stake.
        coldkey: PublicKey,
        /// How much.
        amount: Alpha,
    },
    /// A validator set what it keeps of its stakers' dividends.
    TakeSet {
        /// The validator.
        hotkey: PublicKey,
        /// In 1/65535.
        take: u16,
    },
    /// The pool sold tokens: to a staker, to a registration, or to the block's own emission.
    Bought {
        /// What was paid, the fee included.
        tao: Rao,
        /// What came out.
        alpha: Alpha,
        /// The part of the payment that was the fee.
        fee: Rao,
        /// What a token cost before.
        price_before: Rao,
        /// What a token costs now.
        price_after: Rao,
    },
    /// The pool bought tokens: from a staker, or for root stakers' dividends.
    Sold {
        /// What was paid, the fee included.
        alpha: Alpha,
        /// What came out.
        tao: Rao,
        /// The part of the payment that was the fee.
        fee: Alpha,
        /// What a token cost before.
        price_before: Rao,
        /// What a token costs now.
        price_after: Rao,
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
        /// Tokens paid out, the sum of the three parts.
        issued: Alpha,
        /// The owner's part.
        owner: Alpha,
        /// The miners' part.
        miners: Alpha,
        /// The validators' part.
        validators: Alpha,
    },
    /// A slot's pay for an epoch, staked behind its hotkey.
    Emitted {
        /// The slot.
        uid: Uid,
        /// Its key.
        hotkey: PublicKey,
        /// Pay as a miner.
        incentive: Alpha,
        /// Pay as a validator, shared among its stakers.
        dividends: Alpha,
    },
    /// Something of governance.
    Governance(GovernanceEvent),
    /// Something of access.
    Access(AccessEvent),
}

/// An event and its block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct EventRecord {
    /// The block.
    pub block: BlockNumber,
    /// The fact.
    pub event: Event,
}
