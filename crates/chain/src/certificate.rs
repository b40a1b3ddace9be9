//! The certificate of a block: what makes a header believable to somebody who did not replay its chain.

use crate::BlsSignature;
use parity_scale_codec::{Decode, Encode, Input, Output};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use templar_base::{BlockHash, BlockNumber};

/// The most bytes of a certificate: those of a view that no chain reaches. In epoch 0 it has 131 up to view 127, 133 up
/// to view 16,383, 137 up to view 268,435,455.
pub const MAX_CERTIFICATE_BYTES: usize = 1 + 10 + 10 + 32 + 48 + 48;

/// Why a block is not believed; who gave it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The chain's key is none.
    #[error("the chain's authority key is no point of the curve")]
    NotAKey,
    /// The bytes are no certificate.
    #[error("the bytes are no certificate")]
    Malformed,
    /// A block without a certificate, other than the first.
    #[error("block {block} comes without a certificate")]
    Missing {
        /// Which.
        block: BlockNumber,
    },
    /// It is of another header, or the header was changed.
    #[error("the certificate is not that of block {block}: the block's hash is another")]
    OtherBlock {
        /// Which.
        block: BlockNumber,
    },
    /// Its views are not the header's.
    #[error("the certificate is not that of block {block}: it names other views")]
    OtherView {
        /// Which.
        block: BlockNumber,
    },
    /// The vote was not signed by the authority.
    #[error("the chain's authority did not sign block {block}")]
    WrongVote {
        /// Which.
        block: BlockNumber,
    },
    /// The seed was not signed by the authority.
    #[error("the chain's authority did not sign the seed of view {view}")]
    WrongSeed {
        /// Which.
        view: u64,
    },
    /// A header lacks seeds of views since its parent's, or has others.
    #[error("block {block} has {found} seeds, but its view asks for {wanted}")]
    SeedCount {
        /// Which.
        block: BlockNumber,
        /// Seeds in the header.
        found: u64,
        /// Seeds that belong there.
        wanted: u64,
    },
    /// The view does not come after the parent's.
    #[error("block {block} has a view that does not come after its parent's")]
    ViewOrder {
        /// Which.
        block: BlockNumber,
    },
    /// The beacon is not what the seeds give.
    #[error("the beacon of block {block} is not the one that the seeds give")]
    WrongBeacon {
        /// Which.
        block: BlockNumber,
    },
}

/// A block's certificate. In epoch 0, the only one so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The block's view: with one authority its number.
    pub view: u64,
    /// The parent's view.
    pub parent_view: u64,
    /// The block's hash.
    pub block: BlockHash,
    /// The authority's signature over views and hash.
    pub vote: BlsSignature,
    /// The authority's signature over the view alone: the seed of a later block's beacon.
    pub seed: BlsSignature,
}

impl Certificate {
    /// What the vote is over: epoch, view and parent's view as variable-length integers, then the hash.
    pub(crate) fn proposal(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAX_CERTIFICATE_BYTES);
        for number in [0, self.view, self.parent_view] {
            varint(number, &mut bytes);
        }
        bytes.extend_from_slice(self.block.as_bytes());
        bytes
    }

    /// The one form of the certificate in bytes: what was voted on, the vote, the seed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.proposal();
        bytes.extend_from_slice(self.vote.as_bytes());
        bytes.extend_from_slice(self.seed.as_bytes());
        bytes
    }

    /// Reads a certificate from a peer's bytes; its signatures are not checked yet.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CertificateError> {
        Self::read(bytes).ok_or(CertificateError::Malformed)
    }

    fn read(mut bytes: &[u8]) -> Option<Self> {
        let (epoch, view, parent_view) = (read_varint(&mut bytes)?, read_varint(&mut bytes)?, read_varint(&mut bytes)?);
        let (block, rest) = bytes.split_first_chunk()?;
        let (vote, rest) = rest.split_first_chunk()?;
        let (seed, rest) = rest.split_first_chunk()?;
        let is_whole = epoch == 0 && rest.is_empty();
        let (vote, seed) = (BlsSignature::new(*vote), BlsSignature::new(*seed));
        is_whole.then(|| Self { view, parent_view, block: BlockHash::new(*block), vote, seed })
    }
}

impl Encode for Certificate {
    fn encode_to<W: Output + ?Sized>(&self, dest: &mut W) {
        self.to_bytes().encode_to(dest);
    }
}

impl Decode for Certificate {
    fn decode<I: Input>(input: &mut I) -> Result<Self, parity_scale_codec::Error> {
        Self::from_bytes(&Vec::<u8>::decode(input)?).map_err(|_| "the bytes are no certificate".into())
    }
}

impl Serialize for Certificate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.to_bytes()))
    }
}

impl<'de> Deserialize<'de> for Certificate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let bytes = hex::decode(text.as_ref()).map_err(serde::de::Error::custom)?;
        Self::from_bytes(&bytes).map_err(serde::de::Error::custom)
    }
}

/// Appends a number, seven bits a byte, the lowest first.
pub(crate) fn varint(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Reads a number in its shortest form; none where it is longer than needed or over 64 bits.
fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            let is_shortest = *byte != 0 || shift == 0;
            return is_shortest.then_some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_form() {
        for number in [0, 1, 127, 128, 300, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            varint(number, &mut bytes);
            let mut rest = &bytes[..];
            assert_eq!((read_varint(&mut rest), rest.len()), (Some(number), 0));
        }
        let hostile: [&[u8]; 5] = [&[0x80, 0], &[0xff, 0], &[0x80], &[0xff; 11], &[]];
        for bytes in hostile {
            assert_eq!(read_varint(&mut &bytes[..]), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_certificate_has_one_form_and_its_length_goes_by_its_view() {
        let (vote, seed) = (BlsSignature::new([1; 48]), BlsSignature::new([2; 48]));
        let of = |view| Certificate { view, parent_view: view - 1, block: BlockHash::new([3; 32]), vote, seed };
        for (view, length) in [(1, 131), (127, 131), (16_383, 133), (16_385, 135), (u64::MAX, MAX_CERTIFICATE_BYTES)] {
            let bytes = of(view).to_bytes();
            assert_eq!((bytes.len(), Certificate::from_bytes(&bytes)), (length, Ok(of(view))));
            assert!(Certificate::from_bytes(&bytes[1..]).is_err());
            assert!(Certificate::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
            let again = Certificate::decode(&mut &of(view).encode()[..]).unwrap();
            let text = serde_json::to_string(&again).unwrap();
            assert_eq!(serde_json::from_str::<Certificate>(&text).unwrap(), of(view));
        }
    }
}
