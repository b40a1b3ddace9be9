//! API keys: secrets that stand for a prepaid account, kept as hashes.
//!
//! A key is made by the account's holder: it draws the secret, signs its hash with the account's key, and the gateway
//! keeps the hash. So the gateway never sees a secret before it is used, and nobody can make a key for another's
//! account. A revoked key stays in the file, so that its old grant cannot bring it back.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use parity_scale_codec::{Decode, Encode};
use serde::{Deserialize, Serialize};
use templar_base::{BlockHash, Keypair, PublicKey, Signature};
use templar_disk::{DiskError, Folder};

/// What every key begins with.
const KEY_PREFIX: &str = "tk-";
/// Bytes of a key's secret.
const SECRET_BYTES: usize = 32;
/// Signed ahead of every grant, so that a signature for another purpose is none here.
const SIGNING_PREFIX: &[u8] = b"templar gateway key 1";
/// Keys of one account, with the revoked ones.
pub const MAX_KEYS: usize = 256;
/// Version of the file's format.
const VERSION: u32 = 1;

/// Hash of an API key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash of a key as its holder writes it.
    pub fn of(key: &str) -> Self {
        // The secret has 256 bits of randomness: a fast hash is enough.
        Self(*blake3::hash(key.as_bytes()).as_bytes())
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for KeyHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(&text, &mut bytes).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

/// A new API key; shown once, to its holder.
pub fn new_key() -> Result<String, getrandom::Error> {
    let mut secret = [0; SECRET_BYTES];
    getrandom::fill(&mut secret)?;
    Ok(format!("{KEY_PREFIX}{}", hex::encode(secret)))
}

/// A holder's signed wish that a key stands for its account at a gateway, or does so no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyGrant {
    /// The account's key.
    pub account: PublicKey,
    /// Hash of the API key.
    pub hash: KeyHash,
    /// Whether the key is taken back.
    #[serde(default)]
    pub revoked: bool,
    /// The account's signature, for one gateway on one ledger.
    pub signature: Signature,
}

impl KeyGrant {
    /// Signs a grant for the gateway at this address, on the ledger called `genesis`.
    pub fn sign(account: &Keypair, genesis: &BlockHash, gateway: &PublicKey, hash: KeyHash, revoked: bool) -> Self {
        let unsigned = Self { account: account.public(), hash, revoked, signature: Signature([0; 64]) };
        let signature = account.sign(&unsigned.signed_bytes(genesis, gateway));
        Self { signature, ..unsigned }
    }

    /// Whether the account's holder signed these very fields for that gateway and ledger.
    pub fn is_authentic(&self, genesis: &BlockHash, gateway: &PublicKey) -> bool {
        self.account.verify(&self.signed_bytes(genesis, gateway), &self.signature)
    }

    fn signed_bytes(&self, genesis: &BlockHash, gateway: &PublicKey) -> Vec<u8> {
        let Self { account, hash, revoked, signature: _ } = self;
        (SIGNING_PREFIX, genesis, gateway, account, hash, revoked).encode()
    }
}

/// Why a gateway's keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The file cannot be read or written; the disk is at fault.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file is damaged.
    #[error("{} is damaged ({source}); move it away, and let the holders make new keys", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The file is of another version of this program.
    #[error("{} has version {version}, this program reads version {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The account has as many keys as it may have.
    #[error("the account has {MAX_KEYS} keys already, with the revoked ones; go on with one of them")]
    TooMany,
    /// The key is another account's.
    #[error("the key stands for another account; make a new one")]
    OfAnother,
}

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    account: PublicKey,
    revoked: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    version: u32,
    keys: BTreeMap<String, Entry>,
}

/// The API keys of a gateway, in one file that is whole after any crash.
#[derive(Debug)]
pub struct KeyStore {
    folder: Folder,
    name: String,
    keys: Mutex<BTreeMap<KeyHash, Entry>>,
}

impl KeyStore {
    /// Opens the file at `path`, or begins one.
    pub fn open(path: &Path) -> Result<Self, KeysError> {
        let folder = Folder::of_file(path);
        folder.create()?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let damaged = |source| KeysError::Damaged { path: path.to_owned(), source };
        let mut keys = BTreeMap::new();
        if let Some(bytes) = folder.read(&name)? {
            let document: Document = serde_json::from_slice(&bytes).map_err(damaged)?;
            if document.version != VERSION {
                return Err(KeysError::Version { path: path.to_owned(), version: document.version });
            }
            for (hash, entry) in document.keys {
                keys.insert(serde_json::from_value(hash.into()).map_err(damaged)?, entry);
            }
        }
        Ok(Self { folder, name, keys: Mutex::new(keys) })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<KeyHash, Entry>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account that a key stands for.
    pub fn account(&self, key: &str) -> Option<PublicKey> {
        // What is compared are hashes: how long that takes says nothing of a secret.
        self.lock().get(&KeyHash::of(key)).filter(|entry| !entry.revoked).map(|entry| entry.account)
    }

    /// Carries out a grant whose signature was checked; on disk when this returns. Repeated it changes nothing, and a
    /// revoked key stays revoked. Blocks.
    pub fn put(&self, grant: &KeyGrant) -> Result<(), KeysError> {
        let mut keys = self.lock();
        let known = keys.get(&grant.hash).copied();
        if known.is_some_and(|entry| entry.account != grant.account) {
            return Err(KeysError::OfAnother);
        }
        let own = keys.values().filter(|entry| entry.account == grant.account).count();
        if known.is_none() && own >= MAX_KEYS {
            return Err(KeysError::TooMany);
        }
        let revoked = grant.revoked || known.is_some_and(|entry| entry.revoked);
        let entry = Entry { account: grant.account, revoked };
        if known == Some(entry) {
            return Ok(());
        }
        let mut changed = keys.clone();
        changed.insert(grant.hash, entry);
        self.save(&changed)?;
        *keys = changed;
        Ok(())
    }

    fn save(&self, keys: &BTreeMap<KeyHash, Entry>) -> Result<(), KeysError> {
        let keys = keys.iter().map(|(hash, entry)| (hash.to_string(), *entry)).collect();
        let document = Document { version: VERSION, keys };
        let damaged = |source| KeysError::Damaged { path: self.folder.path().join(&self.name), source };
        let text = serde_json::to_vec_pretty(&document).map_err(damaged)?;
        Ok(self.folder.write(&self.name, &[&text])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENESIS: BlockHash = BlockHash::new([4; 32]);

    fn keypair(number: u8) -> Keypair {
        Keypair::from_seed([number; 32])
    }

    fn grant(account: u8, key: &str, revoked: bool) -> KeyGrant {
        KeyGrant::sign(&keypair(account), &GENESIS, &keypair(9).public(), KeyHash::of(key), revoked)
    }

    #[test]
    fn every_field_of_a_grant_is_signed_and_so_are_gateway_and_ledger() {
        let (gateway, own) = (keypair(9).public(), grant(1, "tk-a", false));
        assert!(own.is_authentic(&GENESIS, &gateway));
        assert!(!own.is_authentic(&BlockHash::new([5; 32]), &gateway));
        assert!(!own.is_authentic(&GENESIS, &keypair(8).public()));
        for forged in [
            KeyGrant { account: keypair(2).public(), ..own.clone() },
            KeyGrant { hash: KeyHash::of("tk-b"), ..own.clone() },
            KeyGrant { revoked: true, ..own.clone() },
        ] {
            assert!(!forged.is_authentic(&GENESIS, &gateway));
        }
        let text = serde_json::to_string(&own).unwrap();
        assert_eq!(serde_json::from_str::<KeyGrant>(&text).unwrap(), own);
    }

    #[test]
    fn keys_survive_a_restart_as_hashes_and_a_revoked_one_never_comes_back() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("gateway").join("keys.json");
        let (key, other) = (new_key().unwrap(), new_key().unwrap());
        assert!(key.starts_with("tk-") && key.len() == 67 && key != other);
        let store = KeyStore::open(&path).unwrap();
        store.put(&grant(1, &key, false)).unwrap();
        store.put(&grant(1, &other, false)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&key[3..]) && text.contains(&KeyHash::of(&key).to_string()));
        store.put(&grant(1, &other, true)).unwrap();
        let store = KeyStore::open(&path).unwrap();
        assert_eq!(store.account(&key), Some(keypair(1).public()));
        store.put(&grant(1, &other, false)).unwrap();
        assert_eq!((store.account(&other), store.account("tk-")), (None, None));
        assert!(matches!(store.put(&grant(2, &key, true)), Err(KeysError::OfAnother)));
        std::fs::write(&path, b"{").unwrap();
        assert!(matches!(KeyStore::open(&path), Err(KeysError::Damaged { .. })));
    }

    #[test]
    fn an_account_has_a_bounded_number_of_keys() {
        let root = tempfile::tempdir().unwrap();
        let store = KeyStore::open(&root.path().join("keys.json")).unwrap();
        for number in 0..MAX_KEYS {
            store.put(&grant(1, &format!("tk-{number}"), false)).unwrap();
        }
        assert!(matches!(store.put(&grant(1, "tk-more", false)), Err(KeysError::TooMany)));
        store.put(&grant(1, "tk-0", true)).unwrap();
        store.put(&grant(2, "tk-more", false)).unwrap();
    }
}
