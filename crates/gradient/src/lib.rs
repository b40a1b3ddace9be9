//! Pseudo-gradients: what a miner sends of a window's training, and how all nodes merge and apply it.
//!
//! A miner's drift goes through error feedback and a selection of the largest values of each chunk, each sent as its
//! sign times the chunk's scale. Every scale is an integer in one fixed unit ([`UNIT_EXPONENT`]), so that merging is
//! integer addition: any order, any machine, the same bits. Nothing here knows of the engine, of a peer's identity
//! beyond its uid, or of storage; it works on slices and a [`GradientLayout`].
//!
//! Everything goes by segments of 1,048,576 values, so that what it takes of memory does not grow with the model:
//!
//! | step | holds beside the buffers that it is given |
//! | --- | --- |
//! | [`ErrorFeedback::prepare`], [`ErrorFeedback::commit`]: drift, selection, coding | one segment of values, the selected indices |
//! | [`Payload`], [`Aggregate`]: checked bytes, decoded as they are read | the bytes |
//! | [`Merge`]: payloads merged as they are read, by [`OuterStep::apply`], [`Shares::dot`], [`Aggregate::of`] | one chunk of each payload for each thread |
//! | [`StateTree`]: the state root, and where two states differ | 32 bytes a segment |
//!
//! ```
//! use templar_gradient::{
//!     Accumulation, Aggregate, ErrorFeedback, FeedbackError, GradientLayout, MergeRule, Metadata, OuterState, Payload,
//!     outer_step,
//! };
//!
//! let layout = GradientLayout::new([("weight".to_owned(), 5000, 64)]).unwrap();
//! let drift: Vec<f32> = (0..5000).map(|i| ((i * 37 % 101) as f32 - 50.0) * 1e-3).collect();
//! let read = |range: std::ops::Range<usize>, out: &mut [f32]| {
//!     out.copy_from_slice(&drift[range]);
//!     Ok::<(), FeedbackError>(())
//! };
//!
//! let rules = Accumulation::with_decay(0.8);
//! let mut feedback = ErrorFeedback::new(&layout);
//! let sent = feedback.prepare(&layout, rules, Metadata::default(), read).unwrap();
//! feedback.commit(&sent, rules, read).unwrap();
//!
//! let payload = Payload::decode(sent.bytes(), &layout).unwrap();
//! let aggregate = Aggregate::merge(&layout, &[(&payload, 1)], MergeRule::default()).unwrap();
//! let mut state = OuterState::new(vec![0.0; 5000]);
//! outer_step(&mut state.params, &aggregate, 1.0).unwrap();
//! assert_eq!(state.params.iter().filter(|value| **value != 0.0).count(), payload.kept());
//! println!("state root {}", state.hash());
//! ```

mod aggregate;
mod bits;
mod bytes;
#[cfg(any(test, feature = "exchange"))]
pub mod exchange;
mod expected;
mod feedback;
mod frame;
mod frequencies;
mod layout;
mod length;
mod likeness;
mod merge;
mod merged;
mod merkle;
mod metadata;
mod outer;
mod payload;
mod rule;
mod scale;
mod shares;
mod state;
mod worker_roots;

pub use aggregate::{Aggregate, AggregateError, AggregateSlice, Aggregator, SliceError};
pub use feedback::{Accumulation, ErrorFeedback, FeedbackError};
pub use frame::FrameError;
pub use layout::{CHUNK_VALUES, GradientLayout, LayoutError, Mode, SEGMENT_CHUNKS, TensorLayout};
pub use length::LengthMismatch;
pub use likeness::agreements_with_merged;
pub use merge::{MAX_TOTAL_WEIGHT, Merge, MergeError};
pub use merged::{Contributor, MergeHead, Merged, MergedChunk};
pub use merkle::{ChunkProof, MerkleTree};
pub use metadata::{MAX_NUMERICS_BYTES, Metadata, MetadataError};
pub use outer::{OuterStep, drift, outer_step, rebase};
pub use payload::{Payload, PayloadChunk, PayloadError, PayloadSegment, agreements, agreements_with};
pub use rule::{MergeRule, ScaleLimits};
pub use scale::{MAX_SCALE_EXPONENT, Scale, UNIT_EXPONENT};
pub use shares::{Shares, linear_factor, shares_dot};
pub use state::{
    OuterState, STATE_SEGMENT_VALUES, StateHasher, StatePart, StateSegment, StateTree, state_hash, state_segment_hash,
};
pub use worker_roots::{FeedbackOrigin, WorkerRoots, optimiser_root, trajectory_tree};
