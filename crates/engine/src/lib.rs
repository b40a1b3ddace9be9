//! A Llama-style language model that trains, judges and generates, with the same bits on every machine.
//!
//! # One numerics, any device
//!
//! Everything is f32 with one fixed order of operations: the same inputs give the same bits for any number of threads
//! and any instruction set. Validators need that to replay a miner's work. [`NumericsId`] names the order; a change of
//! any bit raises its version.
//!
//! # An engine
//!
//! [`open`] makes an [`Engine`] on a device of a [`Backend`]; this crate brings the CPU's. The device owns the flat
//! buffers ([`Buffer`]: parameters, gradient, moments, in the one order of [`ParamLayout`]). The host copies ranges of
//! them, or visits them by segments ([`Segments`]).
//!
//! ```
//! use templar_engine::{Batch, Buffer, CpuBackend, DeviceName, OpenRequest, initial_parameters, open, preset};
//!
//! let config = preset("nano", 64)?;
//! let mut engine = open(&DeviceName::cpu(), &[&CpuBackend], OpenRequest::new(config.clone()))?;
//! engine.write(Buffer::Parameters, 0, &initial_parameters(&config, [1; 32]))?;
//! let batch = Batch::new((0..34).map(|i| i % 5).collect(), 2, 16);
//! let first = engine.train_step(&[batch.clone()], 1e-2)?.loss;
//! let second = engine.train_step(&[batch], 1e-2)?.loss;
//! assert!(second < first);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Judging
//!
//! A point is set once and measured in parts. A sparse change is judged without a copy of the parameters, and undone bit
//! for bit.
//!
//! ```
//! # use templar_engine::{Batch, Buffer, CpuBackend, DeviceName, OpenRequest, initial_parameters, open, preset};
//! use templar_engine::SparseDelta;
//! # let config = preset("nano", 64)?;
//! # let mut engine = open(&DeviceName::cpu(), &[&CpuBackend], OpenRequest::new(config.clone()))?;
//! # engine.write(Buffer::Parameters, 0, &initial_parameters(&config, [1; 32]))?;
//! # let batch = Batch::new((0..34).map(|i| i % 5).collect(), 2, 16);
//! let before = engine.evaluate(&batch)?;
//! let with = engine.evaluate_with(SparseDelta { indices: &[7], values: &[0.5] }, &batch)?;
//! assert_eq!((before.len(), with.len()), (2, 2));
//!
//! let mean_loss = engine.gradient(&batch)?;
//! let mut gradient = vec![0.0; 64 * 96];
//! engine.read(Buffer::Gradient, 0, &mut gradient)?;
//! # assert!(mean_loss > 0.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Generating
//!
//! An engine that generates has a [`Generator`], which continues many texts in the same passes over the parameters.
//!
//! ```
//! # use templar_engine::{CpuBackend, DeviceName, OpenRequest, open, preset};
//! use templar_engine::GenerateOptions;
//! # let mut engine = open(&DeviceName::cpu(), &[&CpuBackend], OpenRequest::new(preset("nano", 64)?))?;
//! let options = GenerateOptions { max_new_tokens: 3, ..GenerateOptions::default() };
//! let tokens = engine.generator()?.generate(&[1, 2], &options, &mut |_| true)?;
//! assert_eq!(tokens.len(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Scoring
//!
//! A [`Scorer`] tells how likely texts are, token by token; what texts share at their beginning is computed once.
//!
//! ```
//! # use templar_engine::{CpuBackend, DeviceName, OpenRequest, open, preset};
//! use templar_engine::Piece;
//! # let mut engine = open(&DeviceName::cpu(), &[&CpuBackend], OpenRequest::new(preset("nano", 64)?))?;
//! let scorer = engine.scorer()?;
//! let mut question = scorer.start(2)?;
//! scorer.read(&mut [Piece { text: &mut question, tokens: &[1, 2], targets: &[] }], false)?;
//! let (mut yes, mut no) = (scorer.branch(&question, 2, 3)?, scorer.branch(&question, 2, 3)?);
//! let mut answers = [
//!     Piece { text: &mut yes, tokens: &[3], targets: &[4] },
//!     Piece { text: &mut no, tokens: &[3], targets: &[5] },
//! ];
//! let scores = scorer.read(&mut answers, false)?;
//! assert_eq!(scores[0][0].loss, scores[1][0].loss, "with parameters of zero all tokens are as likely");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Files
//!
//! [`checkpoint`] reads and writes Hugging Face folders, one file or shards, segment by segment, and reads GGUF.
//! [`Reference`] compares a model with the figures of another implementation. Two examples are whole programs:
//! `train_text` trains on a text file, `load_and_generate` continues a text with a folder or a GGUF file.
//!
//! # Another device
//!
//! The schedule of forward and backward is written once over [`ops::Ops`], the fused operations of a device.
//! [`DeviceEngine`] makes an engine of them. The feature `contract` has a suite that any implementation of the
//! operations runs.
//!
//! [`check_memory`] compares what a model needs with what the machine has, before anything is allocated.
//!
//! Nothing here knows of windows, peers, files or async.

mod backend;
mod batch;
mod buffer;
pub mod checkpoint;
mod cpu;
mod delta;
mod device;
mod device_engine;
mod engine;
mod error;
mod generate;
mod initial;
mod layout;
mod machine;
mod memory;
mod muon;
mod numerics;
pub mod ops;
mod optimiser;
mod parts;
mod presets;
mod reference;
mod rope;
mod schedule;
mod scoring;
mod segments;
mod transformer;

pub use backend::{Backend, CpuBackend, EngineSource, OpenRequest, open};
pub use batch::{Batch, IGNORED_TOKEN};
pub use buffer::Buffer;
pub use cpu::{Cpu, elementary, fma_burst};
pub use delta::{DeltaError, SparseDelta};
pub use device::{Device, DeviceName, DeviceNameError};
pub use device_engine::DeviceEngine;
pub use engine::{Engine, StepReport};
pub use error::EngineError;
pub use generate::{Finish, GenerateOptions, Generation, Generator, StopStrings, TokenLogprobs};
pub use initial::initial_parameters;
pub use layout::{ParamLayout, Tensor};
pub use machine::{MAX_THREADS, MemoryBound, MemoryRoom, TooLittleMemory, check_memory, cores, memory_rooms};
pub use memory::{MemoryNeeds, TrainingShape};
pub use numerics::{Isa, NumericsId, NumericsIdError, Profile};
pub use optimiser::{
    OptimiserConfig, OptimiserState, OptimiserStateError, hash_optimiser, read_optimiser, write_optimiser,
};
pub use presets::{UnknownPreset, preset, preset_names};
pub use reference::{
    Comparison, Difference, EXPECTED_JSON, EXPECTED_TENSORS, GradientSummary, GreedyDifference, NamedDifference,
    OpenModel, Reference, ReferenceError, Tolerance, TrainingDifference,
};
pub use schedule::{Decay, Schedule};
pub use scoring::{Piece, ReadText, Scorer, TokenScore};
pub use segments::{SEGMENT, Segments};
pub use templar_base::{MatrixOptimiser, ModelConfig, RopeScaling};

pub(crate) use batch::check_tokens;
