//! sr25519 keys and signatures, derived and addressed as the chain does.
//!
//! A secret comes from 32 bytes, from a BIP-39 phrase (Substrate's rule: the key is stretched from the entropy, not
//! from the words), or from a phrase with derivation steps (`//hard`, `/soft`). Addresses are SS58 with prefix 42.
//! Signatures use the context `substrate`, so that the same keys work on the real chain.

use parity_scale_codec::{Decode, Encode};
use schnorrkel::context::{attach_rng, signing_context};
use schnorrkel::derive::{ChainCode, Derivation};
use schnorrkel::{ExpansionMode, MiniSecretKey, SecretKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// Network prefix of generic Substrate addresses, which Bittensor uses.
const SS58_PREFIX: u8 = 42;
const SIGNING_CONTEXT: &[u8] = b"substrate";
/// The phrase behind the well-known development keys (`//Alice` and so on); worth nothing outside test networks.
pub const DEVELOPMENT_PHRASE: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";

/// A key that cannot be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// An address that does not decode.
    #[error("`{0}` is not an SS58 address: {1}")]
    Address(String, &'static str),
    /// A phrase that is not a BIP-39 phrase; the phrase itself is never repeated.
    #[error("the secret phrase is not valid: {0}; check the spelling and the order of its words")]
    Phrase(String),
    /// Neither a phrase nor a derivation path.
    #[error("there is no secret phrase: nothing was given")]
    Empty,
    /// Bytes that are not a secret key.
    #[error("the secret key is malformed: {0}")]
    Secret(&'static str),
    /// A derivation path that cannot be followed.
    #[error("derivation path is malformed: write //hard and /soft steps, such as //Alice")]
    Path,
}

/// A public key: an account or a node of the network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct PublicKey([u8; 32]);

/// An sr25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Signature(pub [u8; 64]);

/// A secret key and its public key. The secret is wiped when dropped and never printed.
///
/// ```
/// use templar_base::Keypair;
///
/// let alice = Keypair::from_uri("//Alice").unwrap();
/// assert_eq!(alice.public().to_string(), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
/// assert!(alice.public().verify(b"hello", &alice.sign(b"hello")));
/// ```
#[derive(Clone)]
pub struct Keypair {
    inner: schnorrkel::Keypair,
}

impl PublicKey {
    /// The key with these bytes. Whether they are a point of the curve shows when a signature is checked.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads an SS58 address with prefix 42.
    pub fn from_ss58(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let wrong = |reason| KeyError::Address(text.chars().take(64).collect(), reason);
        if text.len() > 64 {
            return Err(wrong("it is too long"));
        }
        let bytes = bs58::decode(text).into_vec().map_err(|_| wrong("it is not base58"))?;
        if bytes.len() != 35 {
            return Err(wrong("it has the wrong length"));
        }
        // The checksum first: a typing error can change the network as well.
        if ss58_checksum(&bytes[..33]) != bytes[33..] {
            return Err(wrong("the checksum does not match; check for a typing error"));
        }
        if bytes[0] != SS58_PREFIX {
            return Err(wrong("it belongs to another network; templar's addresses begin with 5"));
        }
        let mut key = [0; 32];
        key.copy_from_slice(&bytes[1..33]);
        Ok(Self(key))
    }

    /// Whether `signature` is this key's signature of `message`.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        let Ok(key) = schnorrkel::PublicKey::from_bytes(&self.0) else { return false };
        let Ok(signature) = schnorrkel::Signature::from_bytes(&signature.0) else { return false };
        key.verify_simple(SIGNING_CONTEXT, message, &signature).is_ok()
    }

    /// The first characters of the address, for tables.
    pub fn short(&self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

fn ss58_checksum(prefixed: &[u8]) -> [u8; 2] {
    let digest = blake2b(&[b"SS58PRE", prefixed].concat());
    [digest[0], digest[1]]
}

/// BLAKE2b with a 64-byte digest, as SS58 wants it.
fn blake2b(bytes: &[u8]) -> [u8; 64] {
    use blake2::Digest;
    blake2::Blake2b512::digest(bytes).into()
}

/// BLAKE2b with a 32-byte digest, as derivation wants it for long path elements.
fn blake2b_256(bytes: &[u8]) -> [u8; 32] {
    use blake2::Digest;
    blake2::Blake2b::<blake2::digest::consts::U32>::digest(bytes).into()
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![SS58_PREFIX];
        bytes.extend_from_slice(&self.0);
        let checksum = ss58_checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        f.write_str(&bs58::encode(bytes).into_string())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.short())
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_ss58(text)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}…)", hex::encode(&self.0[..4]))
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let mut bytes = [0; 64];
        hex::decode_to_slice(text.as_ref(), &mut bytes).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes))
    }
}

impl Keypair {
    /// The key that grows from a 32-byte seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        // `from_bytes` refuses only wrong lengths, and this length is right by type.
        let mini = MiniSecretKey::from_bytes(seed.as_slice()).expect("a seed of 32 bytes");
        Self { inner: mini.expand_to_keypair(ExpansionMode::Ed25519) }
    }

    /// The key of an expanded 64-byte secret, as wallet files hold it.
    pub fn from_expanded_secret(secret: &[u8]) -> Result<Self, KeyError> {
        let secret = SecretKey::from_bytes(secret).or_else(|_| SecretKey::from_ed25519_bytes(secret));
        let secret = secret.map_err(|_| KeyError::Secret("64 bytes of an sr25519 secret are wanted"))?;
        Ok(Self { inner: secret.to_keypair() })
    }

    /// The key of a BIP-39 phrase of 12 to 24 English words.
    pub fn from_phrase(phrase: &str) -> Result<Self, KeyError> {
        Ok(Self::from_seed(*seed_of_phrase(phrase)?))
    }

    /// The key of a URI: a phrase and derivation steps. Steps without a phrase start from the development phrase, whose
    /// keys the whole world has; nothing at all is an error.
    pub fn from_uri(uri: &str) -> Result<Self, KeyError> {
        if uri.trim().is_empty() {
            return Err(KeyError::Empty);
        }
        let start = uri.find('/').unwrap_or(uri.len());
        let phrase = if start == 0 { DEVELOPMENT_PHRASE } else { &uri[..start] };
        let mut mini = MiniSecretKey::from_bytes(seed_of_phrase(phrase)?.as_slice())
            .map_err(|_| KeyError::Secret("the phrase gives no key"))?;
        let mut soft: Option<schnorrkel::Keypair> = None;
        for (hard, code) in derivation_steps(&uri[start..])? {
            let chain_code = Some(ChainCode(code));
            match (hard, &mut soft) {
                (true, None) => {
                    mini = mini.expand(ExpansionMode::Ed25519).hard_derive_mini_secret_key(chain_code, b"").0;
                }
                (true, Some(pair)) => {
                    mini = pair.secret.hard_derive_mini_secret_key(chain_code, b"").0;
                    soft = None;
                }
                (false, pair) => {
                    let current = pair.take().unwrap_or_else(|| mini.expand_to_keypair(ExpansionMode::Ed25519));
                    *pair = Some(current.derived_key_simple(ChainCode(code), b"").0);
                }
            }
        }
        Ok(Self { inner: soft.unwrap_or_else(|| mini.expand_to_keypair(ExpansionMode::Ed25519)) })
    }

    /// A new phrase of 12 words from 16 bytes that the caller drew from the system's random source.
    pub fn phrase_from_entropy(entropy: [u8; 16]) -> Zeroizing<String> {
        // 16 bytes are one of the lengths that BIP-39 allows, so this cannot fail.
        Zeroizing::new(bip39::Mnemonic::from_entropy(&entropy).expect("16 bytes of entropy").to_string())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.inner.public.to_bytes())
    }

    /// The expanded 64-byte secret, for wallet files only.
    pub fn expanded_secret(&self) -> Zeroizing<[u8; 64]> {
        Zeroizing::new(self.inner.secret.to_bytes())
    }

    /// The expanded secret in the form in which Bittensor's wallet files hold it.
    pub fn expanded_secret_ed25519(&self) -> Zeroizing<[u8; 64]> {
        Zeroizing::new(self.inner.secret.to_ed25519_bytes())
    }

    /// Signs `message`. Equal inputs give equal signatures: the nonce comes from the secret and the message alone,
    /// so signing needs no random source and a replay gives the same bytes.
    pub fn sign(&self, message: &[u8]) -> Signature {
        let transcript = signing_context(SIGNING_CONTEXT).bytes(message);
        Signature(self.inner.sign(attach_rng(transcript, NoExtraEntropy)).to_bytes())
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({})", self.public().short())
    }
}

/// schnorrkel mixes the secret nonce, the message and a random source; the first two suffice (as in Ed25519).
struct NoExtraEntropy;

impl rand_core::RngCore for NoExtraEntropy {
    fn next_u32(&mut self) -> u32 {
        0
    }
    fn next_u64(&mut self) -> u64 {
        0
    }
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        bytes.fill(0);
        Ok(())
    }
}

impl rand_core::CryptoRng for NoExtraEntropy {}

/// Substrate's rule: PBKDF2 over the entropy (not the words), 2048 rounds, the first half of the output.
fn seed_of_phrase(phrase: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let words = phrase.split_whitespace().collect::<Vec<_>>().join(" ");
    let mnemonic = bip39::Mnemonic::parse_in_normalized(bip39::Language::English, &words)
        .map_err(|error| KeyError::Phrase(plain_phrase_error(&error)))?;
    let mut stretched = Zeroizing::new([0u8; 64]);
    pbkdf2::pbkdf2_hmac::<sha2::Sha512>(&mnemonic.to_entropy(), b"mnemonic", 2048, stretched.as_mut_slice());
    let mut seed = Zeroizing::new([0u8; 32]);
    seed.copy_from_slice(&stretched[..32]);
    Ok(seed)
}

/// Says what is wrong without repeating a word of the secret.
fn plain_phrase_error(error: &bip39::Error) -> String {
    match error {
        bip39::Error::BadWordCount(count) => format!("a phrase has 12, 15, 18, 21 or 24 words, this one has {count}"),
        bip39::Error::UnknownWord(place) => format!("word {} is not in the English list", place + 1),
        bip39::Error::InvalidChecksum => "its words do not fit each other (the checksum does not match)".to_owned(),
        _ => "it is not a BIP-39 phrase".to_owned(),
    }
}

/// Splits `//hard/soft` into steps with their chain codes.
fn derivation_steps(path: &str) -> Result<Vec<(bool, [u8; 32])>, KeyError> {
    let mut steps = Vec::new();
    let mut rest = path;
    while let Some(after) = rest.strip_prefix('/') {
        let (hard, after) = match after.strip_prefix('/') {
            Some(after) => (true, after),
            None => (false, after),
        };
        let end = after.find('/').unwrap_or(after.len());
        if end == 0 {
            return Err(KeyError::Path);
        }
        steps.push((hard, chain_code(&after[..end])));
        rest = &after[end..];
    }
    if rest.is_empty() { Ok(steps) } else { Err(KeyError::Path) }
}

/// A number is encoded as u64, a word as SCALE string; what is longer than 32 bytes is hashed.
fn chain_code(element: &str) -> [u8; 32] {
    let encoded = match element.parse::<u64>() {
        Ok(number) => number.encode(),
        Err(_) => element.encode(),
    };
    let mut code = [0; 32];
    if encoded.len() > 32 {
        code = blake2b_256(&encoded);
    } else {
        code[..encoded.len()].copy_from_slice(&encoded);
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_tells_no_secret() {
        let key = Keypair::from_seed([0xa7; 32]);
        assert_eq!(format!("{key:?}"), format!("Keypair({})", key.public().short()));
    }

    /// Addresses of the development keys as every Substrate tool prints them.
    #[test]
    fn development_keys_have_the_addresses_that_the_chain_gives_them() {
        for (uri, address) in [
            ("//Alice", "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"),
            ("//Bob", "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"),
            ("//Charlie", "5FLSigC9HGRKVhB9FiEo4Y3koPsNmBmLJbpXg2mp1hXcS59Y"),
            ("//Alice//stash", "5GNJqTPyNqANBkUVMN1LPPrxXnFouWXoe2wNSmmEoLctxiZY"),
        ] {
            let key = Keypair::from_uri(uri).unwrap().public();
            assert_eq!(key.to_string(), address);
            assert_eq!(PublicKey::from_ss58(address).unwrap(), key);
        }
    }

    #[test]
    fn soft_and_hard_steps_mix() {
        let soft = Keypair::from_uri("//Alice/soft").unwrap();
        let both = Keypair::from_uri("//Alice/soft//7").unwrap();
        assert_ne!(soft.public(), both.public());
        for wrong in ["//", "//Alice/", "Alice", "//Alice///x", "", " \n"] {
            assert!(Keypair::from_uri(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_signature_holds_for_its_key_and_message_only_and_is_reproducible() {
        let (alice, bob) = (Keypair::from_uri("//Alice").unwrap(), Keypair::from_uri("//Bob").unwrap());
        let signature = alice.sign(b"hello");
        assert_eq!(signature, alice.sign(b"hello"));
        assert!(alice.public().verify(b"hello", &signature));
        assert!(!alice.public().verify(b"hullo", &signature));
        assert!(!bob.public().verify(b"hello", &signature));
        assert!(!PublicKey::new([255; 32]).verify(b"hello", &signature));
    }

    #[test]
    fn an_expanded_secret_gives_the_same_key() {
        let pair = Keypair::from_seed([9; 32]);
        assert_eq!(Keypair::from_expanded_secret(pair.expanded_secret().as_slice()).unwrap().public(), pair.public());
        assert!(Keypair::from_expanded_secret(&[1; 63]).is_err());
    }

    #[test]
    fn phrases_round_trip_and_their_errors_keep_the_secret() {
        let phrase = Keypair::phrase_from_entropy([3; 16]);
        assert!(Keypair::from_phrase(&phrase).is_ok());
        let error = Keypair::from_phrase("secretword secretword").unwrap_err().to_string();
        assert!(!error.contains("secretword"), "{error}");
    }

    #[test]
    fn a_typing_error_is_told_from_another_network_and_spaces_around_are_none() {
        let address = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
        assert_eq!(PublicKey::from_ss58(&format!(" {address}\n")), PublicKey::from_ss58(address));
        let reason = |text: &str| PublicKey::from_ss58(text).unwrap_err().to_string();
        for place in 1..address.len() {
            let typo: String =
                address.chars().enumerate().map(|(at, own)| if at == place { 'x' } else { own }).collect();
            assert!(reason(&typo).contains("typing error") || reason(&typo).contains("length"), "{typo}");
        }
        // Polkadot's address of the same key.
        assert!(reason("15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5").contains("another network"));
    }

    #[test]
    fn wrong_addresses_are_refused() {
        for wrong in ["", "5Grw", "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQZ", "0OIl"] {
            assert!(PublicKey::from_ss58(wrong).is_err(), "{wrong}");
        }
    }
}
