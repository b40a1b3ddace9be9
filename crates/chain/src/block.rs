//! Blocks: the header that names one, and the whole that a replica replays.

use crate::{Load, Refusal, Transaction, TransactionHead};
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Beacon, BlockHash, BlockNumber, StateRoot, TransactionHash};

/// What a block's hash covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Header {
    /// The block's number; 0 is the genesis.
    pub number: BlockNumber,
    /// Hash of the block before; the profile's hash at the genesis.
    pub parent: BlockHash,
    /// When the authority made it, in milliseconds since 1970; never less than the parent's.
    pub time_ms: u64,
    /// The authority's contribution to the block's randomness: a keyed hash of the parent under a secret of the
    /// ledger, revealed here. Nobody else could know it, and hence the block's hash, before the block.
    pub seed: Beacon,
    /// BLAKE3 over the hashes of the transactions, each with what became of it.
    pub transactions_root: StateRoot,
    /// Digest of the state after the block.
    pub state_root: StateRoot,
}

impl Header {
    /// The block's hash.
    pub fn hash(&self) -> BlockHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"templar ledger header 1").update(&self.encode());
        BlockHash::new(*hasher.finalize().as_bytes())
    }

    /// The block's beacon, its hash. A single authority makes the blocks: it could try several orders of
    /// transactions or moments until a hash suits it. Whoever must not trust it needs another chain.
    pub fn beacon(&self) -> Beacon {
        self.hash().into()
    }
}

/// A block as nodes see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockHeader {
    /// The block's number.
    pub number: BlockNumber,
    /// Its hash.
    pub hash: BlockHash,
    /// Hash of the block before.
    pub parent: BlockHash,
    /// When it was made, in milliseconds since 1970, by the block authority's clock.
    pub time_ms: u64,
    /// Digest of the state after it.
    pub state_root: StateRoot,
    /// Public randomness that nobody but the authority could know before it.
    pub beacon: Beacon,
}

impl From<&Header> for BlockHeader {
    fn from(header: &Header) -> Self {
        let hash = header.hash();
        Self {
            number: header.number,
            hash,
            parent: header.parent,
            time_ms: header.time_ms,
            state_root: header.state_root,
            beacon: hash.into(),
        }
    }
}

/// A header with its transactions: what a follower needs to replay the block.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// The transactions, in their order.
    pub transactions: Vec<Included>,
}

/// A transaction in a block.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Included {
    /// One whose call took effect.
    Applied(Transaction),
    /// One whose call was refused: it paid its fee and used up its nonce, and its call is not kept. A follower checks
    /// signature and fee; that the call was refused it takes from the authority.
    Refused {
        /// All but the call.
        head: TransactionHead,
        /// Why.
        refusal: Refusal,
    },
}

impl Included {
    /// The transaction's name.
    pub fn hash(&self) -> TransactionHash {
        match self {
            Self::Applied(transaction) => transaction.hash(),
            Self::Refused { head, .. } => head.hash(),
        }
    }

    /// What the transaction put on the block.
    pub fn load(&self) -> Load {
        match self {
            Self::Applied(transaction) => transaction.head().load(),
            Self::Refused { head, .. } => head.load(),
        }
    }
}

/// Digest of a block's transactions.
pub fn transactions_root(transactions: &[Included]) -> StateRoot {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"templar ledger transactions 2");
    for transaction in transactions {
        hasher.update(transaction.hash().as_bytes());
        match transaction {
            Included::Applied(_) => hasher.update(&[0]),
            Included::Refused { refusal, .. } => hasher.update(&[1]).update(&refusal.encode()),
        };
    }
    StateRoot::new(*hasher.finalize().as_bytes())
}
