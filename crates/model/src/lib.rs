//! A model folder and what is done with it: load, save, train alone, generate, stream, chat.
//!
//! Knows nothing of networks. A model is read from a Hugging Face folder, in one file or in shards, or from a `.gguf`
//! file ([`Model`], and with its tokenizer [`Checkpoint`]). A [`Recipe`] becomes a [`Plan`]; a [`Session`] drives a
//! [`Training`], which writes such a folder and resumes from it, and logs each step in a [`History`] beside it.
//! [`generate_texts`], [`stream`] and [`Conversation`] write text; [`export`] and [`Inspection`] serve other programs.
//!
//! ```
//! use std::sync::Arc;
//! use templar_corpus::{Corpus, CorpusBuilder, Source};
//! use templar_engine::{EngineSource, preset};
//! use templar_model::{Checkpoint, Computing, CorpusName, Inputs, Limits, Recipe, Training};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let root = tempfile::tempdir()?;
//! let text = Source::Synthetic { seed: 0, bytes: 60_000 };
//! let builder = CorpusBuilder::new().source(text, "tales", "public domain").vocab_size(300);
//! builder.build(&root.path().join("corpus"), |_| {})?;
//! let corpus = Arc::new(Corpus::open(&root.path().join("corpus"))?);
//!
//! let name = CorpusName { folder: root.path().join("corpus"), hash: corpus.manifest_hash() };
//! let config = preset("nano", 300)?;
//! let recipe = Recipe { sequence_length: Some(16), batch: Some(2), ..Recipe::default() };
//! let plan = recipe.plan("nano", &config, Some(2), name)?;
//! let limits = Limits { steps: Some(2), ..Limits::default() };
//! let computing = Computing { engine: EngineSource::default(), threads: 1 };
//! let inputs = Inputs { config, parameters: None, origin: None, corpus, computing };
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
mod companions;
mod conversation;
mod error;
mod evaluation;
mod export;
pub mod folder;
mod gguf_files;
mod history;
mod inspection;
mod not_model;
mod recipe;
mod sampling;
mod session;
mod source;
mod stream;
mod training;

pub use checkpoint::Checkpoint;
pub use companions::{Companions, TOKENIZER_CONFIG_FILE};
pub use conversation::{Conversation, Turn};
pub use error::FileError;
pub use evaluation::{EVALUATION_SEQUENCES, batches_of_corpus, batches_of_tokens, mean_loss, measure};
pub use export::{ExportError, ExportOptions, Exported, export};
pub use folder::FolderError;
pub use history::{History, Keep, STEPS_FILE, Step, folder_of, read_steps};
pub use inspection::{Inspection, TensorFacts};
pub use recipe::{CorpusName, Recipe, RecipeError, usual_learning_rate};
pub use sampling::Sampling;
pub use session::{Ended, Listener, Session, TrainingEvent};
pub use source::{Model, OpenError, engine_of, open_engine};
pub use stream::{GenerateError, GeneratedText, Streamed, Writer, generate_texts, stream};
pub use training::{Computing, Inputs, Limits, Origin, Plan, Record, Training, TrainingError};
