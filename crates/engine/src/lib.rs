//! The language model of templar: parameters in one flat buffer, forward and backward pass, inner optimiser, judging
//! with a sparse delta, text generation, and Hugging Face checkpoints as bytes.
//!
//! Everything is f32 with one fixed order of operations: the same inputs give the same bits on every machine, for any
//! number of threads and any instruction set. Validators need that to replay a miner's work. The schedule of the model
//! is written once over [`ops::Ops`], the fused operations of a device; above stands the coarse [`Engine`], which
//! [`open`] makes on a device of a [`Backend`]. Nothing here knows of windows, peers, files or async.
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
mod segments;
mod transformer;

pub use backend::{Backend, CpuBackend, OpenRequest, open};
pub use batch::{Batch, IGNORED_TOKEN};
pub use buffer::Buffer;
pub use cpu::{Cpu, elementary, fma_burst};
pub use delta::{DeltaError, SparseDelta};
pub use device::{Device, DeviceName, DeviceNameError};
pub use device_engine::DeviceEngine;
pub use engine::{Engine, StepReport};
pub use error::EngineError;
pub use generate::{Finish, GenerateOptions, Generation, Generator, StopStrings};
pub use initial::initial_parameters;
pub use layout::{ParamLayout, Tensor};
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
pub use segments::{SEGMENT, Segments};
pub use templar_base::{MatrixOptimiser, ModelConfig, RopeScaling};

pub(crate) use batch::check_tokens;
