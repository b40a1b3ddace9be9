//! Why the ledger refuses a call: the chain's own error names, with what to do next.

use crate::access::AccessRefusal;
use crate::governance::GovernanceRefusal;
use crate::trade::PoolError;
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Alpha, BlockHash, BlockNumber, Netuid, PublicKey, Rao, Uid};

/// A call that was refused. Nothing of it took effect; its signer has paid the transaction's fee and used up its nonce.
///
/// A transaction whose envelope is wrong, or whose fee is not covered, is in no block and changes nothing at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, Encode, Decode)]
pub enum Refusal {
    /// The signature does not belong to the signer and the call.
    #[error("BadProof: the signature is not the signer's; sign again with the right key")]
    BadProof,
    /// The transaction was made for another chain.
    #[error("BadGenesis: signed for chain {signed}, this is chain {here}; connect to the right ledger")]
    BadGenesis {
        /// The chain in the transaction.
        signed: BlockHash,
        /// This chain.
        here: BlockHash,
    },
    /// The nonce is not the account's next.
    #[error("BadNonce: nonce {given}, the account's next is {expected}; fetch the account and sign again")]
    BadNonce {
        /// Nonce of the transaction.
        given: u64,
        /// The account's next nonce.
        expected: u64,
    },
    /// The transaction's last block has passed.
    #[error("AncientBirthBlock: valid until block {valid_until}, this is block {now}; sign again")]
    Expired {
        /// Last block that might include it.
        valid_until: BlockNumber,
        /// The block at hand.
        now: BlockNumber,
    },
    /// The transaction would be valid for too long.
    #[error("MortalityTooLong: valid until block {valid_until}, at most {latest}; name an earlier block")]
    MortalityTooLong {
        /// Last block named.
        valid_until: BlockNumber,
        /// The latest that may be named now.
        latest: BlockNumber,
    },
    /// The balance does not cover the fee.
    #[error("FeeNotCovered: the fee is {needed} TAO, {available} TAO free; fund the account")]
    FeeNotCovered {
        /// The fee.
        needed: Rao,
        /// What is there.
        available: Rao,
    },
    /// A transfer would leave an account with less than an account must hold.
    #[error(
        "ExistentialDeposit: {account} would hold {left} TAO, an account holds nothing or {minimum} TAO and more; \
         transfer more, or everything that the fee leaves"
    )]
    ExistentialDeposit {
        /// The account: the sender or the receiver.
        account: PublicKey,
        /// What it would hold.
        left: Rao,
        /// The least.
        minimum: Rao,
    },
    /// No such subnet.
    #[error("SubnetNotExists: there is no subnet {given} here; use {here}")]
    SubnetNotExists {
        /// Subnet of the call.
        given: Netuid,
        /// The ledger's subnet.
        here: Netuid,
    },
    /// The free balance does not cover a transfer.
    #[error("InsufficientBalance: {needed} TAO wanted, {available} TAO free; transfer less or fund the account")]
    InsufficientBalance {
        /// What the call needs.
        needed: Rao,
        /// What is there.
        available: Rao,
    },
    /// There is less of the subnet's token than is wanted.
    #[error("InsufficientAlpha: {needed} alpha wanted, {available} there; use less or buy some")]
    InsufficientAlpha {
        /// What the call needs.
        needed: Alpha,
        /// What is there.
        available: Alpha,
    },
    /// The free balance does not cover a stake or a registration.
    #[error("NotEnoughBalanceToStake: {needed} TAO wanted, {available} TAO free; fund the coldkey")]
    NotEnoughBalanceToStake {
        /// What the call needs.
        needed: Rao,
        /// What is there.
        available: Rao,
    },
    /// The stake is less than what is to be taken.
    #[error("NotEnoughStakeToWithdraw: {needed} wanted, {available} staked; remove less")]
    NotEnoughStakeToWithdraw {
        /// What the call needs.
        needed: Alpha,
        /// What is there.
        available: Alpha,
    },
    /// The pool cannot do the trade.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Stake was to go where it is.
    #[error("SameHotkey: the stake is behind {hotkey} already; name another")]
    SameHotkey {
        /// The key.
        hotkey: PublicKey,
    },
    /// A validator would keep too much.
    #[error("DelegateTakeTooHigh: {given} of 65535, at most {most}; keep less")]
    DelegateTakeTooHigh {
        /// What was asked for, in 1/65535.
        given: u16,
        /// The most.
        most: u16,
    },
    /// A validator raised its part a while ago.
    #[error("DelegateTxRateLimitExceeded: the part may rise again at block {next_block}; wait, or lower it")]
    DelegateTxRateLimitExceeded {
        /// First block at which it may.
        next_block: BlockNumber,
    },
    /// Weights must be committed first.
    #[error("CommitRevealEnabled: weights are committed and revealed here; use commit_weights and reveal_weights")]
    CommitRevealEnabled,
    /// Weights are set at once.
    #[error("CommitRevealDisabled: weights are set at once here; use set_weights")]
    CommitRevealDisabled,
    /// Too many commits wait for their reveal.
    #[error("TooManyUnrevealedCommits: {open} commits wait for their reveal; reveal them first")]
    TooManyUnrevealedCommits {
        /// How many.
        open: u32,
    },
    /// Nothing was committed.
    #[error("NoWeightsCommitFound: there is no commit to reveal; commit first")]
    NoWeightsCommitFound,
    /// The revealed weights are not those that were committed.
    #[error("InvalidRevealCommitHashNotMatch: no commit has the hash of these weights; reveal what was committed")]
    InvalidRevealCommitHashNotMatch,
    /// The epoch of the reveal has passed.
    #[error("ExpiredWeightCommit: the commit's epoch has passed; commit again")]
    ExpiredWeightCommit,
    /// The epoch of the reveal has not come.
    #[error("RevealTooEarly: the commit may be revealed from block {next_block} on; wait")]
    RevealTooEarly {
        /// First block at which it may.
        next_block: BlockNumber,
    },
    /// The amount, or what it would leave, is under the minimum.
    #[error("AmountTooLow: {amount} TAO is under the minimum of {minimum} TAO; use more, or remove everything")]
    AmountTooLow {
        /// The amount in question.
        amount: Rao,
        /// The least amount.
        minimum: Rao,
    },
    /// Nobody knows this hotkey.
    #[error("HotKeyAccountNotExists: {hotkey} was never registered; register it first")]
    HotKeyAccountNotExists {
        /// The key.
        hotkey: PublicKey,
    },
    /// The hotkey belongs to somebody else.
    #[error("NonAssociatedColdKey: hotkey {hotkey} belongs to coldkey {owner}; sign with that one")]
    NonAssociatedColdKey {
        /// The key.
        hotkey: PublicKey,
        /// Its owner.
        owner: PublicKey,
    },
    /// The hotkey has a slot already.
    #[error("HotKeyAlreadyRegisteredInSubNet: {hotkey} already holds slot {uid}; nothing is left to do")]
    HotKeyAlreadyRegisteredInSubNet {
        /// The key.
        hotkey: PublicKey,
        /// Its slot.
        uid: Uid,
    },
    /// The price of a slot is over the caller's limit.
    #[error("RegistrationPriceLimitExceeded: the price is {price} TAO, the limit was {limit} TAO; raise it or wait")]
    RegistrationPriceLimitExceeded {
        /// The price now.
        price: Rao,
        /// What the caller would pay.
        limit: Rao,
    },
    /// All slots are held by keys that cannot be pruned.
    #[error("NoNeuronIdAvailable: every slot is held by the owner; wait for a larger subnet")]
    NoNeuronIdAvailable,
    /// The signer has no slot.
    #[error("HotKeyNotRegisteredInSubNet: {hotkey} holds no slot; register it first")]
    HotKeyNotRegisteredInSubNet {
        /// The key.
        hotkey: PublicKey,
    },
    /// The signer has no validator permit.
    #[error(
        "NeuronNoValidatorPermit: slot {uid} holds no permit; stake to be among the top, it counts from the next epoch"
    )]
    NeuronNoValidatorPermit {
        /// The signer's slot.
        uid: Uid,
    },
    /// The signer's stake is under the threshold.
    #[error("NotEnoughStakeToSetWeights: the stake counts for {stake}, {threshold} wanted; add stake")]
    NotEnoughStakeToSetWeights {
        /// What the hotkey's stake counts for.
        stake: Alpha,
        /// The threshold.
        threshold: Alpha,
    },
    /// Weights were set a moment ago.
    #[error("SettingWeightsTooFast: weights may be set again at block {next_block}; wait")]
    SettingWeightsTooFast {
        /// First block at which they may.
        next_block: BlockNumber,
    },
    /// The weights are for an older subnet.
    #[error("IncorrectWeightVersionKey: version {given}, the subnet wants {wanted}; update the node")]
    IncorrectWeightVersionKey {
        /// Version of the call.
        given: u64,
        /// Version wanted.
        wanted: u64,
    },
    /// Slots and values are not equally many.
    #[error("WeightVecNotEqualSize: {uids} slots and {values} values; the caller is at fault")]
    WeightVecNotEqualSize {
        /// Number of slots.
        uids: u32,
        /// Number of values.
        values: u32,
    },
    /// There are no weights, or all are zero.
    #[error("WeightVecLengthIsLow: no weight is above zero; set at least one")]
    WeightVecLengthIsLow,
    /// A slot occurs twice.
    #[error("DuplicateUids: slot {uid} occurs twice; the caller is at fault")]
    DuplicateUids {
        /// The slot.
        uid: Uid,
    },
    /// A slot does not exist.
    #[error("UidVecContainInvalidOne: there is no slot {uid}; fetch the metagraph again")]
    UidVecContainInvalidOne {
        /// The slot.
        uid: Uid,
    },
    /// Somebody who may not commit tried to.
    #[error("AccountNotAllowedCommit: {hotkey} holds no slot; register it first")]
    AccountNotAllowedCommit {
        /// The key.
        hotkey: PublicKey,
    },
    /// The hotkey's bytes for this tempo are used up.
    #[error(
        "SpaceLimitExceeded: {used} of {limit} bytes used this tempo, {wanted} more wanted; wait for block {next_block}"
    )]
    SpaceLimitExceeded {
        /// Bytes used in this tempo.
        used: u32,
        /// Bytes a tempo.
        limit: u32,
        /// Bytes of this commitment, overhead included.
        wanted: u32,
        /// First block of the next tempo.
        next_block: BlockNumber,
    },
    /// A commitment over 512 bytes.
    #[error("CommitmentTooLong: {actual} bytes, at most {limit}; commit a digest")]
    CommitmentTooLong {
        /// Bytes given.
        actual: u32,
        /// Bytes allowed.
        limit: u32,
    },
    /// A write-once commitment exists.
    #[error("CommitmentExists: this was committed at block {at}; the first counts")]
    CommitmentExists {
        /// When.
        at: BlockNumber,
    },
    /// A topic for validators.
    #[error(
        "TopicNeedsPermit: votes and reports are for holders of a validator permit, slot {uid} has none; stake to be \
         among the top, it counts from the next epoch"
    )]
    TopicNeedsPermit {
        /// The signer's slot.
        uid: Uid,
    },
    /// A window that cannot have begun.
    #[error("IndexAhead: index {index} at block {now}, and a window has one block at least; commit in the window")]
    IndexAhead {
        /// The index.
        index: u64,
        /// The block at hand.
        now: BlockNumber,
    },
    /// Too many of a hotkey's commitments are kept.
    #[error("TooManyCommitments: {limit} of this topic are kept for the key; wait until the oldest is dropped")]
    TooManyCommitments {
        /// How many are kept at most.
        limit: u32,
    },
    /// Governance refuses.
    #[error(transparent)]
    Governance(#[from] GovernanceRefusal),
    /// Access refuses.
    #[error(transparent)]
    Access(#[from] AccessRefusal),
    /// A bucket commitment with an index.
    #[error("BucketIndexNotZero: a hotkey has one bucket, with index 0; the caller is at fault")]
    BucketIndexNotZero,
}

impl Refusal {
    /// The error's name, the chain's own where the chain has one.
    pub fn name(&self) -> String {
        let text = self.to_string();
        text.split(':').next().unwrap_or_default().to_owned()
    }

    /// Whether the same call may succeed later without anybody's doing: it came too early, or was signed for a
    /// moment that has passed.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::BadNonce { .. }
                | Self::Expired { .. }
                | Self::SettingWeightsTooFast { .. }
                | Self::RevealTooEarly { .. }
                | Self::DelegateTxRateLimitExceeded { .. }
                | Self::SpaceLimitExceeded { .. }
                | Self::RegistrationPriceLimitExceeded { .. }
                | Self::NeuronNoValidatorPermit { .. }
                | Self::TopicNeedsPermit { .. }
                | Self::TooManyCommitments { .. }
                | Self::Governance(
                    GovernanceRefusal::TooManyProposals { .. }
                        | GovernanceRefusal::OneProposalAtATime { .. }
                        | GovernanceRefusal::StakeLocked { .. }
                )
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_chains() {
        let refusal = Refusal::SettingWeightsTooFast { next_block: BlockNumber(8) };
        assert_eq!(refusal.name(), "SettingWeightsTooFast");
        assert!(refusal.is_transient());
        assert_eq!(Refusal::BadProof.name(), "BadProof");
        let needed = Refusal::NotEnoughBalanceToStake { needed: Rao::from_rao(2), available: Rao::from_rao(1) };
        assert_eq!(needed.name(), "NotEnoughBalanceToStake");
    }
}
