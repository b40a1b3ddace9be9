//! Why bytes are not an aggregate.

use crate::frame::FrameError;

/// Bytes that are not an aggregate of this layout; their author is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AggregateError {
    /// Head, lengths or hashes are wrong.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Made for another model.
    #[error("aggregate is for {parameters} parameters in {chunks} chunks, not for this model; its author is at fault")]
    WrongModel {
        /// The aggregate's number of parameters.
        parameters: u64,
        /// The aggregate's number of chunks.
        chunks: u64,
    },
    /// A method or a divisor that no merge has.
    #[error("the aggregate's method {method} or its least divisor {floor} is unknown; its author is at fault")]
    Rule {
        /// The method's number.
        method: u8,
        /// The least divisor.
        floor: u32,
    },
    /// A rule of scales or a part of the step that no merge has.
    #[error("the aggregate's rule of scales or its part of the step is unknown; its author is at fault")]
    Scales,
    /// No contributors, one of weight 0, uids that do not ascend, or weights that sum to too much.
    #[error("the aggregate's list of {count} contributors is not in its form; its author is at fault")]
    Contributors {
        /// Their number.
        count: u16,
    },
    /// An entry that no payloads can have summed to.
    #[error("chunk {chunk}: an entry is out of range; the aggregate's author is at fault")]
    Entry {
        /// The chunk's number.
        chunk: usize,
    },
    /// More entries, or more senders, than the contributors may have sent.
    #[error(
        "chunk {chunk}: {entries} entries are more than the contributors may send; the aggregate's author is at fault"
    )]
    TooManyEntries {
        /// The chunk's number.
        chunk: usize,
        /// Its number of entries.
        entries: usize,
    },
    /// A content that has another coding.
    #[error("the segment of chunk {first_chunk} is not in canonical form; the aggregate's author is at fault")]
    NotCanonical {
        /// First chunk of the segment.
        first_chunk: usize,
    },
}
