//! Blocks: the header that names one, and the whole that a replica replays.

use crate::{BlsSignature, CertificateError, ChainKey, Load, Refusal, Transaction, TransactionHead};
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{Beacon, BlockHash, BlockNumber, StateRoot, TransactionHash};

/// Seeds of a header at most: the number of views that may be skipped between two blocks.
pub const MAX_SEEDS: u64 = 1_024;

/// What a block's hash covers.
///
/// Views are turns to make a block; with one authority a block's view is its number. Each view has one seed, the
/// authority's signature over the view's number: nobody can choose it, and a header carries the seeds of all views since
/// its parent's, so that nobody can skip one to get another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Header {
    /// The block's number; 0 is the genesis.
    pub number: BlockNumber,
    /// Hash of the block before; the chain's name at the genesis.
    pub parent: BlockHash,
    /// The turn in which it was made; 0 at the genesis.
    pub view: u64,
    /// When the authority made it, in milliseconds since 1970; never less than the parent's.
    pub time_ms: u64,
    /// Seeds of the views from the parent's on (from 1 at the least) up to this block's own, that one not included.
    pub seeds: Vec<BlsSignature>,
    /// The block's randomness; see [`seed_beacon`] and [`early_beacon`].
    pub beacon: Beacon,
    /// BLAKE3 over the hashes of the transactions, each with what became of it.
    pub transactions_root: StateRoot,
    /// Digest of the state after the block.
    pub state_root: StateRoot,
    /// Root of the tree over all commitment records after the block, sorted by hotkey; see
    /// [`RecordProof`](crate::RecordProof).
    pub records_root: StateRoot,
    /// Room for what later versions agree on; empty.
    #[serde(with = "crate::commitment::hex_bytes")]
    pub extra: Vec<u8>,
}

/// The beacon that a seed gives. Block n has that of the view after block n-2's: it is fixed once block n-2 is, comes
/// out one view later, and nothing in a block enters it.
pub fn seed_beacon(seed: &BlsSignature) -> Beacon {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"templar ledger beacon 2").update(seed.as_bytes());
    Beacon::new(*hasher.finalize().as_bytes())
}

/// The beacon of blocks 0 and 1, which no seed precedes: a hash of the chain's name and the number, known to everybody
/// from the start. No run may begin there.
pub fn early_beacon(chain: &BlockHash, number: BlockNumber) -> Beacon {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"templar ledger early beacon 2").update(chain.as_bytes()).update(&number.0.to_le_bytes());
    Beacon::new(*hasher.finalize().as_bytes())
}

impl Header {
    /// The block's hash.
    pub fn hash(&self) -> BlockHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"templar ledger header 2").update(&self.encode());
        BlockHash::new(*hasher.finalize().as_bytes())
    }

    /// The parent's view, which follows from the number of seeds; 0 for the first two blocks.
    pub fn parent_view(&self) -> u64 {
        if self.number.0 <= 1 { 0 } else { self.view.saturating_sub(self.seeds.len() as u64) }
    }

    /// The beacon of a block on this one that carries `seeds`; none where the seeds do not reach.
    pub fn next_beacon(&self, chain: &BlockHash, seeds: &[BlsSignature]) -> Option<Beacon> {
        if self.number.0 == 0 {
            return Some(early_beacon(chain, BlockNumber(1)));
        }
        // The view after the one of the block before this one: this block's own, unless views were skipped.
        let before = self.parent_view();
        let wanted = before.checked_add(1)?;
        let (first, seeds) = if wanted >= self.view { (self.view, seeds) } else { (before.max(1), &self.seeds[..]) };
        let place = usize::try_from(wanted.checked_sub(first)?).ok()?;
        seeds.get(place).map(seed_beacon)
    }

    /// Checks view, seeds and beacon of this block on `parent`. A seed that the caller has checked before is not
    /// checked again.
    pub fn check_randomness(
        &self,
        parent: &Self,
        key: &ChainKey,
        known: Option<(u64, BlsSignature)>,
    ) -> Result<(), CertificateError> {
        let block = self.number;
        let first = parent.view.max(1);
        if self.view <= parent.view {
            return Err(CertificateError::ViewOrder { block });
        }
        let (found, wanted) = (self.seeds.len() as u64, self.view - first);
        if found != wanted || wanted > MAX_SEEDS {
            return Err(CertificateError::SeedCount { block, found, wanted });
        }
        for (view, seed) in (first..).zip(&self.seeds) {
            if known != Some((view, *seed)) {
                key.verify_seed(view, seed)?;
            }
        }
        let is_right = parent.next_beacon(&key.chain(), &self.seeds) == Some(self.beacon);
        if is_right { Ok(()) } else { Err(CertificateError::WrongBeacon { block }) }
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
        Self {
            number: header.number,
            hash: header.hash(),
            parent: header.parent,
            time_ms: header.time_ms,
            state_root: header.state_root,
            beacon: header.beacon,
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
