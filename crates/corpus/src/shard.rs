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

const MAGIC: &[u8; 8] = b"templtok";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 24;

/// Tokens in memory: two bytes each where the vocabulary allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tokens {
    Short(Vec<u16>),
    Long(Vec<u32>),
}

impl Tokens {
    /// No tokens yet, of a width that holds all ids of the vocabulary.
    pub(crate) fn for_vocabulary(vocab_size: u32) -> Self {
        if vocab_size <= 1 << 16 { Self::Short(Vec::new()) } else { Self::Long(Vec::new()) }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Short(tokens) => tokens.len(),
            Self::Long(tokens) => tokens.len(),
        }
    }

    pub(crate) fn bytes_per_token(&self) -> usize {
        match self {
            Self::Short(_) => 2,
            Self::Long(_) => 4,
        }
    }

    /// The tokens of a range, which the caller keeps inside.
    pub(crate) fn range(&self, start: usize, count: usize) -> Vec<u32> {
        let mut out = Vec::with_capacity(count);
        self.copy_range(start, count, &mut out);
        out
    }

    pub(crate) fn copy_range(&self, start: usize, count: usize, out: &mut Vec<u32>) {
        match self {
            Self::Short(tokens) => out.extend(tokens[start..start + count].iter().map(|token| u32::from(*token))),
            Self::Long(tokens) => out.extend_from_slice(&tokens[start..start + count]),
        }
    }

    /// Adds ids; the tokenizer keeps them under the vocabulary that the width was chosen for.
    pub(crate) fn extend(&mut self, ids: &[u32]) {
        match self {
            Self::Short(tokens) => tokens.extend(ids.iter().map(|id| *id as u16)),
            Self::Long(tokens) => tokens.extend_from_slice(ids),
        }
    }

    /// Takes the first `count` tokens away.
    pub(crate) fn take_front(&mut self, count: usize) -> Tokens {
        match self {
            Self::Short(tokens) => Self::Short(tokens.drain(..count).collect()),
            Self::Long(tokens) => Self::Long(tokens.drain(..count).collect()),
        }
    }

    /// The shard's file.
    pub(crate) fn to_shard(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.len() * self.bytes_per_token());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(self.bytes_per_token() as u16).to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&(self.len() as u64).to_le_bytes());
        match self {
            Self::Short(tokens) => tokens.iter().for_each(|token| bytes.extend_from_slice(&token.to_le_bytes())),
            Self::Long(tokens) => tokens.iter().for_each(|token| bytes.extend_from_slice(&token.to_le_bytes())),
        }
        bytes
    }

    /// Adds the tokens of a shard's file; all or nothing. `vocab_size` bounds the ids.
    pub(crate) fn append_shard(&mut self, bytes: &[u8], vocab_size: u32) -> Result<u64, ShardError> {
        let width = self.bytes_per_token();
        let (header, body) = bytes.split_at_checked(HEADER_BYTES).ok_or(ShardError::NoHeader)?;
        if &header[..8] != MAGIC || header[12..16] != [0; 4] {
            return Err(ShardError::NoHeader);
        }
        let version = u16::from_le_bytes([header[8], header[9]]);
        if version != VERSION {
            return Err(ShardError::Version { version });
        }
        let stated_width = u16::from_le_bytes([header[10], header[11]]);
        if usize::from(stated_width) != width {
            return Err(ShardError::Width { stated: stated_width, expected: width as u16 });
        }
        // The split above proved that the slice has 24 bytes.
        let mut count_bytes = [0; 8];
        count_bytes.copy_from_slice(&header[16..24]);
        let count = u64::from_le_bytes(count_bytes);
        if count.checked_mul(width as u64) != Some(body.len() as u64) {
            return Err(ShardError::Length { stated: count, bytes: body.len() as u64 });
        }
        let before = self.len();
        match self {
            Self::Short(tokens) => {
                tokens.extend(body.chunks_exact(2).map(|token| u16::from_le_bytes([token[0], token[1]])));
                if let Some(id) = tokens[before..].iter().copied().find(|id| u32::from(*id) >= vocab_size) {
                    tokens.truncate(before);
                    return Err(ShardError::Token { id: u32::from(id), vocab_size });
                }
            }
            Self::Long(tokens) => {
                tokens.extend(
                    body.chunks_exact(4).map(|token| u32::from_le_bytes([token[0], token[1], token[2], token[3]])),
                );
                if let Some(id) = tokens[before..].iter().copied().find(|id| *id >= vocab_size) {
                    tokens.truncate(before);
                    return Err(ShardError::Token { id, vocab_size });
                }
            }
        }
        Ok(count)
    }
}

/// The tokens of a shard's file; `vocab_size` bounds the ids.
pub fn read_shard(bytes: &[u8], vocab_size: u32) -> Result<Vec<u32>, ShardError> {
    let mut tokens = Tokens::for_vocabulary(vocab_size);
    tokens.append_shard(bytes, vocab_size)?;
    Ok(tokens.range(0, tokens.len()))
}

/// The bytes of a shard's file with so many tokens of this vocabulary.
pub(crate) fn shard_bytes(tokens: u64, vocab_size: u32) -> Option<u64> {
    let width = if vocab_size <= 1 << 16 { 2 } else { 4 };
    tokens.checked_mul(width)?.checked_add(HEADER_BYTES as u64)
}

/// What is wrong inside a shard; its author is at fault, since its hash was right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn shards_round_trip(ids in proptest::collection::vec(0u32..70_000, 0..300)) {
            for vocab_size in [70_000, 65_536] {
                let ids: Vec<u32> = ids.iter().map(|id| id % vocab_size).collect();
                let mut tokens = Tokens::for_vocabulary(vocab_size);
                tokens.extend(&ids);
                let bytes = tokens.to_shard();
                prop_assert_eq!(shard_bytes(ids.len() as u64, vocab_size), Some(bytes.len() as u64));
                let mut read = Tokens::for_vocabulary(vocab_size);
                prop_assert_eq!(read.append_shard(&bytes, vocab_size), Ok(ids.len() as u64));
                prop_assert_eq!(read.range(0, ids.len()), ids);
            }
        }

        #[test]
        fn hostile_shards_are_refused_without_harm(
            bytes in proptest::collection::vec(any::<u8>(), 0..80), flip in 0usize..40, value: u8,
        ) {
            let mut tokens = Tokens::for_vocabulary(300);
            let _ = tokens.append_shard(&bytes, 300);
            let mut honest = Tokens::Short(vec![1, 2, 299]).to_shard();
            if let Some(byte) = honest.get_mut(flip) {
                *byte = value;
            }
            let mut target = Tokens::Short(vec![5]);
            match target.append_shard(&honest, 300) {
                Ok(count) => prop_assert_eq!(target.len() as u64, count + 1),
                Err(_) => prop_assert_eq!(target, Tokens::Short(vec![5])),
            }
        }
    }

    #[test]
    fn each_fault_has_its_name() {
        let read = |bytes: &[u8]| Tokens::for_vocabulary(300).append_shard(bytes, 300).unwrap_err();
        let good = Tokens::Short(vec![1, 2, 3]).to_shard();
        assert_eq!(read(&good[..20]), ShardError::NoHeader);
        assert_eq!(read(&good[..28]), ShardError::Length { stated: 3, bytes: 4 });
        assert_eq!(read(&Tokens::Long(vec![1]).to_shard()), ShardError::Width { stated: 4, expected: 2 });
        assert_eq!(read(&Tokens::Short(vec![300]).to_shard()), ShardError::Token { id: 300, vocab_size: 300 });
        let mut huge = good.clone();
        huge[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(read(&huge), ShardError::Length { stated: u64::MAX, bytes: 6 });
    }
}
