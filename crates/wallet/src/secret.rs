//! Secrets in memory: what a key is made of, wiped when dropped and never printed.

use crate::error::WalletError;
use std::fmt;
use templar_base::{KeyError, Keypair};
use zeroize::Zeroizing;

/// Bytes that are wiped when dropped.
pub(crate) type SecretBytes = Zeroizing<Vec<u8>>;

pub(crate) fn zeroizing(bytes: Vec<u8>) -> SecretBytes {
    Zeroizing::new(bytes)
}

pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), WalletError> {
    getrandom::fill(bytes).map_err(WalletError::Random)
}

/// Where a key comes from. Never printed.
#[derive(Clone)]
pub enum SecretSource {
    /// A BIP-39 phrase, with derivation steps after it if wanted; or `//Alice` and its like, for tests.
    Uri(Zeroizing<String>),
    /// A 32-byte seed.
    Seed(Zeroizing<[u8; 32]>),
    /// The 64-byte secret itself, of a key whose phrase and seed nobody wrote down.
    Expanded(Zeroizing<[u8; 64]>),
}

impl SecretSource {
    /// A new phrase from the system's random source; also returned, to be shown once and written down.
    pub fn generate() -> Result<(Self, Zeroizing<String>), WalletError> {
        let mut entropy = Zeroizing::new([0; 16]);
        fill_random(entropy.as_mut_slice())?;
        let phrase = Keypair::phrase_from_entropy(*entropy);
        Ok((Self::Uri(phrase.clone()), phrase))
    }

    /// An existing phrase or `//Alice`.
    pub fn uri(text: &str) -> Self {
        Self::Uri(Zeroizing::new(text.trim().to_owned()))
    }

    /// A 32-byte seed.
    pub fn seed(seed: [u8; 32]) -> Self {
        Self::Seed(Zeroizing::new(seed))
    }

    /// The key.
    pub fn keypair(&self) -> Result<Keypair, KeyError> {
        match self {
            Self::Uri(uri) => Keypair::from_uri(uri),
            Self::Seed(seed) => Ok(Keypair::from_seed(**seed)),
            Self::Expanded(secret) => Keypair::from_expanded_secret(secret.as_slice()),
        }
    }
}

impl fmt::Debug for SecretSource {
    /// Says what it is, never what it says.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uri(_) => "SecretSource::Uri(hidden)",
            Self::Seed(_) => "SecretSource::Seed(hidden)",
            Self::Expanded(_) => "SecretSource::Expanded(hidden)",
        })
    }
}
