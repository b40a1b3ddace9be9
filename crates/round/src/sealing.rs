//! Sealing: a payload is public only after nobody can copy it any more, and its bytes are fixed before that.
//!
//! ```text
//! sealed object = "TPS1" ‖ key commitment (32) ‖ XChaCha20-Poly1305(key, nonce 0, payload; associated data)
//! on the ledger = BLAKE3(sealed object) ‖ length of the sealed object
//! reveal        = "TPR1" ‖ key (32) ‖ signature (64)
//! ```
//! A key is used once, so the nonce may be fixed. The cipher alone does not commit to its key (two keys can open one
//! ciphertext to two texts), hence the key commitment, which the ledger's hash covers. Run, miner and window are in the
//! associated data: whoever commits to another's bytes cannot open them. The hash is that of the object alone, so that
//! whoever fetches it can check each part by itself.

use chacha20poly1305::aead::{Aead, KeyInit, Payload as AeadPayload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use parity_scale_codec::{Decode, Encode};
use templar_base::{ContentHash, Keypair, PublicKey, RunId, Signature, Window};

const SEALED_MAGIC: &[u8; 4] = b"TPS1";
const REVEAL_MAGIC: &[u8; 4] = b"TPR1";
const REVEAL_BYTES: usize = 4 + 32 + 64;
/// What sealing adds to a payload: magic, key commitment, authentication tag.
const SEALED_OVERHEAD: usize = 4 + 32 + 16;

/// A fresh secret for one payload; drawn by the caller from the system's random source.
#[derive(Clone, PartialEq, Eq)]
pub struct SealKey(pub [u8; 32]);

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(…)")
    }
}

/// What a miner commits on the ledger before the window ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct SealCommitment {
    /// Hash of the sealed object.
    pub digest: ContentHash,
    /// Length of the sealed object in bytes, so that its size is known before a download.
    pub bytes: u32,
}

/// A sealed payload and its commitment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The object for the bucket.
    pub object: Vec<u8>,
    /// What goes on the ledger.
    pub commitment: SealCommitment,
}

/// The key to a sealed payload, signed by its author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reveal {
    key: SealKey,
    signature: Signature,
}

/// A payload that was sealed in time, with the bytes that its author committed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The payload's bytes; not decoded yet.
    pub payload: Vec<u8>,
    /// Their hash.
    pub hash: ContentHash,
}

/// Why a sealed payload does not open. In each case the miner (or its bucket) is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The ledger's commitment is not in this form.
    #[error("the commitment on the ledger is malformed; the miner is at fault")]
    Commitment,
    /// The object is not as long as committed, or longer than a payload can be.
    #[error("the sealed object has {actual} bytes, committed were {committed} with a limit of {limit}")]
    Length {
        /// Its length.
        actual: u64,
        /// What the ledger says.
        committed: u64,
        /// The most that a sealed payload of this run can have.
        limit: u64,
    },
    /// The object is not what was committed.
    #[error("the sealed object's bytes do not match the commitment on the ledger")]
    Digest,
    /// The reveal is not in this form.
    #[error("the reveal is malformed")]
    Reveal,
    /// The reveal is not signed by the miner.
    #[error("the reveal's signature is not the miner's")]
    Signature,
    /// The key is not the one committed to, or the ciphertext was made with another.
    #[error("the key does not open the sealed object")]
    Key,
}

fn associated_data(run: RunId, hotkey: PublicKey, window: Window) -> Vec<u8> {
    [b"templar seal v1".as_slice(), run.as_bytes(), hotkey.as_bytes(), &window.0.to_le_bytes()].concat()
}

fn key_commitment(key: &SealKey) -> [u8; 32] {
    blake3::derive_key("templar seal v1 key commitment", &key.0)
}

fn reveal_message(run: RunId, window: Window, key: &SealKey) -> Vec<u8> {
    [b"templar reveal v1".as_slice(), run.as_bytes(), &window.0.to_le_bytes(), &key_commitment(key)].concat()
}

/// Length of the sealed form of a payload of `payload_bytes`.
pub(crate) const fn sealed_bytes(payload_bytes: usize) -> usize {
    payload_bytes + SEALED_OVERHEAD
}

/// Seals a payload with a key that is used for nothing else.
pub fn seal(payload: &[u8], key: &SealKey, run: RunId, hotkey: PublicKey, window: Window) -> Sealed {
    let data = associated_data(run, hotkey, window);
    let cipher = XChaCha20Poly1305::new(&key.0.into());
    let message = AeadPayload { msg: payload, aad: &data };
    // Encrypting to memory fails only for texts over 256 GiB, and a payload's length fits in 32 bits.
    let ciphertext = cipher.encrypt(&XNonce::default(), message).expect("a payload is far under the cipher's limit");
    let object = [SEALED_MAGIC.as_slice(), &key_commitment(key), &ciphertext].concat();
    let commitment = SealCommitment { digest: ContentHash::of(&object), bytes: object.len() as u32 };
    Sealed { object, commitment }
}

impl SealCommitment {
    /// Reads a commitment from the ledger, and refuses lengths that no payload of the run has.
    pub fn from_ledger(bytes: &[u8], max_payload_bytes: usize) -> Result<Self, SealError> {
        let commitment = parse_exactly::<Self>(bytes).ok_or(SealError::Commitment)?;
        let limit = sealed_bytes(max_payload_bytes) as u64;
        if u64::from(commitment.bytes) > limit {
            let actual = u64::from(commitment.bytes);
            return Err(SealError::Length { actual, committed: actual, limit });
        }
        Ok(commitment)
    }
}

impl Reveal {
    /// Signs the key for publication.
    pub fn new(key: SealKey, run: RunId, window: Window, author: &Keypair) -> Self {
        let signature = author.sign(&reveal_message(run, window, &key));
        Self { key, signature }
    }

    /// The key.
    pub fn key(&self) -> &SealKey {
        &self.key
    }

    /// Whether it is the key that a sealed object names: a miner may sign any key.
    pub fn fits(&self, object: &[u8]) -> bool {
        object.get(SEALED_MAGIC.len()..SEALED_MAGIC.len() + 32) == Some(key_commitment(&self.key).as_slice())
    }

    /// The object for the bucket.
    pub fn to_bytes(&self) -> Vec<u8> {
        [REVEAL_MAGIC.as_slice(), &self.key.0, &self.signature.0].concat()
    }

    /// The most bytes that a reveal has.
    pub const MAX_BYTES: usize = REVEAL_BYTES;

    /// Reads a reveal and checks that `author` signed it.
    pub fn from_bytes(bytes: &[u8], run: RunId, window: Window, author: PublicKey) -> Result<Self, SealError> {
        let bytes: &[u8; REVEAL_BYTES] = bytes.try_into().map_err(|_| SealError::Reveal)?;
        if &bytes[..4] != REVEAL_MAGIC {
            return Err(SealError::Reveal);
        }
        let (mut key, mut signature) = ([0; 32], [0; 64]);
        key.copy_from_slice(&bytes[4..36]);
        signature.copy_from_slice(&bytes[36..]);
        let reveal = Self { key: SealKey(key), signature: Signature(signature) };
        if !author.verify(&reveal_message(run, window, &reveal.key), &reveal.signature) {
            return Err(SealError::Signature);
        }
        Ok(reveal)
    }
}

/// Opens a sealed object with its reveal, against what the ledger holds.
pub fn open(
    object: &[u8],
    reveal: &Reveal,
    commitment: &SealCommitment,
    run: RunId,
    hotkey: PublicKey,
    window: Window,
) -> Result<Opened, SealError> {
    if object.len() as u64 != u64::from(commitment.bytes) || object.len() < SEALED_OVERHEAD {
        let committed = u64::from(commitment.bytes);
        return Err(SealError::Length { actual: object.len() as u64, committed, limit: committed });
    }
    if ContentHash::of(object) != commitment.digest || &object[..4] != SEALED_MAGIC {
        return Err(SealError::Digest);
    }
    if object[4..36] != key_commitment(&reveal.key) {
        return Err(SealError::Key);
    }
    let data = associated_data(run, hotkey, window);
    let message = AeadPayload { msg: &object[36..], aad: &data };
    let cipher = XChaCha20Poly1305::new(&reveal.key.0.into());
    let payload = cipher.decrypt(&XNonce::default(), message).map_err(|_| SealError::Key)?;
    let hash = ContentHash::of(&payload);
    Ok(Opened { payload, hash })
}

/// Decodes SCALE bytes that must hold exactly one value.
pub(crate) fn parse_exactly<T: Decode>(mut bytes: &[u8]) -> Option<T> {
    let value = T::decode(&mut bytes).ok()?;
    bytes.is_empty().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RUN: RunId = RunId::new([1; 32]);
    const WINDOW: Window = Window(5);

    fn miner() -> Keypair {
        Keypair::from_uri("//miner").unwrap()
    }

    #[test]
    fn debug_tells_no_key_before_it_is_revealed() {
        let told = format!("{:?}", SealKey([0xa7; 32]));
        assert!(!told.contains("a7") && !told.contains("167"), "{told}");
    }

    #[test]
    fn what_was_sealed_opens_to_the_same_bytes() {
        let (key, miner) = (SealKey([7; 32]), miner());
        let sealed = seal(b"payload", &key, RUN, miner.public(), WINDOW);
        let bytes = Reveal::new(key, RUN, WINDOW, &miner).to_bytes();
        let reveal = Reveal::from_bytes(&bytes, RUN, WINDOW, miner.public()).unwrap();
        let opened = open(&sealed.object, &reveal, &sealed.commitment, RUN, miner.public(), WINDOW).unwrap();
        assert_eq!(opened.payload, b"payload");
        assert_eq!(opened.hash, ContentHash::of(b"payload"));
    }

    #[test]
    fn another_miner_cannot_pass_the_object_off_as_its_own() {
        let (key, author, thief) = (SealKey([7; 32]), miner(), Keypair::from_uri("//thief").unwrap());
        let sealed = seal(b"payload", &key, RUN, author.public(), WINDOW);
        // The thief commits to the author's bytes and reveals the author's key once it is public.
        let commitment = sealed.commitment;
        let reveal = Reveal::new(key, RUN, WINDOW, &thief);
        let result = open(&sealed.object, &reveal, &commitment, RUN, thief.public(), WINDOW);
        assert_eq!(result, Err(SealError::Key));
    }

    #[test]
    fn changed_bytes_windows_keys_and_signatures_are_refused() {
        let (key, miner) = (SealKey([7; 32]), miner());
        let sealed = seal(b"payload", &key, RUN, miner.public(), WINDOW);
        let reveal = Reveal::new(key, RUN, WINDOW, &miner);
        let open = |object: &[u8], reveal: &Reveal, window| {
            open(object, reveal, &sealed.commitment, RUN, miner.public(), window)
        };
        for position in 0..sealed.object.len() {
            let mut object = sealed.object.clone();
            object[position] ^= 1;
            assert_eq!(open(&object, &reveal, WINDOW), Err(SealError::Digest));
        }
        assert_eq!(open(&sealed.object, &reveal, Window(6)), Err(SealError::Key));
        let wrong = Reveal::new(SealKey([8; 32]), RUN, WINDOW, &miner);
        assert_eq!(open(&sealed.object, &wrong, WINDOW), Err(SealError::Key));
        let mut bytes = reveal.to_bytes();
        bytes[40] ^= 1;
        assert_eq!(Reveal::from_bytes(&bytes, RUN, WINDOW, miner.public()), Err(SealError::Signature));
        assert!(matches!(open(&sealed.object[1..], &reveal, WINDOW), Err(SealError::Length { .. })));
    }

    #[test]
    fn a_commitment_to_more_than_a_payload_can_have_is_refused_before_any_download() {
        let commitment = SealCommitment { digest: ContentHash::default(), bytes: 2_000 }.encode();
        assert!(SealCommitment::from_ledger(&commitment, 2_000).is_ok());
        assert!(matches!(SealCommitment::from_ledger(&commitment, 1_000), Err(SealError::Length { .. })));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Reveal::from_bytes(&bytes, RUN, WINDOW, miner().public()).is_err());
            let _ = SealCommitment::from_ledger(&bytes, 1_000);
            let reveal = Reveal::new(SealKey([1; 32]), RUN, WINDOW, &miner());
            let commitment = SealCommitment { digest: ContentHash::default(), bytes: bytes.len() as u32 };
            prop_assert!(open(&bytes, &reveal, &commitment, RUN, miner().public(), WINDOW).is_err());
        }
    }
}
