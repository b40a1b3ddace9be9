//! The JSON inside a key file.

use crate::error::WalletError;
use crate::foreign_file::{instead_of_json, instead_of_secret};
use crate::secret::{SecretBytes, SecretSource, zeroizing};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;
use templar_base::{Keypair, PublicKey};
use zeroize::Zeroizing;

/// The fields of Bittensor's key files. Phrase and seed may be absent; unknown fields are ignored.
#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct KeyFile {
    account_id: Option<String>,
    public_key: Option<String>,
    private_key: Option<String>,
    secret_phrase: Option<String>,
    secret_seed: Option<String>,
    ss58_address: Option<String>,
    /// The kind of the key, where a tool says it: 1 or `sr25519` is the only one here.
    #[serde(default, skip_serializing)]
    crypto_type: Option<Value>,
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        for secret in [&mut self.private_key, &mut self.secret_phrase, &mut self.secret_seed] {
            secret.zeroize();
        }
    }
}

fn public_fields(public: &PublicKey) -> KeyFile {
    let bytes = Some(format!("0x{}", hex::encode(public.as_bytes())));
    KeyFile {
        account_id: bytes.clone(),
        public_key: bytes,
        private_key: None,
        secret_phrase: None,
        secret_seed: None,
        ss58_address: Some(public.to_string()),
        crypto_type: None,
    }
}

/// Writes a key with its secrets. A phrase with derivation steps is left out, since the phrase alone would be another
/// key; the private key stands for itself.
pub(crate) fn encode_keyfile(pair: &Keypair, secret: &SecretSource) -> SecretBytes {
    let mut file = public_fields(&pair.public());
    file.private_key = Some(format!("0x{}", hex::encode(pair.expanded_secret_ed25519().as_slice())));
    match secret {
        SecretSource::Uri(uri) if !uri.contains('/') => file.secret_phrase = Some(uri.to_string()),
        SecretSource::Uri(_) | SecretSource::Expanded(_) => {}
        SecretSource::Seed(seed) => file.secret_seed = Some(format!("0x{}", hex::encode(seed.as_slice()))),
    }
    // Strings and options always serialise.
    zeroizing(serde_json::to_vec(&file).unwrap_or_default())
}

/// Writes a public half.
pub(crate) fn encode_public_keyfile(public: &PublicKey) -> SecretBytes {
    let file = public_fields(public);
    let fields =
        [("accountId", &file.account_id), ("publicKey", &file.public_key), ("ss58Address", &file.ss58_address)];
    let object: serde_json::Map<_, _> =
        fields.into_iter().map(|(name, value)| (name.to_owned(), serde_json::json!(value))).collect();
    zeroizing(serde_json::to_vec(&object).unwrap_or_default())
}

/// Reads a key and checks it against the addresses in the file.
pub(crate) fn decode_keyfile(path: &Path, bytes: &[u8]) -> Result<Keypair, WalletError> {
    let file = parse(path, bytes)?;
    let pair = secret_of(path, &file)?;
    check_addresses(path, &file, &pair.public())?;
    Ok(pair)
}

/// Reads what a key is made of: its phrase where the file has one, else its seed, else the key itself.
pub(crate) fn decode_source(path: &Path, bytes: &[u8]) -> Result<SecretSource, WalletError> {
    let pair = decode_keyfile(path, bytes)?;
    let file = parse(path, bytes)?;
    if let Some(phrase) = &file.secret_phrase {
        return Ok(SecretSource::uri(phrase));
    }
    if let Some(seed) = &file.secret_seed {
        let mut digits = Zeroizing::new([0; 32]);
        let read = hex::decode_to_slice(seed.trim_start_matches("0x"), digits.as_mut_slice());
        return read.map(|()| SecretSource::Seed(digits)).map_err(|_| malformed(path, "its secretSeed is no seed"));
    }
    Ok(SecretSource::Expanded(pair.expanded_secret()))
}

/// Reads the address of a public half.
pub(crate) fn decode_address(path: &Path, bytes: &[u8]) -> Result<PublicKey, WalletError> {
    let file = parse(path, bytes)?;
    let address = file.ss58_address.as_deref().ok_or_else(|| malformed(path, "it has no ss58Address"))?;
    let public = PublicKey::from_ss58(address)?;
    check_addresses(path, &file, &public)?;
    Ok(public)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<KeyFile, WalletError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if let Some(what) = instead_of_json(bytes) {
        return Err(WalletError::OtherFile { path: path.to_owned(), what });
    }
    // The parser's message might quote the file, so only the place is repeated.
    let file: KeyFile = serde_json::from_slice(bytes)
        .map_err(|error| malformed(path, &format!("no JSON object of keys (column {})", error.column())))?;
    let is_known = match &file.crypto_type {
        None | Some(Value::Null) => true,
        Some(Value::String(name)) => name == "1" || name.eq_ignore_ascii_case("sr25519"),
        Some(kind) => kind.as_u64() == Some(1),
    };
    if !is_known {
        let what = "the file of a key that is not sr25519, which is the only kind here";
        return Err(WalletError::OtherFile { path: path.to_owned(), what });
    }
    let has_secret = [&file.secret_phrase, &file.secret_seed, &file.private_key].iter().any(|secret| secret.is_some());
    match instead_of_secret(bytes).filter(|_| !has_secret && file.ss58_address.is_none()) {
        Some(what) => Err(WalletError::OtherFile { path: path.to_owned(), what }),
        None => Ok(file),
    }
}

fn secret_of(path: &Path, file: &KeyFile) -> Result<Keypair, WalletError> {
    if let Some(phrase) = &file.secret_phrase {
        return Ok(Keypair::from_uri(phrase)?);
    }
    if let Some(seed) = &file.secret_seed {
        let mut bytes = Zeroizing::new([0; 32]);
        let read = hex::decode_to_slice(seed.trim_start_matches("0x"), bytes.as_mut_slice());
        read.map_err(|_| malformed(path, "its secretSeed is not 32 bytes in hexadecimal"))?;
        return Ok(Keypair::from_seed(*bytes));
    }
    let private =
        file.private_key.as_ref().ok_or_else(|| malformed(path, "it holds no secret, as the public half of a key"))?;
    let mut bytes = Zeroizing::new([0; 64]);
    let read = hex::decode_to_slice(private.trim_start_matches("0x"), bytes.as_mut_slice());
    read.map_err(|_| malformed(path, "its privateKey is not 64 bytes in hexadecimal"))?;
    expanded_secret(&bytes, file)
}

/// A 64-byte secret comes in two forms that cannot always be told apart: the plain scalar, and the scalar times
/// eight, as Ed25519 has it. The address says which it is.
fn expanded_secret(bytes: &[u8; 64], file: &KeyFile) -> Result<Keypair, WalletError> {
    let plain = Keypair::from_expanded_secret(bytes);
    let is_stated = |pair: &Keypair| file.ss58_address.as_deref().is_none_or(|it| it == pair.public().to_string());
    if plain.as_ref().is_ok_and(is_stated) {
        return Ok(plain?);
    }
    // Divides the little-endian scalar in the first half by eight.
    let mut divided = Zeroizing::new(*bytes);
    for at in 0..32 {
        let above = if at < 31 { bytes[at + 1] } else { 0 };
        divided[at] = bytes[at] >> 3 | above << 5;
    }
    match Keypair::from_expanded_secret(divided.as_slice()) {
        Ok(other) if is_stated(&other) => Ok(other),
        _ => Ok(plain?),
    }
}

fn check_addresses(path: &Path, file: &KeyFile, actual: &PublicKey) -> Result<(), WalletError> {
    let mismatch = |stated: &str| WalletError::AddressMismatch {
        path: path.to_owned(),
        stated: stated.chars().take(70).collect(),
        actual: *actual,
    };
    if let Some(stated) = file.ss58_address.as_deref().filter(|stated| *stated != actual.to_string()) {
        return Err(mismatch(stated));
    }
    let bytes = hex::encode(actual.as_bytes());
    for stated in [&file.account_id, &file.public_key].into_iter().flatten() {
        if stated.trim_start_matches("0x").to_ascii_lowercase() != bytes {
            return Err(mismatch(stated));
        }
    }
    Ok(())
}

fn malformed(path: &Path, reason: &str) -> WalletError {
    WalletError::Malformed { path: path.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_of_secret_is_read_back() {
        let path = Path::new("key");
        let phrase = Keypair::phrase_from_entropy([4; 16]);
        let sources = [SecretSource::uri(&phrase), SecretSource::uri("//Alice/soft"), SecretSource::seed([6; 32])];
        for source in sources {
            let pair = source.keypair().unwrap();
            let bytes = encode_keyfile(&pair, &source);
            assert_eq!(decode_keyfile(path, &bytes).unwrap().public(), pair.public());
            assert_eq!(decode_source(path, &bytes).unwrap().keypair().unwrap().public(), pair.public());
            let public = encode_public_keyfile(&pair.public());
            assert_eq!(decode_address(path, &public).unwrap(), pair.public());
            assert!(!format!("{source:?}").contains("06"), "{source:?}");
        }
    }

    #[test]
    fn both_forms_of_an_expanded_secret_are_understood() {
        for seed in 0..32 {
            let pair = Keypair::from_seed([seed; 32]);
            for secret in [pair.expanded_secret(), pair.expanded_secret_ed25519()] {
                let mut file = public_fields(&pair.public());
                file.private_key = Some(hex::encode(secret.as_slice()));
                let bytes = serde_json::to_vec(&file).unwrap();
                assert_eq!(decode_keyfile(Path::new("key"), &bytes).unwrap().public(), pair.public());
            }
        }
    }

    #[test]
    fn a_key_of_another_kind_is_not_taken_for_one_of_ours() {
        let seed = format!("0x{}", "5".repeat(64));
        let read =
            |kind: &str| decode_keyfile(Path::new("key"), format!("{{\"secretSeed\": \"{seed}\"{kind}}}").as_bytes());
        let plain = read("").unwrap().public();
        for kind in [", \"cryptoType\": 1", ", \"cryptoType\": null", ", \"cryptoType\": \"sr25519\""] {
            assert_eq!(read(kind).unwrap().public(), plain);
        }
        assert!(read(", \"cryptoType\": 0").err().unwrap().to_string().contains("not sr25519"));
        let marked = format!("\u{feff}{{\"secretSeed\": \"{seed}\"}}");
        assert_eq!(decode_keyfile(Path::new("key"), marked.as_bytes()).unwrap().public(), plain);
    }

    #[test]
    fn an_address_of_another_key_is_noticed() {
        let source = SecretSource::uri("//Alice");
        let bytes = encode_keyfile(&source.keypair().unwrap(), &source);
        let bob = Keypair::from_uri("//Bob").unwrap().public().to_string();
        let alice = source.keypair().unwrap().public().to_string();
        let changed = String::from_utf8(bytes.to_vec()).unwrap().replace(&alice, &bob);
        let outcome = decode_keyfile(Path::new("key"), changed.as_bytes());
        assert!(matches!(outcome, Err(WalletError::AddressMismatch { .. })));
    }

    proptest! {
        #[test]
        fn hostile_files_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode_keyfile(Path::new("key"), &bytes).is_err());
        }
    }
}
