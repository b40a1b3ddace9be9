//! A corpus that is ready to train on: checked against the manifest, its tokens in their files.

use crate::assignment::{AssignmentError, AssignmentPlan};
use crate::end_of_text::EndOfText;
use crate::manifest::{LARGEST_MANIFEST_BYTES, MANIFEST_FILE, Manifest, ManifestError, ShardEntry, TOKENIZER_FILE};
use crate::rule::{AssignmentRule, PlanError};
use crate::shard::{ShardError, check_shard, shard_bytes};
use crate::token_shards::{TokenShards, TokensUnreadable};
use crate::tokenizer::{Tokenizer, TokenizerError};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use templar_base::{Beacon, ContentHash, PublicKey, RunId, Window};

/// Why a corpus cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CorpusError {
    /// The folder holds no corpus.
    #[error("there is no corpus in {folder} ({MANIFEST_FILE} is missing): build one, or fetch it")]
    Missing {
        /// The folder.
        folder: PathBuf,
    },
    /// An object that the manifest names is not there.
    #[error("{file_name} of the corpus is missing: fetch it again")]
    MissingObject {
        /// The object's file name.
        file_name: String,
    },
    /// The system cannot read a file.
    #[error("cannot read {file_name} of the corpus: {source}")]
    Unreadable {
        /// The object's file name.
        file_name: String,
        /// What the system says.
        source: io::Error,
    },
    /// The manifest is not in order.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A shard has fewer or more bytes than the manifest says.
    #[error("{file_name} has {actual} bytes where the manifest says {expected}: it was cut off; fetch it again")]
    Truncated {
        /// The shard's file name.
        file_name: String,
        /// Bytes that there are.
        actual: u64,
        /// Bytes that there must be.
        expected: u64,
    },
    /// An object's bytes do not match its hash.
    #[error("{file_name} is damaged: its hash is {actual}, the manifest says {expected}; fetch it again")]
    Damaged {
        /// The object's file name.
        file_name: String,
        /// The hash of what is there.
        actual: ContentHash,
        /// The hash in the manifest.
        expected: ContentHash,
    },
    /// A shard's inside is wrong though its hash is right.
    #[error("{file_name} is not a shard of this corpus: {source}; whoever built the corpus is at fault")]
    Shard {
        /// The shard's file name.
        file_name: String,
        /// What is wrong.
        source: ShardError,
    },
    /// The tokenizer is not the one that made the shards.
    #[error("the tokenizer is {actual}, but the corpus was made with {expected}: use the tokenizer.json of the corpus")]
    WrongTokenizer {
        /// The tokenizer that is there.
        actual: ContentHash,
        /// The tokenizer in the manifest.
        expected: ContentHash,
    },
    /// The tokenizer cannot be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The corpus is not the one that the run names.
    #[error("the corpus is {actual}, but the run names {expected}: fetch the run's corpus")]
    WrongCorpus {
        /// The manifest's hash.
        actual: ContentHash,
        /// The hash in the genesis.
        expected: ContentHash,
    },
    /// The held-out part is too short.
    #[error("the held-out part has {available} tokens, and {needed} are wanted: give more text or evaluate on less")]
    HeldOutTooSmall {
        /// Tokens that there are.
        available: u64,
        /// Tokens that are wanted.
        needed: u64,
    },
    /// The tokens of the open corpus cannot be read any more.
    #[error(transparent)]
    Tokens(#[from] TokensUnreadable),
    /// The text is too small for the run.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The model has fewer tokens than the text uses.
    #[error(
        "the text uses {corpus} tokens, and the model knows {model}: set the model's vocabulary to at least {corpus}"
    )]
    VocabularyOfModel {
        /// The vocabulary of the text.
        corpus: u32,
        /// The vocabulary of the model.
        model: u32,
    },
}

/// Tokens to train on and to evaluate on, their tokenizer and their manifest. The tokens stay in their files, which are
/// read a sequence at a time: do not write into them while a corpus is open.
#[derive(Debug)]
pub struct Corpus {
    manifest: Manifest,
    manifest_hash: ContentHash,
    tokenizer: Tokenizer,
    train: TokenShards,
    held_out: TokenShards,
}

impl Corpus {
    /// Opens a folder that [`CorpusBuilder`](crate::CorpusBuilder) wrote or a node fetched, and verifies every hash.
    pub fn open(folder: &Path) -> Result<Self, CorpusError> {
        let manifest = match std::fs::metadata(folder.join(MANIFEST_FILE)) {
            Ok(file) if file.len() > LARGEST_MANIFEST_BYTES as u64 => {
                return Err(ManifestError::TooLarge { bytes: file.len() as usize }.into());
            }
            _ => std::fs::read(folder.join(MANIFEST_FILE)),
        };
        let manifest = manifest.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => CorpusError::Missing { folder: folder.to_path_buf() },
            _ => CorpusError::Unreadable { file_name: MANIFEST_FILE.to_owned(), source },
        })?;
        let manifest_hash = ContentHash::of(&manifest);
        let manifest = Manifest::parse(&manifest)?;
        let tokenizer_json =
            std::fs::read(folder.join(TOKENIZER_FILE)).map_err(|error| unreadable(TOKENIZER_FILE, error))?;
        let actual = ContentHash::of(&tokenizer_json);
        if actual != manifest.tokenizer {
            return Err(CorpusError::WrongTokenizer { actual, expected: manifest.tokenizer });
        }
        let tokenizer = Tokenizer::with_end(&tokenizer_json, &EndOfText::Id(manifest.end_of_text))?;
        if tokenizer.vocab_size() != manifest.vocab_size {
            return Err(ManifestError::Contradiction { what: "the tokenizer has another vocabulary" }.into());
        }
        let train = open_shards(folder, &manifest.train, manifest.vocab_size)?;
        let held_out = open_shards(folder, &manifest.held_out, manifest.vocab_size)?;
        Ok(Self { manifest_hash, manifest, tokenizer, train, held_out })
    }

    /// The hash of `manifest.json`: the name of the corpus in the genesis.
    pub fn manifest_hash(&self) -> ContentHash {
        self.manifest_hash
    }

    /// Checks that this is the corpus and the tokenizer that a genesis names.
    pub fn check_names(&self, manifest: ContentHash, tokenizer: ContentHash) -> Result<(), CorpusError> {
        if self.tokenizer.hash() != tokenizer {
            return Err(CorpusError::WrongTokenizer { actual: self.tokenizer.hash(), expected: tokenizer });
        }
        if self.manifest_hash != manifest {
            return Err(CorpusError::WrongCorpus { actual: self.manifest_hash, expected: manifest });
        }
        Ok(())
    }

    /// Checks that the text is enough for a model of this vocabulary under this rule, with `held_out` sequences of the
    /// held-out part.
    pub fn check_enough(
        &self,
        rule: AssignmentRule,
        model_vocabulary: u32,
        held_out: usize,
    ) -> Result<(), CorpusError> {
        if model_vocabulary < self.manifest.vocab_size {
            return Err(CorpusError::VocabularyOfModel { corpus: self.manifest.vocab_size, model: model_vocabulary });
        }
        AssignmentPlan::new(RunId::default(), rule, self.train_tokens())?;
        self.check_held_out(held_out, rule.sequence_length as usize)
    }

    /// What the corpus consists of.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The tokenizer of the text.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The token that ends a document, of the corpus' tokenizer.
    pub fn end_of_text(&self) -> u32 {
        self.manifest.end_of_text
    }

    /// Tokens to train on.
    pub fn train_tokens(&self) -> u64 {
        self.train.len()
    }

    /// Tokens kept back for evaluation.
    pub fn held_out_tokens(&self) -> u64 {
        self.held_out.len()
    }

    /// Bytes that the tokens take on the disk.
    pub fn token_bytes(&self) -> u64 {
        self.train.bytes() + self.held_out.bytes()
    }

    /// A fixed set of sequences of the held-out part, spread evenly over it: `count` of `length` tokens each, plus the
    /// token that the last one predicts. The same set on every node.
    pub fn held_out_sequences(&self, count: usize, length: usize) -> Result<Vec<Vec<u32>>, CorpusError> {
        self.check_held_out(count, length)?;
        if count == 0 {
            return Ok(Vec::new());
        }
        let last_start = self.held_out.len() - (length as u64 + 1);
        let starts = (0..count).map(|number| if count == 1 { 0 } else { scaled(last_start, number, count - 1) });
        let sequences = starts.map(|start| {
            let mut tokens = Vec::with_capacity(length + 1);
            self.held_out.read(start, length + 1, &mut tokens).map(|()| tokens)
        });
        Ok(sequences.collect::<Result<_, _>>()?)
    }

    /// The beginnings of up to `count` sequences of the held-out part as text, of `length` tokens each: of fewer, where
    /// the part is small.
    pub fn samples(&self, count: usize, length: usize) -> Result<Vec<String>, CorpusError> {
        let available = usize::try_from(self.held_out_tokens().saturating_sub(1)).unwrap_or(usize::MAX);
        let length = length.min(available);
        let count = count.min(available.checked_div(length).unwrap_or(0));
        let sequences = self.held_out_sequences(count, length)?;
        Ok(sequences.iter().map(|sequence| self.tokenizer.decode(sequence)).collect::<Result<_, _>>()?)
    }

    fn check_held_out(&self, count: usize, length: usize) -> Result<(), CorpusError> {
        let needed = (count as u64).saturating_mul(length as u64).saturating_add(u64::from(count > 0));
        let available = self.held_out_tokens();
        if needed > available { Err(CorpusError::HeldOutTooSmall { available, needed }) } else { Ok(()) }
    }

    /// The share-out of this text in a run.
    pub fn assignments(self: &Arc<Self>, run: RunId, rule: AssignmentRule) -> Result<Assignments, PlanError> {
        let plan = AssignmentPlan::new(run, rule, self.train_tokens())?;
        Ok(Assignments { corpus: Arc::clone(self), plan })
    }

    /// The tokens of a training sequence, which the caller keeps inside the text.
    pub(crate) fn read_sequence(&self, index: u64, length: u32, out: &mut Vec<u32>) -> Result<(), TokensUnreadable> {
        self.train.read(index * u64::from(length), length as usize + 1, out)
    }
}

/// `whole * part / parts`, without overflow.
fn scaled(whole: u64, part: usize, parts: usize) -> u64 {
    (u128::from(whole) * part as u128 / parts as u128) as u64
}

fn unreadable(file_name: &str, source: io::Error) -> CorpusError {
    match source.kind() {
        io::ErrorKind::NotFound => CorpusError::MissingObject { file_name: file_name.to_owned() },
        _ => CorpusError::Unreadable { file_name: file_name.to_owned(), source },
    }
}

/// Reads every shard once, in constant memory, and compares it with the manifest.
fn open_shards(folder: &Path, entries: &[ShardEntry], vocab_size: u32) -> Result<TokenShards, CorpusError> {
    let mut shards = TokenShards::new(vocab_size);
    for entry in entries {
        let file_name = entry.file_name();
        let path = folder.join(&file_name);
        let file = File::open(&path).map_err(|error| unreadable(&file_name, error))?;
        let length = file.metadata().map_err(|error| unreadable(&file_name, error))?.len();
        if let Some(expected) = shard_bytes(entry.tokens, vocab_size).filter(|expected| *expected != length) {
            return Err(CorpusError::Truncated { file_name, actual: length, expected });
        }
        let checked = check_shard(&file, vocab_size).map_err(|error| unreadable(&file_name, error))?;
        if checked.hash != entry.hash {
            return Err(CorpusError::Damaged { file_name, actual: checked.hash, expected: entry.hash });
        }
        match checked.tokens {
            Ok(tokens) => shards.push(path, file, tokens),
            Err(source) => return Err(CorpusError::Shard { file_name, source }),
        }
    }
    Ok(shards)
}

/// The share-out of a corpus in a run, with the tokens.
#[derive(Debug, Clone)]
pub struct Assignments {
    corpus: Arc<Corpus>,
    plan: AssignmentPlan,
}

impl Assignments {
    /// The arithmetic behind it.
    pub fn plan(&self) -> &AssignmentPlan {
        &self.plan
    }

    /// The text behind it.
    pub fn corpus(&self) -> &Arc<Corpus> {
        &self.corpus
    }

    /// What a miner trains on in a window whose start block has this beacon.
    pub fn assignment(&self, window: Window, hotkey: &PublicKey, beacon: &Beacon) -> Assignment {
        let indices = self.plan.sequences_of(window, hotkey, beacon);
        Assignment { corpus: Arc::clone(&self.corpus), rule: *self.plan.rule(), indices }
    }

    /// `count` distinct sequences of `sequence_length + 1` tokens to evaluate a window on, drawn by a beacon from the
    /// evaluation text of its span: see [`AssignmentPlan::evaluation_sequences`].
    pub fn evaluation_sequences(
        &self,
        window: Window,
        beacon: &Beacon,
        count: usize,
    ) -> Result<Vec<Vec<u32>>, AssignmentError> {
        let indices = self.plan.evaluation_sequences(window, beacon, count)?;
        indices.into_iter().map(|index| self.sequence(index)).collect()
    }

    /// The tokens of one sequence: `sequence_length + 1` of them. Panics if there is no such sequence.
    pub fn sequence(&self, index: u64) -> Result<Vec<u32>, AssignmentError> {
        assert!(index < self.plan.sequences(), "sequence {index} is past the text's {}", self.plan.sequences());
        let length = self.plan.rule().sequence_length;
        let mut tokens = Vec::with_capacity(length as usize + 1);
        self.corpus.read_sequence(index, length, &mut tokens)?;
        Ok(tokens)
    }
}

/// What one miner trains on in one window.
#[derive(Debug, Clone)]
pub struct Assignment {
    corpus: Arc<Corpus>,
    rule: AssignmentRule,
    indices: Vec<u64>,
}

impl Assignment {
    /// Batches that there are.
    pub fn batches(&self) -> u32 {
        self.rule.batches_per_window
    }

    /// The sequence indices, `sequences_per_batch` to a batch.
    pub fn indices(&self) -> &[u64] {
        &self.indices
    }

    /// The tokens of a batch: `sequences_per_batch` rows of `sequence_length + 1` tokens, one after the other.
    pub fn batch(&self, batch: u32) -> Result<Vec<u32>, AssignmentError> {
        let mut tokens =
            Vec::with_capacity(self.rule.sequences_per_batch as usize * (self.rule.sequence_length as usize + 1));
        for index in self.indices_of(batch, 1)? {
            self.corpus.read_sequence(*index, self.rule.sequence_length, &mut tokens)?;
        }
        Ok(tokens)
    }

    /// The digest of `count` batches from `from_batch` on: BLAKE3 over the indices and the tokens of their sequences.
    /// A miner states it in its payload, and a judge recomputes it.
    pub fn digest(&self, from_batch: u32, count: u32) -> Result<ContentHash, AssignmentError> {
        let mut hasher = blake3::Hasher::new_derive_key("templar digest of training batches v1");
        hasher.update(&self.rule.sequence_length.to_le_bytes());
        hasher.update(&self.rule.sequences_per_batch.to_le_bytes());
        let mut tokens = Vec::new();
        let mut bytes = Vec::new();
        for index in self.indices_of(from_batch, count)? {
            tokens.clear();
            self.corpus.read_sequence(*index, self.rule.sequence_length, &mut tokens)?;
            bytes.clear();
            bytes.extend_from_slice(&index.to_le_bytes());
            bytes.extend(tokens.iter().flat_map(|token| token.to_le_bytes()));
            hasher.update(&bytes);
        }
        Ok(ContentHash::new(*hasher.finalize().as_bytes()))
    }

    fn indices_of(&self, from_batch: u32, count: u32) -> Result<&[u64], AssignmentError> {
        let end = u64::from(from_batch) + u64::from(count);
        if end > u64::from(self.batches()) {
            return Err(AssignmentError::NoBatch { batch: end.saturating_sub(1), batches: self.batches() });
        }
        let width = self.rule.sequences_per_batch as usize;
        Ok(&self.indices[from_batch as usize * width..end as usize * width])
    }
}
