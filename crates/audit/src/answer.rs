//! What a drawn miner publishes: the leaves of its trajectory, and the state that its last payload left.

use crate::coding::{CodingError, Kind};
use crate::links::fresh_optimiser_root;
use crate::states::WorkerState;
use parity_scale_codec::{Compact, Decode, Encode, IoReader};
use std::io::Read;
use templar_base::{ContentHash, Uid, Window};
use templar_engine::{Buffer, Engine, EngineError, Segments};
use templar_gradient::{ErrorFeedback, GradientLayout, Metadata, trajectory_tree};
use templar_trainer::{OwnState, TrainerError};

const ANSWER: Kind = Kind { what: "an audit answer", mark: *b"TAAN", version: 1 };
const END_STATE_MARK: &[u8; 6] = b"TAES\x01\0";

/// The state that a payload left: what the key's next payload starts from.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct EndState {
    /// The payload's window.
    pub window: Window,
    /// Parameters and optimiser after the last step.
    pub worker: WorkerState,
    /// The error feedback after the payload was taken out of it.
    pub feedback: Vec<f32>,
}

/// An end state in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct StateName {
    /// The window whose payload left it.
    pub window: Window,
    /// BLAKE3 of its bytes.
    pub hash: [u8; 32],
}

/// The answer to an audit. It needs no signature: all of it is bound by the payload.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Answer {
    /// The audited window.
    pub window: Window,
    /// The author's slot.
    pub uid: Uid,
    /// The leaves of the trajectory.
    pub leaves: Vec<ContentHash>,
    /// The state that the key's last payload before left; none where there was no payload before.
    pub last: Option<StateName>,
}

/// An end state that cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The bytes are not of the form.
    #[error(transparent)]
    Coding(#[from] CodingError),
    /// The state is of another model.
    #[error("the end state is not that of a model of {parameters} parameters")]
    Parameters {
        /// Parameters of the model.
        parameters: usize,
    },
    /// The worker's state cannot be read.
    #[error(transparent)]
    Worker(#[from] TrainerError),
    /// The engine cannot be read.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The bytes cannot be written.
    #[error("the end state cannot be written: {0}")]
    Io(#[from] std::io::Error),
}

impl Answer {
    /// Longest coding of an answer about a trajectory of this many states.
    pub const fn max_bytes(states: u64) -> u64 {
        6 + 8 + 2 + 5 + 32 * states + 1 + 8 + 32
    }

    /// The bytes for the bucket.
    pub fn encode(&self) -> Vec<u8> {
        ANSWER.encode(self)
    }

    /// Parses an answer. Total; allocates a small multiple of the bytes' length at most.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodingError> {
        ANSWER.decode(bytes)
    }
}

impl Answer {
    /// Whether its leaves are those of the payload with this metadata, which everybody can see without a step; and whether it
    /// names a state where the payload needs one.
    pub fn is_of(&self, metadata: &Metadata, layout: &GradientLayout) -> bool {
        let is_about = (self.window, self.uid) == (metadata.window, metadata.uid);
        let is_whole = self.leaves.len() as u64 == metadata.trajectory_len();
        let is_bound = || trajectory_tree(&self.leaves).is_some_and(|tree| tree.root() == metadata.trajectory_root);
        let starts_afresh = || {
            metadata.start.optimiser == fresh_optimiser_root(layout.parameters())
                && metadata.start_feedback == ErrorFeedback::new(layout).root(layout)
        };
        is_about && is_whole && is_bound() && (self.last.is_some() || starts_afresh())
    }
}

impl EndState {
    /// Whether it is what the payload with this metadata left.
    pub fn is_left_by(&self, metadata: &Metadata, layout: &GradientLayout) -> bool {
        let parameters = layout.parameters();
        if !self.worker.has_length(parameters) || self.feedback.len() != parameters {
            return false;
        }
        let feedback = ErrorFeedback::from(self.feedback.clone());
        self.worker.roots() == metadata.end && feedback.root(layout) == metadata.error_feedback_root
    }

    /// Bytes of the coding for a model of this many parameters.
    pub fn coded_bytes(parameters: usize) -> u64 {
        let values = Compact(parameters as u64).encoded_size() as u64 + 4 * parameters as u64;
        END_STATE_MARK.len() as u64 + 8 + 8 + 4 * values
    }

    /// Writes the state that a worker is about to have after a payload, one segment at a time.
    pub fn write(
        window: Window,
        own: &mut OwnState<'_>,
        mut put: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), AnswerError> {
        let length = Compact(own.parameters() as u64).encode();
        put(END_STATE_MARK)?;
        put(&window.encode())?;
        put(&length)?;
        put_buffer(own.engine(), Buffer::Parameters, &mut put)?;
        put(&own.engine().optimiser_step().encode())?;
        for moment in [Buffer::FirstMoment, Buffer::SecondMoment] {
            put(&length)?;
            put_buffer(own.engine(), moment, &mut put)?;
        }
        put(&length)?;
        own.visit_feedback(|values| Ok(put_values(values, &mut put)?))
    }

    /// Reads what [`Self::write`] wrote, for a model of this many parameters. Total: no length of the bytes is believed
    /// before as many were read.
    pub fn read(from: &mut dyn Read, parameters: usize) -> Result<Self, AnswerError> {
        // No byte after the state is read, and none is needed to know that it is too long.
        let limit = Self::coded_bytes(parameters);
        let mut from = from.take(limit);
        let mut mark = [0; END_STATE_MARK.len()];
        from.read_exact(&mut mark)?;
        if &mark != END_STATE_MARK {
            return Err(CodingError::Mark { expected: "an end state" }.into());
        }
        let state = Self::decode(&mut IoReader(&mut from))
            .map_err(|error| CodingError::Malformed { what: "an end state", reason: error.to_string() })?;
        let fits = state.worker.has_length(parameters) && state.feedback.len() == parameters;
        if fits { Ok(state) } else { Err(AnswerError::Parameters { parameters }) }
    }
}

fn put_buffer(
    engine: &mut dyn Engine,
    buffer: Buffer,
    put: &mut impl FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<(), AnswerError> {
    engine.for_each_segment(buffer, |_, values| Ok::<(), AnswerError>(put_values(values, put)?))
}

fn put_values(values: &[f32], put: &mut impl FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
    values.chunks(1 << 14).try_for_each(|block| {
        let bytes: Vec<u8> = block.iter().flat_map(|value| value.to_le_bytes()).collect();
        put(&bytes)
    })
}
