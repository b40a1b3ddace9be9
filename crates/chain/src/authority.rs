//! The key of a chain's authority, and what its signatures cover.
//!
//! BLS signatures over BLS12-381, in the variant with short signatures: 48 bytes in G1, keys of 96 bytes in G2. What a
//! lone authority signs is byte for byte what a committee with a threshold key would sign, so that nobody who checks a
//! chain has to know how many made it. A signed message is a namespace behind its length, then a body; the namespace
//! holds the chain's name, so that a signature for one chain is none for another.

use crate::certificate::{Certificate, CertificateError, varint};
use crate::{Header, SignedHeader};
use blst::BLST_ERROR;
use blst::min_sig::{PublicKey as Point, SecretKey, Signature};
use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use templar_base::{BlockHash, ContentHash};

/// The ciphersuite: hashing to G1 with proofs of possession, as threshold signatures have it.
const DOMAIN: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
/// Sets the authority's key apart from others that the same seed could give.
const KEY_INFO: &[u8] = b"templar ledger authority";
/// What a namespace begins with, before the chain's name.
const NAMESPACE: &[u8] = b"templar ledger ";

macro_rules! byte_string {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Encode, Decode)]
        pub struct $name([u8; $length]);

        impl $name {
            /// The value with these bytes, which nothing has checked.
            pub const fn new(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), hex::encode(&self.0[..4]))
            }
        }

        impl FromStr for $name {
            type Err = hex::FromHexError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0; $length];
                hex::decode_to_slice(text, &mut bytes)?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

byte_string! {
    /// A BLS signature as it travels: a compressed point of G1.
    BlsSignature, 48
}
byte_string! {
    /// The public key of a chain's authority as it travels: a compressed point of G2. All zeros where none is named yet.
    AuthorityKey, 96
}

impl Default for AuthorityKey {
    /// No key: the ledger that is made from a profile without one puts its own there.
    fn default() -> Self {
        Self([0; 96])
    }
}

impl AuthorityKey {
    /// The key of the authority whose secret is `seed`.
    pub fn of_seed(seed: &[u8; 32]) -> Self {
        Self(secret_of(seed).sk_to_pk().compress())
    }

    /// Whether a key is named at all.
    pub fn is_named(&self) -> bool {
        *self != Self::default()
    }
}

fn secret_of(seed: &[u8; 32]) -> SecretKey {
    SecretKey::key_gen(seed, KEY_INFO).expect("only seeds of less than 32 bytes are rejected")
}

/// A chain's name: its authority's key, and the hash of the document with all its rules. Whoever knows the name can
/// check a key that it is told, without knowing what the document looks like.
pub fn chain_name(key: &AuthorityKey, document: &ContentHash) -> BlockHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"templar ledger genesis 2").update(key.as_bytes()).update(document.as_bytes());
    BlockHash::new(*hasher.finalize().as_bytes())
}

/// The first parts of a chain's signed messages: the namespace behind its length.
#[derive(Debug, Clone)]
struct Namespaces {
    finalize: Vec<u8>,
    seed: Vec<u8>,
}

impl Namespaces {
    fn of(chain: &BlockHash) -> Self {
        let of = |suffix: &[u8]| {
            let namespace = [NAMESPACE, chain.as_bytes(), suffix].concat();
            let mut message = Vec::new();
            varint(namespace.len() as u64, &mut message);
            message.extend_from_slice(&namespace);
            message
        };
        Self { finalize: of(b"_FINALIZE"), seed: of(b"_SEED") }
    }

    fn vote_message(&self, certificate: &Certificate) -> Vec<u8> {
        [self.finalize.as_slice(), &certificate.proposal()].concat()
    }

    /// What the seed of a view signs: epoch and view alone, nothing of any block.
    fn seed_message(&self, view: u64) -> Vec<u8> {
        let mut message = self.seed.clone();
        varint(0, &mut message);
        varint(view, &mut message);
        message
    }
}

/// A lone authority's secret, at work for one chain.
pub struct AuthoritySigner {
    secret: SecretKey,
    namespaces: Namespaces,
}

impl AuthoritySigner {
    /// The authority with the secret `seed`, for the chain of that name.
    pub fn new(seed: &[u8; 32], chain: &BlockHash) -> Self {
        Self { secret: secret_of(seed), namespaces: Namespaces::of(chain) }
    }

    /// Signs a block: the vote for it, and the seed of its view.
    pub fn certify(&self, header: &Header) -> Certificate {
        let unsigned = BlsSignature([0; 48]);
        let (view, parent_view) = (header.view, header.parent_view());
        let draft = Certificate { view, parent_view, block: header.hash(), vote: unsigned, seed: unsigned };
        let vote = self.sign(&self.namespaces.vote_message(&draft));
        Certificate { vote, seed: self.sign(&self.namespaces.seed_message(view)), ..draft }
    }

    fn sign(&self, message: &[u8]) -> BlsSignature {
        BlsSignature(self.secret.sign(message, DOMAIN, &[]).compress())
    }
}

impl fmt::Debug for AuthoritySigner {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthoritySigner").finish_non_exhaustive()
    }
}

/// What the signatures of a chain are checked against: its name, and its authority's key as a point of the curve.
#[derive(Debug, Clone)]
pub struct ChainKey {
    chain: BlockHash,
    key: Point,
    namespaces: Namespaces,
}

impl ChainKey {
    /// Checks that the key is one.
    pub fn new(chain: BlockHash, key: &AuthorityKey) -> Result<Self, CertificateError> {
        let key = Point::key_validate(key.as_bytes()).map_err(|_| CertificateError::NotAKey)?;
        Ok(Self { chain, key, namespaces: Namespaces::of(&chain) })
    }

    /// The chain's name.
    pub fn chain(&self) -> BlockHash {
        self.chain
    }

    /// Checks the seed of a view.
    pub fn verify_seed(&self, view: u64, seed: &BlsSignature) -> Result<(), CertificateError> {
        let is_right = self.is_signed(&self.namespaces.seed_message(view), seed);
        if is_right { Ok(()) } else { Err(CertificateError::WrongSeed { view }) }
    }

    /// Checks that a certificate is of this block, and that the authority signed both its parts.
    pub fn verify(&self, header: &Header, certificate: &Certificate) -> Result<(), CertificateError> {
        let block = header.number;
        if certificate.block != header.hash() {
            return Err(CertificateError::OtherBlock { block });
        }
        if (certificate.view, certificate.parent_view) != (header.view, header.parent_view()) {
            return Err(CertificateError::OtherView { block });
        }
        if !self.is_signed(&self.namespaces.vote_message(certificate), &certificate.vote) {
            return Err(CertificateError::WrongVote { block });
        }
        self.verify_seed(certificate.view, &certificate.seed)
    }

    /// Checks a header with its certificate.
    pub fn verify_signed(&self, signed: &SignedHeader) -> Result<(), CertificateError> {
        let header = &signed.header;
        match &signed.certificate {
            Some(certificate) => self.verify(header, certificate),
            None if header.follows_from(&self.chain) => Ok(()),
            None => Err(CertificateError::Missing { block: header.number }),
        }
    }

    fn is_signed(&self, message: &[u8], signature: &BlsSignature) -> bool {
        let point = Signature::uncompress(signature.as_bytes());
        point.is_ok_and(|point| point.verify(true, message, DOMAIN, &[], &self.key, false) == BLST_ERROR::BLST_SUCCESS)
    }
}
