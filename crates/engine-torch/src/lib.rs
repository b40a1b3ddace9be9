//! PyTorch as an [`Engine`](templar_engine::Engine): the way onto GPUs.
//!
//! The engine starts a Python process for each GPU (a rank), with a program that is carried in this crate
//! (`worker.py`): a Llama-style model cut over the ranks by FSDP, AdamW, mixed precision. Requests go through pipes,
//! values through files that both sides open. Python trains, judges and copies; everything else stays in Rust.
//!
//! ```no_run
//! use std::sync::Arc;
//! use templar_engine::{Batch, EngineSource, OpenRequest, preset};
//! use templar_engine_torch::{TorchBackend, TorchOptions};
//!
//! let backend = TorchBackend::new(TorchOptions { ranks: 2, ..TorchOptions::new("python3") });
//! let source = EngineSource::new("torch:cuda".parse()?, Arc::new(backend));
//! let mut engine = source.open(OpenRequest::new(preset("nano", 64)?))?;
//! let report = engine.train_step(&[Batch::new(vec![1; 34], 2, 16)], 1e-3)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is equal and what is not
//!
//! The numerics are an open class ([`Precision::numerics`]): close to those of the strict engine, equal in bits to
//! nothing. Reads and writes are exact, and an evaluation with a delta leaves the same bits behind.
//!
//! # When a rank dies
//!
//! A rank that ends, fails or is silent ends all of them, within a tenth of a second where it ends. The request and all
//! later ones fail with [`EngineError::Lost`](templar_engine::EngineError::Lost), since the parameters are gone: whoever
//! holds the engine opens a new one and writes what it kept. Ranks whose engine is killed end themselves.
//!
//! Nothing here knows of windows, peers or async.

mod backend;
mod engine;
mod environment;
mod error;
mod exchange;
mod frame;
mod options;
mod ranks;
mod requests;
mod scoring;

pub use backend::TorchBackend;
pub use engine::TorchEngine;
pub use environment::{Environment, EnvironmentError, TORCH_VERSION, Wheels, loads_torch};
pub use error::{MAX_RANKS, TorchError};
pub use options::{Deadlines, Precision, TorchOptions};
