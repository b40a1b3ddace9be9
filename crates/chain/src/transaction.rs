//! The signed envelope in which a call reaches the ledger.

use crate::Call;
use parity_scale_codec::{Decode, DecodeAll, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{BlockHash, BlockNumber, Keypair, PublicKey, Signature, TransactionHash};

/// The most bytes of an encoded transaction: weights over 4096 slots and their envelope fit.
pub const MAX_TRANSACTION_BYTES: usize = 32 * 1024;
/// A transaction names a last block at most this far ahead, so that replays can be recognised from bounded memory.
pub const MAX_MORTALITY_BLOCKS: u64 = 256;
/// Signed ahead of every transaction, so that a signature for another purpose is none here.
const SIGNING_PREFIX: &[u8] = b"templar ledger transaction 2";
/// Encoded bytes of a transaction besides its call.
const ENVELOPE_BYTES: u64 = 32 + 8 + 8 + 32 + 8 + 64;

/// Bytes that are no transaction; whoever sent them is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TransactionDecodeError {
    /// Longer than any transaction.
    #[error("transaction is {actual} bytes, over the limit of {limit}; the sender is at fault")]
    TooLarge {
        /// Bytes received.
        actual: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// Not a SCALE-encoded transaction.
    #[error("the bytes are no transaction; the sender is at fault")]
    Malformed,
}

/// A signed call.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Transaction {
    /// Whose call it is.
    pub signer: PublicKey,
    /// The signer's number of included transactions before this one.
    pub nonce: u64,
    /// The last block that may include it.
    pub valid_until: BlockNumber,
    /// The chain it is meant for.
    pub genesis: BlockHash,
    /// Sets two equal calls apart that were signed at the same moment: signatures are reproducible, so that without it
    /// both would be one and the same transaction.
    pub salt: u64,
    /// What is asked.
    pub call: Call,
    /// The signer's signature over all of the above.
    pub signature: Signature,
}

/// What a transaction puts on a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Its encoded bytes.
    pub bytes: u64,
    /// Signatures to check: its own, and those within the call.
    pub signatures: u64,
}

impl Load {
    /// Both loads together.
    pub fn plus(self, other: Self) -> Self {
        let bytes = self.bytes.saturating_add(other.bytes);
        Self { bytes, signatures: self.signatures.saturating_add(other.signatures) }
    }

    /// What is left of this after `other`; none where `other` exceeds it.
    pub fn minus(self, other: Self) -> Option<Self> {
        let bytes = self.bytes.checked_sub(other.bytes)?;
        Some(Self { bytes, signatures: self.signatures.checked_sub(other.signatures)? })
    }
}

/// A transaction with the hash of its call in place of the call: what its signature covers, and all that a block keeps of
/// a refused one.
///
/// The signature covers the call's length and its number of signatures besides its hash, so that the fee of a refused
/// call can be recomputed without the call.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TransactionHead {
    /// Whose call it is.
    pub signer: PublicKey,
    /// The signer's number of included transactions before this one.
    pub nonce: u64,
    /// The last block that may include it.
    pub valid_until: BlockNumber,
    /// The chain it is meant for.
    pub genesis: BlockHash,
    /// As in the transaction.
    pub salt: u64,
    /// BLAKE3 of the encoded call.
    pub call_hash: [u8; 32],
    /// Encoded bytes of the call.
    pub call_bytes: u32,
    /// Signatures within the call.
    pub call_signatures: u32,
    /// Whether the call belongs into the lane: [`Call::is_for_lane`].
    pub is_for_lane: bool,
    /// The signer's signature over all of the above.
    pub signature: Signature,
}

impl TransactionHead {
    /// Whether the signature is the signer's, over these very fields.
    pub fn is_authentic(&self) -> bool {
        self.signer.verify(&self.signed_bytes(), &self.signature)
    }

    /// The transaction's name.
    pub fn hash(&self) -> TransactionHash {
        TransactionHash::new(*blake3::hash(&self.encode()).as_bytes())
    }

    /// What the whole transaction puts on a block.
    pub fn load(&self) -> Load {
        let bytes = ENVELOPE_BYTES + u64::from(self.call_bytes);
        Load { bytes, signatures: 1 + u64::from(self.call_signatures) }
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let Self { signer, nonce, valid_until, genesis, salt, .. } = self;
        let call = (self.call_hash, self.call_bytes, self.call_signatures, self.is_for_lane);
        (SIGNING_PREFIX, signer, nonce, valid_until, genesis, salt, call).encode()
    }
}

/// Everything of a transaction but its signer and call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// The signer's number of applied transactions before this one.
    pub nonce: u64,
    /// The last block that may include it.
    pub valid_until: BlockNumber,
    /// The chain it is meant for.
    pub genesis: BlockHash,
    /// Sets two equal calls apart.
    pub salt: u64,
}

impl Transaction {
    /// Signs `call` with `keypair`, with salt 0.
    pub fn sign(keypair: &Keypair, call: Call, nonce: u64, valid_until: BlockNumber, genesis: BlockHash) -> Self {
        Self::sign_envelope(keypair, call, Envelope { nonce, valid_until, genesis, salt: 0 })
    }

    /// Signs `call` in `envelope` with `keypair`.
    pub fn sign_envelope(keypair: &Keypair, call: Call, envelope: Envelope) -> Self {
        let Envelope { nonce, valid_until, genesis, salt } = envelope;
        let signature = Signature([0; 64]);
        let unsigned = Self { signer: keypair.public(), nonce, valid_until, genesis, salt, call, signature };
        let signature = keypair.sign(&unsigned.head().signed_bytes());
        Self { signature, ..unsigned }
    }

    /// The transaction without its call.
    pub fn head(&self) -> TransactionHead {
        let call = self.call.encode();
        TransactionHead {
            signer: self.signer,
            nonce: self.nonce,
            valid_until: self.valid_until,
            genesis: self.genesis,
            salt: self.salt,
            call_hash: *blake3::hash(&call).as_bytes(),
            // A transaction is 32 KiB at most where it comes from outside; both counts are less.
            call_bytes: u32::try_from(call.len()).unwrap_or(u32::MAX),
            call_signatures: self.call.signatures(),
            is_for_lane: self.call.is_for_lane(),
            signature: self.signature,
        }
    }

    /// Whether the signature is the signer's, over these very fields.
    pub fn is_authentic(&self) -> bool {
        self.head().is_authentic()
    }

    /// The transaction's name.
    pub fn hash(&self) -> TransactionHash {
        self.head().hash()
    }

    /// Reads a transaction from a peer's bytes: bounded, and nothing may follow it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TransactionDecodeError> {
        if bytes.len() > MAX_TRANSACTION_BYTES {
            let (actual, limit) = (bytes.len() as u64, MAX_TRANSACTION_BYTES as u64);
            return Err(TransactionDecodeError::TooLarge { actual, limit });
        }
        // SCALE vectors reserve no more than the input holds, so the input's bound is the memory's bound.
        Self::decode_all(&mut &bytes[..]).map_err(|_| TransactionDecodeError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Topic;
    use proptest::prelude::*;
    use templar_base::{Netuid, Rao};

    fn example() -> Transaction {
        let alice = Keypair::from_uri("//Alice").unwrap();
        let call = Call::Commit { netuid: Netuid(3), topic: Topic::Vote, index: 7, data: vec![1; 512] };
        Transaction::sign(&alice, call, 4, BlockNumber(9), BlockHash::new([5; 32]))
    }

    #[test]
    fn every_field_is_signed() {
        let good = example();
        assert!(good.is_authentic());
        assert!(!Transaction { nonce: 5, ..good.clone() }.is_authentic());
        assert!(!Transaction { valid_until: BlockNumber(10), ..good.clone() }.is_authentic());
        assert!(!Transaction { genesis: BlockHash::new([6; 32]), ..good.clone() }.is_authentic());
        assert!(!Transaction { salt: 1, ..good.clone() }.is_authentic());
        let alice = Keypair::from_uri("//Alice").unwrap();
        let (nonce, valid_until, genesis) = (good.nonce, good.valid_until, good.genesis);
        let salted = Envelope { nonce, valid_until, genesis, salt: 1 };
        let salted = Transaction::sign_envelope(&alice, good.call.clone(), salted);
        assert!(salted.is_authentic());
        assert_ne!(salted.hash(), good.hash());
        assert!(!Transaction { signer: PublicKey::new([0; 32]), ..good.clone() }.is_authentic());
        let call = Call::Transfer { to: PublicKey::new([0; 32]), amount: Rao::from_rao(1) };
        assert!(!Transaction { call, ..good }.is_authentic());
    }

    #[test]
    fn a_head_is_as_good_as_the_transaction_but_for_the_call() {
        let good = example();
        let head = good.head();
        assert!(head.is_authentic());
        assert_eq!((head.hash(), head.load().bytes), (good.hash(), good.encode().len() as u64));
        assert!(!TransactionHead { call_bytes: 9, ..head.clone() }.is_authentic());
        assert!(!TransactionHead { call_signatures: 9, ..head.clone() }.is_authentic());
        assert!(!TransactionHead { is_for_lane: false, ..head }.is_authentic());
    }

    #[test]
    fn bytes_round_trip_and_nothing_may_follow() {
        let good = example();
        let mut bytes = good.encode();
        assert_eq!(Transaction::from_bytes(&bytes).unwrap(), good);
        bytes.push(0);
        assert_eq!(Transaction::from_bytes(&bytes), Err(TransactionDecodeError::Malformed));
        assert!(matches!(Transaction::from_bytes(&[0; 40_000]), Err(TransactionDecodeError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Transaction::from_bytes(&bytes);
        }

        #[test]
        fn a_flipped_byte_never_stays_authentic(at in 0usize..700, bit in 0u8..8) {
            let mut bytes = example().encode();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Ok(changed) = Transaction::from_bytes(&bytes) {
                prop_assert!(!changed.is_authentic());
            }
        }
    }
}
