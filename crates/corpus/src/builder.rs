//! From sources to a folder of shards.

use crate::documents::SourceError;
use crate::held_out::HeldOut;
use crate::manifest::{MANIFEST_FILE, Manifest, ShardEntry, SourceEntry, TOKENIZER_FILE};
use crate::rows::Tally;
use crate::shard::{Width, encode_shard};
use crate::source::Source;
use crate::tokenizer::{TRAINING_SAMPLE_BYTES, Tokenizer, TokenizerError};
use rayon::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use templar_base::ContentHash;
use templar_disk::{DiskError, Existing, Folder, FolderDraft, SystemDisk, Writers};

/// Tokens of a shard: 8 MiB at two bytes each, which a node fetches in a second or so.
const TOKENS_PER_SHARD: usize = 4 << 20;

/// How much of a text is kept back where nothing else is said, in percent.
pub(crate) const HELD_OUT_PERCENT: u32 = 2;

/// Text that is encoded at a time: enough to keep all cores busy.
const BATCH_BYTES: usize = 8 << 20;

/// Why a corpus could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No source was given.
    #[error("there is nothing to build from: give at least one source of text")]
    NoSource,
    /// There is something in the way.
    #[error("{folder} exists already: give another folder, or remove it")]
    FolderExists {
        /// The folder.
        folder: PathBuf,
    },
    /// A source gives no text.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// There is no tokenizer, or it fails.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A source gave other text the second time.
    #[error("the source \"{name}\" changed while it was read: build again when nothing writes to it")]
    SourceChanged {
        /// The source.
        name: String,
    },
    /// The disk cannot hold it.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// How far a build is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildProgress {
    /// The text is read and counted.
    Reading {
        /// Documents so far.
        documents: u64,
        /// Bytes so far.
        bytes: u64,
    },
    /// A source was read whose rows are not all documents as they were.
    LeftOut {
        /// The source.
        source: String,
        /// What is left out or replaced.
        tally: Tally,
    },
    /// The tokenizer is trained; there is no news until it is.
    TrainingTokenizer {
        /// Bytes of the sample that it is trained on.
        bytes: u64,
    },
    /// The text is encoded and written.
    Encoding {
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all.
        total_bytes: u64,
        /// Tokens so far.
        tokens: u64,
    },
}

/// Builds a corpus; the same sources and settings give the same bytes.
#[derive(Debug)]
pub struct CorpusBuilder {
    sources: Vec<(Source, String, String)>,
    tokenizer: Option<Tokenizer>,
    vocab_size: u32,
    takes_fewer: bool,
    seed: u64,
    held_out_percent: u32,
}

impl Default for CorpusBuilder {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            tokenizer: None,
            vocab_size: 4096,
            takes_fewer: false,
            seed: 0,
            held_out_percent: HELD_OUT_PERCENT,
        }
    }
}

impl CorpusBuilder {
    /// A builder of a vocabulary of 4096, with 2 % of the text kept back.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a source, with its name and its licence for the manifest.
    pub fn source(mut self, source: Source, name: impl Into<String>, licence: impl Into<String>) -> Self {
        self.sources.push((source, name.into(), licence.into()));
        self
    }

    /// Trains a tokenizer of this size on the text.
    pub fn vocab_size(mut self, vocab_size: u32) -> Self {
        (self.vocab_size, self.takes_fewer) = (vocab_size, false);
        self
    }

    /// Trains a tokenizer of this size, or of fewer tokens where the text is too small or too uniform for so many; the
    /// manifest says how many there are.
    pub fn vocab_size_up_to(mut self, vocab_size: u32) -> Self {
        (self.vocab_size, self.takes_fewer) = (vocab_size, true);
        self
    }

    /// Takes a tokenizer that exists instead of training one.
    pub fn tokenizer(mut self, tokenizer: Tokenizer) -> Self {
        self.tokenizer = Some(tokenizer);
        self
    }

    /// The seed that chooses the documents to keep back.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How much of the text is kept back for evaluation, in percent of its bytes; at most 50.
    pub fn held_out_percent(mut self, percent: u32) -> Self {
        self.held_out_percent = percent.min(50);
        self
    }

    /// Builds into a folder that must not exist yet. The folder appears at once when it is whole, never in part.
    pub fn build(self, folder: &Path, mut progress: impl FnMut(BuildProgress)) -> Result<Manifest, BuildError> {
        if self.sources.is_empty() {
            return Err(BuildError::NoSource);
        }
        let in_the_way = fs::read_dir(folder).map_or(folder.exists(), |mut entries| entries.next().is_some());
        if in_the_way {
            return Err(BuildError::FolderExists { folder: folder.to_path_buf() });
        }
        let counted = self.count(&mut progress)?;
        let total_bytes: u64 = counted.entries.iter().map(|entry| entry.bytes).sum();
        let tokenizer = match self.tokenizer {
            Some(tokenizer) => tokenizer,
            None => {
                let sample = sample(&self.sources, total_bytes)?;
                let bytes = sample.iter().map(|document| document.len() as u64).sum();
                progress(BuildProgress::TrainingTokenizer { bytes });
                match self.takes_fewer {
                    true => Tokenizer::train_up_to(&sample, self.vocab_size)?,
                    false => Tokenizer::train(&sample, self.vocab_size)?,
                }
            }
        };
        let held_out = HeldOut::choose(&counted.document_bytes, self.held_out_percent, self.seed);
        let draft = FolderDraft::beside(Arc::new(SystemDisk), folder, Writers::Many)?;
        let mut writer = ShardWriter::new(draft.folder(), &tokenizer);
        encode(&self.sources, &counted, &held_out, &tokenizer, &mut writer, &mut |bytes, tokens| {
            progress(BuildProgress::Encoding { bytes, total_bytes, tokens });
        })?;
        let mut manifest = writer.finish()?;
        manifest.sources = counted.entries;
        draft.folder().write(TOKENIZER_FILE, &[tokenizer.to_json()])?;
        draft.folder().write(MANIFEST_FILE, &[&manifest.to_json()])?;
        draft.put_in_place(Existing::Keep)?;
        Ok(manifest)
    }

    fn count(&self, progress: &mut impl FnMut(BuildProgress)) -> Result<Counted, BuildError> {
        let mut counted = Counted { entries: Vec::new(), document_bytes: Vec::new() };
        let mut total = 0;
        for (source, name, licence) in &self.sources {
            let (mut documents, mut bytes, mut tally) = (0, 0, Tally::default());
            for row in source.rows() {
                let row = row?;
                tally.add(&row);
                let Some(document) = row.into_document() else { continue };
                let length = document.len() as u64;
                counted.document_bytes.push(length);
                documents += 1;
                bytes += length;
                total += length;
                if documents % 256 == 0 {
                    progress(BuildProgress::Reading { documents: counted.document_bytes.len() as u64, bytes: total });
                }
            }
            if !tally.is_clean() {
                progress(BuildProgress::LeftOut { source: name.clone(), tally });
            }
            counted.entries.push(SourceEntry { name: name.clone(), licence: licence.clone(), documents, bytes });
        }
        progress(BuildProgress::Reading { documents: counted.document_bytes.len() as u64, bytes: total });
        Ok(counted)
    }
}

/// What the first reading found.
struct Counted {
    entries: Vec<SourceEntry>,
    /// Bytes of each document, over all sources in order.
    document_bytes: Vec<u64>,
}

/// All of the text, or documents taken evenly from it where there is too much to train a tokenizer on.
fn sample(sources: &[(Source, String, String)], total_bytes: u64) -> Result<Vec<String>, SourceError> {
    let wanted = total_bytes.min(TRAINING_SAMPLE_BYTES);
    let (mut sample, mut sampled, mut seen) = (Vec::new(), 0u64, 0u64);
    for (source, _, _) in sources {
        for document in source.documents()? {
            let mut document = document?;
            seen += document.len() as u64;
            // Take a document whenever the sample lags behind its even share of what was seen.
            let share = (u128::from(seen) * u128::from(wanted) / u128::from(total_bytes.max(1))) as u64;
            if sampled < share {
                let room = (TRAINING_SAMPLE_BYTES - sampled.min(TRAINING_SAMPLE_BYTES)) as usize;
                document.truncate(document.floor_char_boundary(room));
                sampled += document.len() as u64;
                sample.push(document);
            }
        }
    }
    Ok(sample)
}

/// A document on its way, with the place where its held-out tail starts (its length where there is none).
struct Pending {
    text: String,
    held_out_from: usize,
}

fn encode(
    sources: &[(Source, String, String)],
    counted: &Counted,
    held_out: &HeldOut,
    tokenizer: &Tokenizer,
    writer: &mut ShardWriter<'_>,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(), BuildError> {
    let (mut batch, mut batch_bytes, mut bytes) = (Vec::new(), 0, 0u64);
    let mut number = 0;
    for (source, name, _) in sources {
        for document in source.documents()? {
            let text = document?;
            if counted.document_bytes.get(number) != Some(&(text.len() as u64)) {
                return Err(BuildError::SourceChanged { name: name.clone() });
            }
            let held_out_from = held_out.start_in(number, &text);
            number += 1;
            batch_bytes += text.len();
            bytes += text.len() as u64;
            batch.push(Pending { text, held_out_from });
            if batch_bytes >= BATCH_BYTES {
                flush(&mut batch, tokenizer, writer)?;
                batch_bytes = 0;
                progress(bytes, writer.tokens());
            }
        }
        let expected: u64 = counted.entries.iter().map(|entry| entry.documents).sum();
        if number as u64 > expected {
            return Err(BuildError::SourceChanged { name: name.clone() });
        }
    }
    flush(&mut batch, tokenizer, writer)?;
    progress(bytes, writer.tokens());
    if number != counted.document_bytes.len() {
        let name = sources.iter().map(|(_, name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(BuildError::SourceChanged { name });
    }
    Ok(())
}

fn flush(batch: &mut Vec<Pending>, tokenizer: &Tokenizer, writer: &mut ShardWriter<'_>) -> Result<(), BuildError> {
    // Documents are encoded side by side and written in order: the number of threads changes nothing.
    let encoded: Result<Vec<_>, TokenizerError> = batch
        .par_drain(..)
        .map(|document| {
            let (train, held_out) = document.text.split_at(document.held_out_from);
            Ok((tokenizer.encode(train)?, tokenizer.encode(held_out)?))
        })
        .collect();
    for (train, held_out) in encoded? {
        writer.add(&train, false)?;
        writer.add(&held_out, true)?;
    }
    Ok(())
}

/// Gathers tokens and writes full shards.
struct ShardWriter<'a> {
    folder: &'a Folder,
    manifest: Manifest,
    width: Width,
    train: Vec<u32>,
    held_out: Vec<u32>,
}

impl<'a> ShardWriter<'a> {
    fn new(folder: &'a Folder, tokenizer: &Tokenizer) -> Self {
        let vocab_size = tokenizer.vocab_size();
        Self {
            folder,
            manifest: Manifest::new(tokenizer.hash(), vocab_size, tokenizer.end_of_text()),
            width: Width::of_vocabulary(vocab_size),
            train: Vec::new(),
            held_out: Vec::new(),
        }
    }

    fn tokens(&self) -> u64 {
        self.manifest.train_tokens + self.manifest.held_out_tokens + (self.train.len() + self.held_out.len()) as u64
    }

    /// Adds a document and the end of text behind it; an empty one leaves no trace.
    fn add(&mut self, ids: &[u32], held_out: bool) -> Result<(), BuildError> {
        if ids.is_empty() {
            return Ok(());
        }
        let end_of_text = [self.manifest.end_of_text];
        let tokens = if held_out { &mut self.held_out } else { &mut self.train };
        tokens.extend_from_slice(ids);
        tokens.extend_from_slice(&end_of_text);
        while self.waiting(held_out) >= TOKENS_PER_SHARD {
            self.write_shard(TOKENS_PER_SHARD, held_out)?;
        }
        Ok(())
    }

    fn waiting(&self, held_out: bool) -> usize {
        if held_out { self.held_out.len() } else { self.train.len() }
    }

    fn write_shard(&mut self, count: usize, held_out: bool) -> Result<(), BuildError> {
        let tokens = if held_out { &mut self.held_out } else { &mut self.train };
        let bytes = encode_shard(&tokens[..count], self.width);
        tokens.drain(..count);
        let entry = ShardEntry { hash: ContentHash::of(&bytes), tokens: count as u64 };
        self.folder.write(entry.file_name(), &[&bytes])?;
        if held_out {
            self.manifest.held_out_tokens += entry.tokens;
            self.manifest.held_out.push(entry);
        } else {
            self.manifest.train_tokens += entry.tokens;
            self.manifest.train.push(entry);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Manifest, BuildError> {
        for held_out in [false, true] {
            if self.waiting(held_out) > 0 {
                self.write_shard(self.waiting(held_out), held_out)?;
            }
        }
        Ok(self.manifest)
    }
}
