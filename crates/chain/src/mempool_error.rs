//! Why a transaction was not queued.

use crate::TransactionDecodeError;
use serde::{Deserialize, Serialize};
use templar_base::{BlockHash, BlockNumber, PublicKey, Rao};

/// Why a transaction was not queued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum MempoolError {
    /// The bytes are no transaction.
    #[error("{0}")]
    Malformed(#[from] TransactionDecodeError),
    /// The signature is not the signer's.
    #[error("the signature is not the signer's; sign again with the right key")]
    BadProof,
    /// Made for another chain.
    #[error("signed for another chain, this one is {here}; connect to the right ledger")]
    BadGenesis {
        /// This chain.
        here: BlockHash,
    },
    /// Its last block has passed, or is too far ahead.
    #[error("valid until block {valid_until}, which must lie between {next} and {latest}; sign again")]
    BadLifetime {
        /// The transaction's last block.
        valid_until: BlockNumber,
        /// The next block.
        next: BlockNumber,
        /// The latest block that may be named.
        latest: BlockNumber,
    },
    /// The nonce belongs to another transaction, applied or waiting.
    #[error("nonce {nonce} is taken, the next free one is {next}; sign again with that")]
    NonceTaken {
        /// Nonce of the transaction.
        nonce: u64,
        /// The next free one.
        next: u64,
    },
    /// The nonce is not the next.
    #[error("nonce {nonce} comes after a gap, the next free one is {next}; sign again with that")]
    NonceGap {
        /// Nonce of the transaction.
        nonce: u64,
        /// The next free one.
        next: u64,
    },
    /// Too many of the account's transactions wait.
    #[error("the account has {limit} transactions waiting; wait for the next block")]
    AccountBusy {
        /// How many may wait.
        limit: u64,
    },
    /// The balance does not cover the fee, together with the fees of what waits already.
    #[error("FeeNotCovered: the fees come to {needed} TAO, {available} TAO are free; fund the account, or send less")]
    FeeNotCovered {
        /// Fees of this transaction and of the account's that wait.
        needed: Rao,
        /// What is there.
        available: Rao,
    },
    /// A registered hotkey has used up what it may send without a fee, and cannot pay one.
    #[error(
        "FreeBytesUsed: a hotkey sends {limit} bytes of commitments and weights a tempo without a fee, and these are \
         used; wait for block {next_block}, or fund the hotkey with {fee} TAO for the fee"
    )]
    FreeBytesUsed {
        /// Bytes a tempo.
        limit: u32,
        /// First block of the next tempo.
        next_block: BlockNumber,
        /// What the transaction costs until then.
        fee: Rao,
    },
    /// The ledger is swamped.
    #[error("the ledger's queue is full; wait for the next block")]
    Full,
    /// The signer is nobody: no balance, no hotkey.
    #[error("{0} has no balance and was never registered; fund or register it first")]
    UnknownAccount(PublicKey),
}

impl MempoolError {
    /// The error's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "Malformed",
            Self::BadProof => "BadProof",
            Self::BadGenesis { .. } => "BadGenesis",
            Self::BadLifetime { .. } => "BadLifetime",
            Self::NonceTaken { .. } => "NonceTaken",
            Self::NonceGap { .. } => "NonceGap",
            Self::AccountBusy { .. } => "AccountBusy",
            Self::FeeNotCovered { .. } => "FeeNotCovered",
            Self::FreeBytesUsed { .. } => "FreeBytesUsed",
            Self::Full => "Full",
            Self::UnknownAccount(_) => "UnknownAccount",
        }
    }

    /// Whether the transaction may be taken later, or with another nonce.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Full
                | Self::AccountBusy { .. }
                | Self::NonceTaken { .. }
                | Self::NonceGap { .. }
                | Self::FreeBytesUsed { .. }
                | Self::BadLifetime { .. }
        )
    }
}
