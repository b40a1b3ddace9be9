//! Text to tokenizer to token shards to the batches of each (run, window, hotkey).
//!
//! A corpus is a folder of shards, a tokenizer and a manifest that names both by hash; its name is the manifest's
//! hash, which stands in the genesis of a run. From the genesis and public beacons alone, every node computes which
//! sequences a miner trains on in a window and which sequences the window is evaluated on. There is no randomness but
//! the seeded one, and the same text gives the same bytes on every machine.
//!
//! ```
//! use std::sync::Arc;
//! use templar_base::{Beacon, CorpusHashes, Genesis, ModelConfig, PublicKey, RunId, Window};
//! use templar_corpus::{AssignmentRule, Corpus, CorpusBuilder, Source};
//!
//! let folder = std::env::temp_dir().join(format!("templar-corpus-example-{}", std::process::id()));
//! let text = Source::Synthetic { seed: 1, bytes: 200_000 };
//! CorpusBuilder::new().source(text, "synthetic", "made here").vocab_size(400).build(&folder, |_| {}).unwrap();
//!
//! let corpus = Arc::new(Corpus::open(&folder).unwrap());
//! let names = CorpusHashes { tokenizer: corpus.tokenizer().hash(), manifest: corpus.manifest_hash() };
//! let genesis = Genesis::small(ModelConfig::tiny(400), names);
//! let rule = AssignmentRule::of_genesis(&genesis).unwrap();
//! let assignments = corpus.assignments(RunId::default(), rule).unwrap();
//! let mine = assignments.assignment(Window(5), &PublicKey::new([2; 32]), &Beacon::default());
//! assert_eq!(mine.batch(0).unwrap().len(), 33);
//! # std::fs::remove_dir_all(folder).unwrap();
//! ```

mod archive;
mod assignment;
mod builder;
mod column;
mod content;
mod corpus;
pub mod default_text;
mod documents;
mod end_of_text;
mod find;
mod held_out;
mod input;
mod json_field;
mod json_rows;
mod kept;
mod kind;
mod left_out;
mod manifest;
pub mod package;
mod parts;
mod permutation;
mod pieces;
mod plain_text;
mod rows;
mod rule;
mod run_fit;
mod shard;
mod source;
mod span;
mod synthetic;
mod text_order;
mod token_shards;
mod tokenizer;
mod tokenizer_file;
mod utf8;

pub use assignment::{AssignmentError, AssignmentPlan, digest_of};
pub use builder::{BuildError, BuildProgress, CorpusBuilder};
pub use corpus::{Assignment, Assignments, Corpus, CorpusError};
pub use documents::{Documents, KindFound, SourceError};
pub use end_of_text::EndOfText;
pub use find::{FoundText, ReadOptions};
pub use kept::{KeepProgress, TextSources, Tokens};
pub use kind::{KindChoice, TextKind, UnknownKind};
pub use left_out::{LeftOut, WhyLeftOut};
pub use manifest::{CorpusObject, MANIFEST_FILE, Manifest, ManifestError, ShardEntry, SourceEntry, TOKENIZER_FILE};
pub use permutation::Permutation;
pub use rows::{Row, Tally};
pub use rule::{AssignmentRule, PlanError};
pub use run_fit::{TextNeeded, corpus_problems, steps_that_fit};
pub use shard::{ShardError, read_shard};
pub use source::{DEFAULT_FIELD, Source, TextFiles};
pub use synthetic::{synthetic, synthetic_document};
pub use text_order::TextOrder;
pub use token_shards::TokensUnreadable;
pub use tokenizer::{
    END_OF_TEXT, LARGEST_VOCABULARY, SMALLEST_VOCABULARY, StreamDecoder, TRAINING_SAMPLE_BYTES, Tokenizer,
    TokenizerError,
};
