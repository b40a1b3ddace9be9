//! A shard: a run of tokens in a file that is named by its hash.
//!
//! ```text
//! offset  bytes  what
//!      0      8  "templtok"
//!      8      2  format version, little-endian: 1
//!     10      2  bytes of a token, little-endian: 2 or 4
//!     12      4  zero
//!     16      8  number of tokens, little-endian
//!     24      …  the tokens, little-endian
//! ```

use std::io::{self, Read};
use templar_base::ContentHash;

const MAGIC: &[u8; 8] = b"templtok";
const VERSION: u16 = 1;
pub(crate) const HEADER_BYTES: usize = 24;
/// What is read at a time while a shard is checked; a multiple of both widths.
const BLOCK_BYTES: usize = 1 << 20;

/// Bytes of a token: two where the vocabulary allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    Two,
    Four,
}

impl Width {
    /// The width that holds all ids of the vocabulary.
    pub(crate) fn of_vocabulary(vocab_size: u32) -> Self {
        if vocab_size <= 1 << 16 { Self::Two } else { Self::Four }
    }

    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// Appends the tokens of these bytes.
    pub(crate) fn decode(self, bytes: &[u8], out: &mut Vec<u32>) {
        match self {
            Self::Two => {
                let (tokens, _) = bytes.as_chunks::<2>();
                out.extend(tokens.iter().map(|token| u32::from(u16::from_le_bytes(*token))));
            }
            Self::Four => {
                let (tokens, _) = bytes.as_chunks::<4>();
                out.extend(tokens.iter().map(|token| u32::from_le_bytes(*token)));
            }
        }
    }

    fn encode(self, ids: &[u32], out: &mut Vec<u8>) {
        match self {
            // The tokenizer keeps ids under the vocabulary that the width was chosen for.
            Self::Two => ids.iter().for_each(|id| out.extend_from_slice(&(*id as u16).to_le_bytes())),
            Self::Four => ids.iter().for_each(|id| out.extend_from_slice(&id.to_le_bytes())),
        }
    }
}

/// The file of a shard with these tokens.
pub(crate) fn encode_shard(ids: &[u32], width: Width) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + ids.len() * width.bytes());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(width.bytes() as u16).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(ids.len() as u64).to_le_bytes());
    width.encode(ids, &mut bytes);
    bytes
}

/// What a shard's file turned out to be, read once from its start to its end.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The hash of all its bytes.
    pub(crate) hash: ContentHash,
    /// The number of its tokens, or what is wrong inside.
    pub(crate) tokens: Result<u64, ShardError>,
}

/// Reads a shard's file to its end, in constant memory. `vocab_size` bounds the ids.
pub(crate) fn check_shard(mut file: impl Read, vocab_size: u32) -> io::Result<Checked> {
    let width = Width::of_vocabulary(vocab_size);
    let (mut hasher, mut block, mut ids) = (blake3::Hasher::new(), vec![0; BLOCK_BYTES], Vec::new());
    let head = read_full(&mut file, &mut block[..HEADER_BYTES])?;
    hasher.update(&block[..head]);
    let stated =
        if head == HEADER_BYTES { read_header(&block[..HEADER_BYTES], width) } else { Err(ShardError::NoHeader) };
    let (mut body, mut wrong) = (0u64, None);
    loop {
        let length = read_full(&mut file, &mut block)?;
        if length == 0 {
            break;
        }
        hasher.update(&block[..length]);
        body += length as u64;
        ids.clear();
        width.decode(&block[..length], &mut ids);
        wrong = wrong.or_else(|| ids.iter().copied().find(|id| *id >= vocab_size));
    }
    let tokens = stated.and_then(|stated| match wrong {
        _ if stated.checked_mul(width.bytes() as u64) != Some(body) => Err(ShardError::Length { stated, bytes: body }),
        Some(id) => Err(ShardError::Token { id, vocab_size }),
        None => Ok(stated),
    });
    Ok(Checked { hash: ContentHash::new(*hasher.finalize().as_bytes()), tokens })
}

/// Fills the buffer, or as much of it as there is.
fn read_full(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The number of tokens that a header of [`HEADER_BYTES`] states.
fn read_header(header: &[u8], width: Width) -> Result<u64, ShardError> {
    if &header[..8] != MAGIC || header[12..16] != [0; 4] {
        return Err(ShardError::NoHeader);
    }
    let version = u16::from_le_bytes([header[8], header[9]]);
    if version != VERSION {
        return Err(ShardError::Version { version });
    }
    let stated = u16::from_le_bytes([header[10], header[11]]);
    if usize::from(stated) != width.bytes() {
        return Err(ShardError::Width { stated, expected: width.bytes() as u16 });
    }
    let mut count = [0; 8];
    count.copy_from_slice(&header[16..24]);
    Ok(u64::from_le_bytes(count))
}

/// The tokens of a shard's file; `vocab_size` bounds the ids.
pub fn read_shard(bytes: &[u8], vocab_size: u32) -> Result<Vec<u32>, ShardError> {
    let width = Width::of_vocabulary(vocab_size);
    let (header, body) = bytes.split_at_checked(HEADER_BYTES).ok_or(ShardError::NoHeader)?;
    let stated = read_header(header, width)?;
    if stated.checked_mul(width.bytes() as u64) != Some(body.len() as u64) {
        return Err(ShardError::Length { stated, bytes: body.len() as u64 });
    }
    let mut ids = Vec::with_capacity(body.len() / width.bytes());
    width.decode(body, &mut ids);
    match ids.iter().copied().find(|id| *id >= vocab_size) {
        Some(id) => Err(ShardError::Token { id, vocab_size }),
        None => Ok(ids),
    }
}

/// The bytes of a shard's file with this many tokens of this vocabulary.
pub(crate) fn shard_bytes(tokens: u64, vocab_size: u32) -> Option<u64> {
    tokens.checked_mul(Width::of_vocabulary(vocab_size).bytes() as u64)?.checked_add(HEADER_BYTES as u64)
}

/// What is wrong inside a shard; its author is at fault, since its hash was right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// It does not start as shards do.
    #[error("it does not start with the header of a token shard")]
    NoHeader,
    /// It is of another format version.
    #[error("its format version is {version}, this program reads {VERSION}")]
    Version {
        /// The version it states.
        version: u16,
    },
    /// Its tokens have another width.
    #[error("its tokens have {stated} bytes, the vocabulary asks for {expected}")]
    Width {
        /// The width it states.
        stated: u16,
        /// The width that the vocabulary asks for.
        expected: u16,
    },
    /// It is longer or shorter than it says.
    #[error("it states {stated} tokens, and {bytes} bytes follow")]
    Length {
        /// Tokens that it states.
        stated: u64,
        /// Bytes behind the header.
        bytes: u64,
    },
    /// A token is outside the vocabulary.
    #[error("it holds token {id}, outside the vocabulary of {vocab_size}")]
    Token {
        /// The token.
        id: u32,
        /// Tokens must be under it.
        vocab_size: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the checker of files and the reader of bytes make of the same shard.
    fn check(bytes: &[u8], vocab_size: u32) -> Result<Vec<u32>, ShardError> {
        let checked = check_shard(bytes, vocab_size).unwrap();
        assert_eq!(checked.hash, ContentHash::of(bytes));
        let read = read_shard(bytes, vocab_size);
        assert_eq!(checked.tokens, read.clone().map(|tokens| tokens.len() as u64));
        read
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn shards_round_trip(ids in proptest::collection::vec(0u32..70_000, 0..300)) {
            for vocab_size in [70_000, 65_536] {
                let ids: Vec<u32> = ids.iter().map(|id| id % vocab_size).collect();
                let bytes = encode_shard(&ids, Width::of_vocabulary(vocab_size));
                prop_assert_eq!(shard_bytes(ids.len() as u64, vocab_size), Some(bytes.len() as u64));
                prop_assert_eq!(check(&bytes, vocab_size), Ok(ids));
            }
        }

        #[test]
        fn hostile_shards_are_refused_without_harm(
            bytes in proptest::collection::vec(any::<u8>(), 0..80), flip in 0usize..40, value: u8,
        ) {
            let _ = check(&bytes, 300);
            let mut honest = encode_shard(&[1, 2, 299], Width::Two);
            if let Some(byte) = honest.get_mut(flip) {
                *byte = value;
            }
            if let Ok(tokens) = check(&honest, 300) {
                prop_assert!(tokens.len() == 3 && tokens.iter().all(|token| *token < 300));
            }
        }
    }

    #[test]
    fn each_fault_has_its_name() {
        let read = |bytes: &[u8]| check(bytes, 300).unwrap_err();
        let good = encode_shard(&[1, 2, 3], Width::Two);
        assert_eq!(read(&good[..20]), ShardError::NoHeader);
        assert_eq!(read(&good[..28]), ShardError::Length { stated: 3, bytes: 4 });
        assert_eq!(read(&encode_shard(&[1], Width::Four)), ShardError::Width { stated: 4, expected: 2 });
        assert_eq!(read(&encode_shard(&[300], Width::Two)), ShardError::Token { id: 300, vocab_size: 300 });
        let mut huge = good.clone();
        huge[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(read(&huge), ShardError::Length { stated: u64::MAX, bytes: 6 });
    }

    #[test]
    fn a_fault_in_any_block_of_a_long_shard_is_found() {
        let mut ids = vec![7; 3 * BLOCK_BYTES];
        assert_eq!(check(&encode_shard(&ids, Width::Two), 300).unwrap().len(), ids.len());
        ids[2 * BLOCK_BYTES + 5] = 301;
        let error = check(&encode_shard(&ids, Width::Two), 300).unwrap_err();
        assert_eq!(error, ShardError::Token { id: 301, vocab_size: 300 });
    }
}
