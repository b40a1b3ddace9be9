//! Why a chain did not answer.

use crate::{MempoolError, Refusal};
use serde::{Deserialize, Serialize};
use templar_base::{AtFault, BlockNumber, Fault, Netuid, TransactionHash, Uid};

/// Why a chain did not answer, and whose move it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ChainError {
    /// The chain included the transaction's block and refused the call.
    #[error("the ledger refused: {refusal}")]
    Refused {
        /// Why, under the chain's own name.
        refusal: Refusal,
    },
    /// The transaction was not even queued.
    #[error("the ledger did not take the transaction: {reason}")]
    NotQueued {
        /// Why.
        reason: MempoolError,
    },
    /// The address is not one that a ledger can have.
    #[error("`{address}` is not a ledger's address: {reason}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong, and what to write.
        reason: String,
    },
    /// The ledger cannot be reached.
    #[error("the ledger at {address} cannot be reached: {reason}; check that it runs (`templar status`), then retry")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What went wrong.
        reason: String,
    },
    /// The ledger is reachable and made no answer, or no block, in time.
    #[error("no answer from the ledger within {milliseconds} ms for {what}; retry")]
    Deadline {
        /// How long it was given.
        milliseconds: u64,
        /// What was asked.
        what: String,
    },
    /// The transaction's lifetime passed without its inclusion: it can no longer take effect.
    #[error("transaction {transaction} was not included by block {valid_until} and never will be; submit again")]
    Expired {
        /// Which.
        transaction: TransactionHash,
        /// The last block that might have.
        valid_until: BlockNumber,
    },
    /// The transaction may or may not have been included: the ledger was lost while waiting.
    #[error(
        "lost the ledger while transaction {transaction} was under way; it may count until block {valid_until}: look \
         at the account's nonce before submitting again"
    )]
    Undecided {
        /// Which.
        transaction: TransactionHash,
        /// The last block that may include it.
        valid_until: BlockNumber,
    },
    /// The block has not been made yet.
    #[error("block {block} does not exist yet; the head is {head}")]
    NoSuchBlock {
        /// Asked for.
        block: BlockNumber,
        /// The newest.
        head: BlockNumber,
    },
    /// The block is older than the history that is kept.
    #[error("block {block} is no longer kept; the oldest is {oldest}")]
    Pruned {
        /// Asked for.
        block: BlockNumber,
        /// The oldest kept.
        oldest: BlockNumber,
    },
    /// A record file is asked, and it does not hold that.
    #[error("the record file does not hold {what}; ask the run's ledger")]
    NotRecorded {
        /// What was asked.
        what: String,
    },
    /// No such part of a snapshot.
    #[error("that part of the snapshot of block {block} is not offered; take the newest snapshot")]
    NoSnapshot {
        /// Asked for.
        block: BlockNumber,
    },
    /// More was asked for than one answer holds.
    #[error("{asked} blocks asked for, at most {limit} at once; ask in pieces")]
    RangeTooLarge {
        /// Blocks asked for.
        asked: u64,
        /// Blocks allowed.
        limit: u64,
    },
    /// More keys were named than one answer proves.
    #[error("{asked} hotkeys asked for, at most {limit} at once; ask in pieces")]
    TooManyKeys {
        /// Keys asked for.
        asked: u64,
        /// Keys allowed.
        limit: u64,
    },
    /// This client asks too much.
    #[error("the ledger answers {per_second} requests a second of one client; ask more slowly")]
    TooManyRequests {
        /// How many.
        per_second: u32,
    },
    /// No epoch had ended by then, or it is no longer kept.
    #[error("no epoch that ended by block {at} is kept; name a later block, or wait for an epoch's end")]
    NoSuchEpoch {
        /// Asked for.
        at: BlockNumber,
    },
    /// No such slot in that epoch.
    #[error("the epoch had no slot {uid}, only {slots} of them; look at the metagraph")]
    NoSuchSlot {
        /// Asked for.
        uid: Uid,
        /// How many there were.
        slots: u32,
    },
    /// No such subnet.
    #[error("there is no subnet {given} here; use {here}")]
    NoSuchSubnet {
        /// Asked for.
        given: Netuid,
        /// The ledger's.
        here: Netuid,
    },
    /// The server speaks another language than this client.
    #[error("the ledger's answer to {method} is not understood: {reason}; run the same version on both sides")]
    Protocol {
        /// What was called.
        method: String,
        /// What is wrong.
        reason: String,
    },
    /// The server gave what the chain's authority did not sign, or what contradicts what it signed.
    #[error(
        "the ledger at {address} is not to be believed: its answer to {method} is not what the chain's authority \
         signed ({reason}); it serves another chain, or somebody on the way changes its answers: name another address \
         with --ledger, across networks one that begins with wss://"
    )]
    Forged {
        /// Who answered.
        address: String,
        /// What was called.
        method: String,
        /// What is wrong.
        reason: String,
    },
    /// The server went back behind what it has shown.
    #[error("the ledger at {address} answered by block {given} after it had shown block {shown}; retry")]
    Behind {
        /// Who answered.
        address: String,
        /// The block that the answer is of.
        given: BlockNumber,
        /// The newest that it had shown.
        shown: BlockNumber,
    },
    /// This machine has no random source.
    #[error("this machine's random source failed: {0}; nothing was signed")]
    Random(String),
    /// The ledger's own disk or data failed.
    #[error("the ledger's store failed: {0}; the operator of the ledger must look at its disk")]
    Store(String),
}

impl ChainError {
    /// The chain's own name of the error, if the chain refused the call.
    pub fn chain_name(&self) -> Option<String> {
        match self {
            Self::Refused { refusal } => Some(refusal.name()),
            _ => None,
        }
    }
}

impl AtFault for ChainError {
    fn fault(&self) -> Fault {
        match self {
            Self::Unreachable { .. }
            | Self::Deadline { .. }
            | Self::Expired { .. }
            | Self::TooManyRequests { .. }
            | Self::Behind { .. }
            | Self::NoSuchBlock { .. } => Fault::Passing,
            Self::Refused { refusal } if refusal.is_transient() => Fault::Passing,
            Self::NotQueued { reason } if reason.is_transient() => Fault::Passing,
            Self::Protocol { .. } | Self::Forged { .. } => Fault::Peer,
            Self::RangeTooLarge { .. } | Self::TooManyKeys { .. } | Self::NoSnapshot { .. } => Fault::Ours,
            // What was refused, has passed, or cannot be known from here: somebody has to look.
            Self::Refused { .. }
            | Self::Address { .. }
            | Self::NotQueued { .. }
            | Self::Undecided { .. }
            | Self::Pruned { .. }
            | Self::NotRecorded { .. }
            | Self::NoSuchEpoch { .. }
            | Self::NoSuchSlot { .. }
            | Self::NoSuchSubnet { .. }
            | Self::Random(_)
            | Self::Store(_) => Fault::Operator,
        }
    }
}
