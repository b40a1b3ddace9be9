//! What is known of keys without their passwords, and what was made of new ones.

use crate::encryption::is_encrypted;
use crate::error::WalletError;
use crate::files;
use crate::key_file::{self, decode_keyfile};
use crate::secret::SecretSource;
use serde::{Serialize, Serializer};
use std::path::{Path, PathBuf};
use templar_base::PublicKey;
use zeroize::Zeroizing;

/// How the secret half of a key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Custody {
    /// In a plain file.
    Plain,
    /// In a file that needs a password.
    Encrypted,
    /// Not here.
    Elsewhere,
}

/// What is known of a key without its password.
#[derive(Debug, Serialize)]
pub struct KeyFacts {
    /// The file of its secret half, whether it exists or not.
    #[serde(rename = "file")]
    pub path: PathBuf,
    /// How the secret is kept; in JSON, whether it is encrypted, null where it is not here.
    #[serde(rename = "encrypted")]
    pub custody: Custody,
    /// Its address; none where neither half states it.
    pub address: Option<PublicKey>,
    /// Why a file of it cannot be used.
    #[serde(serialize_with = "as_text")]
    pub fault: Option<WalletError>,
}

impl Serialize for Custody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain => serializer.serialize_some(&false),
            Self::Encrypted => serializer.serialize_some(&true),
            Self::Elsewhere => serializer.serialize_none(),
        }
    }
}

fn as_text<S: Serializer>(fault: &Option<WalletError>, serializer: S) -> Result<S::Ok, S::Error> {
    match fault {
        Some(fault) => serializer.serialize_some(&fault.to_string()),
        None => serializer.serialize_none(),
    }
}

impl KeyFacts {
    pub(crate) fn of(secret: PathBuf, public: &Path) -> Self {
        let mut facts = Self { path: secret, custody: Custody::Elsewhere, address: None, fault: None };
        match files::read(&facts.path) {
            Ok(None) => {}
            Ok(Some(bytes)) if is_encrypted(&bytes) => facts.custody = Custody::Encrypted,
            Ok(Some(bytes)) => {
                facts.custody = Custody::Plain;
                match decode_keyfile(&facts.path, &bytes) {
                    Ok(pair) => facts.address = Some(pair.public()),
                    Err(fault) => facts.fault = Some(fault),
                }
            }
            Err(fault) => facts.fault = Some(fault),
        }
        match read_address(public) {
            Ok(None) => {}
            Ok(Some(stated)) => match facts.address {
                Some(actual) if actual != stated => {
                    let (path, stated) = (public.to_owned(), stated.to_string());
                    facts.fault = Some(WalletError::AddressMismatch { path, stated, actual });
                }
                _ => facts.address = Some(stated),
            },
            Err(fault) => facts.fault = facts.fault.or(Some(fault)),
        }
        facts
    }

    /// The address; an error where a file is at fault, `missing` where there is neither half.
    pub(crate) fn into_address(self, missing: impl FnOnce() -> WalletError) -> Result<PublicKey, WalletError> {
        match (self.fault, self.address, self.custody) {
            (Some(fault), ..) => Err(fault),
            (None, Some(address), _) => Ok(address),
            (None, None, Custody::Encrypted) => Err(WalletError::Locked(self.path)),
            (None, None, _) => Err(missing()),
        }
    }
}

/// A hotkey of a wallet.
#[derive(Debug, Serialize)]
pub struct NamedKey {
    /// Its name.
    pub name: String,
    /// What is known of it.
    #[serde(flatten)]
    pub facts: KeyFacts,
}

/// What is here of a wallet.
#[derive(Debug, Serialize)]
pub struct Inventory {
    /// Its name.
    pub wallet: String,
    /// The coldkey.
    pub coldkey: KeyFacts,
    /// The hotkeys by name.
    pub hotkeys: Vec<NamedKey>,
}

/// A new key, with the phrase that is shown once.
pub struct GeneratedKey {
    /// `coldkey` or `hotkey`.
    pub kind: &'static str,
    /// Its address.
    pub address: PublicKey,
    /// The secret that it grows from.
    pub phrase: Zeroizing<String>,
    /// Its file.
    pub file: PathBuf,
}

impl GeneratedKey {
    pub(crate) fn new(
        kind: &'static str,
        secret: &SecretSource,
        phrase: Zeroizing<String>,
        file: PathBuf,
    ) -> Result<Self, WalletError> {
        Ok(Self { kind, address: secret.keypair()?.public(), phrase, file })
    }
}

/// New keys.
pub struct Generated {
    /// The keys, the coldkey first.
    pub keys: Vec<GeneratedKey>,
    /// Copies of what was replaced.
    pub kept: Vec<PathBuf>,
}

/// The address in the public half at `path`, none where there is no such file.
pub(crate) fn read_address(path: &Path) -> Result<Option<PublicKey>, WalletError> {
    files::read(path)?.map(|bytes| key_file::decode_address(path, &bytes)).transpose()
}
