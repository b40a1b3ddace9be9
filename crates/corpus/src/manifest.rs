//! `manifest.json`: what a corpus consists of, everything named by hash.

use crate::shard::shard_bytes;
use serde::{Deserialize, Serialize};
use templar_base::ContentHash;

/// The file of the manifest within a corpus.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The file of the tokenizer within a corpus.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

const VERSION: u32 = 1;

/// A million shards of 4 Mi tokens are 4 trillion tokens and make a manifest of about 150 MB; ours are far smaller.
pub(crate) const LARGEST_MANIFEST_BYTES: usize = 64 << 20;

/// One shard, as the manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardEntry {
    /// The hash of the file, which is also its name.
    pub hash: ContentHash,
    /// Tokens in it.
    pub tokens: u64,
}

impl ShardEntry {
    /// The file's name within the corpus.
    pub fn file_name(&self) -> String {
        format!("{}.tokens", self.hash)
    }
}

/// Where a part of the text comes from, and under which terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceEntry {
    /// What it is, for people.
    pub name: String,
    /// Its licence, in a sentence.
    pub licence: String,
    /// Documents that it gave.
    pub documents: u64,
    /// Bytes of text that it gave.
    pub bytes: u64,
}

/// What it is and its licence, in one line: "book.txt (licence: not stated)".
impl std::fmt::Display for SourceEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (licence: {})", self.name, self.licence)
    }
}

/// What a corpus consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the format.
    pub version: u32,
    /// The hash of `tokenizer.json`.
    pub tokenizer: ContentHash,
    /// All tokens are under this number.
    pub vocab_size: u32,
    /// The token between two documents.
    pub end_of_text: u32,
    /// Tokens to train on, over all training shards.
    pub train_tokens: u64,
    /// Tokens kept back for evaluation, over all held-out shards.
    pub held_out_tokens: u64,
    /// The shards to train on, in order.
    pub train: Vec<ShardEntry>,
    /// The shards kept back, in order.
    pub held_out: Vec<ShardEntry>,
    /// Where the text comes from.
    pub sources: Vec<SourceEntry>,
}

/// Why bytes are not the manifest of a corpus; their author is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// There are far too many bytes.
    #[error("the manifest has {bytes} bytes, over the limit of {LARGEST_MANIFEST_BYTES}; its author is at fault")]
    TooLarge {
        /// Bytes that there are.
        bytes: usize,
    },
    /// The bytes are not JSON of a manifest.
    #[error("the manifest cannot be read: {0}; it is damaged, or not of a corpus")]
    Malformed(#[from] serde_json::Error),
    /// It is of another format version.
    #[error("the manifest is of version {version}, this program reads {VERSION}")]
    Version {
        /// The version it states.
        version: u32,
    },
    /// Its numbers contradict each other.
    #[error("the manifest contradicts itself: {what}; its author is at fault")]
    Contradiction {
        /// Which numbers.
        what: &'static str,
    },
}

impl Manifest {
    pub(crate) fn new(tokenizer: ContentHash, vocab_size: u32, end_of_text: u32) -> Self {
        Self {
            version: VERSION,
            tokenizer,
            vocab_size,
            end_of_text,
            train_tokens: 0,
            held_out_tokens: 0,
            train: Vec::new(),
            held_out: Vec::new(),
            sources: Vec::new(),
        }
    }

    /// Bytes of text to the token, over all sources; 1 where there are no tokens.
    pub fn bytes_per_token(&self) -> f64 {
        let bytes: u64 = self.sources.iter().map(|source| source.bytes).fold(0, u64::saturating_add);
        let tokens = self.train_tokens.saturating_add(self.held_out_tokens);
        if tokens == 0 { 1.0 } else { bytes as f64 / tokens as f64 }
    }

    /// Reads a manifest and checks that its numbers agree.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > LARGEST_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge { bytes: bytes.len() });
        }
        let manifest: Self = serde_json::from_slice(bytes)?;
        if manifest.version != VERSION {
            return Err(ManifestError::Version { version: manifest.version });
        }
        let contradiction = |what| Err(ManifestError::Contradiction { what });
        if manifest.end_of_text >= manifest.vocab_size {
            return contradiction("the end of text is outside the vocabulary");
        }
        if sum(&manifest.train) != Some(manifest.train_tokens) {
            return contradiction("the training shards do not add up to the training tokens");
        }
        if sum(&manifest.held_out) != Some(manifest.held_out_tokens) {
            return contradiction("the held-out shards do not add up to the held-out tokens");
        }
        if shard_bytes(manifest.train_tokens, manifest.vocab_size).is_none()
            || shard_bytes(manifest.held_out_tokens, manifest.vocab_size).is_none()
        {
            return contradiction("it states more tokens than can exist");
        }
        Ok(manifest)
    }

    /// The bytes of `manifest.json`, the same for equal manifests.
    pub fn to_json(&self) -> Vec<u8> {
        // Numbers, strings and lists always have a JSON form; only a failing writer could refuse, and this is a Vec.
        let mut json = serde_json::to_vec_pretty(self).expect("a manifest has a JSON form");
        json.push(b'\n');
        json
    }

    /// The hash of `manifest.json`, as the genesis states it.
    pub fn hash(&self) -> ContentHash {
        ContentHash::of(&self.to_json())
    }

    /// Every object of the corpus but the manifest, with its length in bytes where the manifest fixes it: what a node
    /// has to fetch.
    pub fn objects(&self) -> Vec<CorpusObject> {
        let mut objects =
            vec![CorpusObject { file_name: TOKENIZER_FILE.to_owned(), hash: self.tokenizer, length_bytes: None }];
        objects.extend(self.train.iter().chain(&self.held_out).map(|shard| CorpusObject {
            file_name: shard.file_name(),
            hash: shard.hash,
            length_bytes: shard_bytes(shard.tokens, self.vocab_size),
        }));
        objects
    }
}

/// One object of a corpus, as a node fetches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorpusObject {
    /// Its file name within the corpus.
    pub file_name: String,
    /// The hash of its bytes.
    pub hash: ContentHash,
    /// Its length, where the manifest fixes it (shards: yes; tokenizer: no).
    pub length_bytes: Option<u64>,
}

fn sum(shards: &[ShardEntry]) -> Option<u64> {
    shards.iter().try_fold(0u64, |sum, shard| sum.checked_add(shard.tokens))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let mut manifest = Manifest::new(ContentHash::of(b"tokenizer"), 300, 0);
        manifest.train_tokens = 7;
        manifest.train = vec![
            ShardEntry { hash: ContentHash::of(b"a"), tokens: 4 },
            ShardEntry { hash: ContentHash::of(b"b"), tokens: 3 },
        ];
        manifest
    }

    #[test]
    fn a_manifest_survives_its_file() {
        let manifest = manifest();
        assert_eq!(Manifest::parse(&manifest.to_json()).unwrap(), manifest);
        assert_eq!(manifest.hash(), ContentHash::of(&manifest.to_json()));
        assert_eq!(manifest.objects().len(), 3);
        assert_eq!(manifest.objects()[1].length_bytes, Some(32));
    }

    #[test]
    fn manifests_that_contradict_themselves_are_refused() {
        let refused = |change: fn(&mut Manifest)| {
            let mut manifest = manifest();
            change(&mut manifest);
            Manifest::parse(&manifest.to_json()).unwrap_err().to_string()
        };
        assert!(refused(|manifest| manifest.version = 9).contains("version 9"));
        assert!(refused(|manifest| manifest.end_of_text = 300).contains("end of text"));
        assert!(refused(|manifest| manifest.train_tokens = 8).contains("training shards"));
        assert!(refused(|manifest| manifest.held_out_tokens = 1).contains("held-out shards"));
        assert!(
            refused(|manifest| {
                manifest.train[0].tokens = u64::MAX;
                manifest.train[1].tokens = u64::MAX;
            })
            .contains("training shards")
        );
        assert!(
            refused(|manifest| {
                manifest.train[0].tokens = u64::MAX - 3;
                manifest.train_tokens = u64::MAX;
            })
            .contains("can exist")
        );
        assert!(Manifest::parse(b"{\"version\":1}").is_err());
    }
}
