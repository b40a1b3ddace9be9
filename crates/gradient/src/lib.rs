//! Pseudo-gradients: what a miner sends of a window's training, and how all nodes merge and apply it.
//!
//! A miner's drift goes through error feedback and a selection of the largest values of each chunk, each sent as its
//! sign times the chunk's scale. Every scale is an integer in one fixed unit ([`UNIT_EXPONENT`]), so that merging is
//! integer addition: any order, any machine, the same bits. Nothing here knows of the engine, of a peer's identity
//! beyond its uid, or of storage; it works on slices and a [`GradientLayout`].
//!
//! ```
//! use templar_gradient::{Aggregate, ErrorFeedback, GradientLayout, MergeRule, Metadata, Payload, outer_step};
//!
//! let layout = GradientLayout::new([("weight".to_owned(), 5000, 64)]).unwrap();
//! let drift: Vec<f32> = (0..5000).map(|i| ((i * 37 % 101) as f32 - 50.0) * 1e-3).collect();
//!
//! let mut feedback = ErrorFeedback::new(&layout);
//! feedback.accumulate(&drift, 0.95).unwrap();
//! let bytes = feedback.compress(&layout, Metadata::default()).unwrap().encode();
//!
//! let payload = Payload::decode(&bytes, &layout).unwrap();
//! let aggregate = Aggregate::merge(&layout, &[(&payload, 1)], MergeRule::default()).unwrap();
//! let mut params = vec![0.0; 5000];
//! outer_step(&mut params, &aggregate, 1.0).unwrap();
//! assert_eq!(params.iter().filter(|value| **value != 0.0).count(), payload.kept());
//! ```

mod aggregate;
mod aggregate_code;
mod bits;
mod bytes;
pub mod exchange;
mod feedback;
mod frame;
mod frequencies;
mod layout;
mod level_sums;
mod magnitude;
mod merge;
mod merkle;
mod metadata;
mod method;
mod neighbourhood;
mod outer;
mod payload;
mod range_coder;
mod rounding;
mod scale;
mod segment;
mod select;
mod shares;
mod slice;

pub use aggregate::{Aggregate, AggregateChunk, AggregateError, Contributor};
pub use feedback::{ErrorFeedback, FeedbackError};
pub use frame::FrameError;
pub use layout::{CHUNK_VALUES, GradientLayout, LayoutError, Mode, SEGMENT_CHUNKS, TensorLayout};
pub use merge::{Aggregator, MAX_TOTAL_WEIGHT, MergeError, MergeRule, ScaleLimits};
pub use merkle::{ChunkProof, MerkleTree};
pub use metadata::{MAX_NUMERICS_BYTES, Metadata, MetadataError};
pub use outer::{LengthMismatch, OuterState, OuterStep, drift, outer_step, rebase, state_hash};
pub use payload::{Payload, PayloadChunk, PayloadError};
pub use scale::{MAX_SCALE_EXPONENT, Scale, UNIT_EXPONENT};
pub use shares::{linear_factor, shares_dot};
pub use slice::{AggregateSlice, SliceError};
