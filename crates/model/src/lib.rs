//! A model folder and what is done with it: load, save, train alone, generate, stream.
//!
//! Knows nothing of networks. A model is read from a Hugging Face folder, in one file or in shards, or from a `.gguf`
//! file ([`Model`], and with its tokenizer [`Checkpoint`]); a [`Training`] writes such a folder and resumes from it, and
//! logs each step in a [`History`] beside it; [`stream`] turns tokens into the text that is shown.
//!
//! ```
//! use std::sync::Arc;
//! use templar_corpus::{Corpus, CorpusBuilder, Source};
//! use templar_engine::{Decay, MatrixOptimiser, preset};
//! use templar_model::{Checkpoint, Inputs, Limits, Plan, Training};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let root = tempfile::tempdir()?;
//! let text = Source::Synthetic { seed: 0, bytes: 60_000 };
//! let builder = CorpusBuilder::new().source(text, "tales", "public domain").vocab_size(300);
//! builder.build(&root.path().join("corpus"), |_| {})?;
//! let corpus = Arc::new(Corpus::open(&root.path().join("corpus"))?);
//!
//! let plan = Plan {
//!     preset: "nano".into(),
//!     from: None,
//!     corpus: root.path().join("corpus"),
//!     corpus_hash: corpus.manifest_hash(),
//!     sequence_length: 16,
//!     batch: 2,
//!     learning_rate: 3e-3,
//!     warm_up_steps: 1,
//!     flat_share: 0.0,
//!     decay: Decay::Cosine,
//!     final_share: 0.1,
//!     optimiser: MatrixOptimiser::AdamW,
//!     seed: 0,
//! };
//! let limits = Limits { steps: Some(2), ..Limits::default() };
//! let inputs = Inputs { config: preset("nano", 300)?, parameters: None, corpus, threads: 1 };
//! let mut training = Training::new(plan, limits, inputs)?;
//! while training.progress().0 < 1.0 {
//!     training.step()?;
//! }
//! training.save(&root.path().join("first"))?;
//!
//! let checkpoint = Checkpoint::open(&root.path().join("first"))?;
//! assert_eq!(checkpoint.config, preset("nano", 300)?);
//! # Ok(())
//! # }
//! ```

mod checkpoint;
mod error;
mod evaluation;
pub mod folder;
mod history;
mod source;
mod stream;
mod training;

pub use checkpoint::Checkpoint;
pub use error::FileError;
pub use evaluation::{batches_of_corpus, batches_of_tokens, mean_loss};
pub use folder::FolderError;
pub use history::{History, Keep, STEPS_FILE, Step, folder_of, read_steps};
pub use source::{
    CONFIG_FILE, GENERATION_FILE, Model, OpenError, PARAMETERS_FILE, TOKENIZER_CONFIG_FILE, TOKENIZER_FILE, engine_of,
    open_engine, parameter_files, read_config,
};
pub use stream::{GenerateError, Writer, stream};
pub use training::{Inputs, Limits, Plan, Record, Training, TrainingError, USUAL_FINAL_SHARE};
