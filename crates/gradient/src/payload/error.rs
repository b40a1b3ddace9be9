//! Why bytes are not a payload.

use crate::frame::FrameError;
use crate::metadata::MetadataError;

/// Bytes that are not a payload of this layout; the peer that made them is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// Head, lengths or hashes are wrong.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The metadata is not in its form.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// Made for another model.
    #[error("payload is for {parameters} parameters in {tensors} tensors, not for this model; the peer is at fault")]
    WrongModel {
        /// The payload's number of parameters.
        parameters: u64,
        /// The payload's number of tensors.
        tensors: u32,
    },
    /// A tensor's mode is unknown, or its kept count or Rice parameter is not the layout's.
    #[error(
        "tensor {tensor}: mode {mode}, {kept} kept of a chunk, rice parameter {rice_bits} are not the run's; the peer is at fault"
    )]
    TensorRow {
        /// The tensor's number.
        tensor: usize,
        /// Its mode byte.
        mode: u8,
        /// Its kept count.
        kept: u16,
        /// Its Rice parameter.
        rice_bits: u8,
    },
    /// A tensor's base exponent is too large, or not the smallest of its chunks, or it sends nothing and has a mode.
    #[error("tensor {tensor}: mode or base exponent {base} is not what its scales make it; the peer is at fault")]
    BaseExponent {
        /// The tensor's number.
        tensor: usize,
        /// Its base exponent.
        base: u8,
    },
    /// A scale without meaning.
    #[error("chunk {chunk}: scale {code:#04x} over base {base} is out of range; the peer is at fault")]
    ScaleOutOfRange {
        /// The chunk's number.
        chunk: usize,
        /// The scale as it is coded.
        code: u8,
        /// The tensor's base exponent.
        base: u8,
    },
    /// A partial chunk that sends nothing or as much as a full one.
    #[error("chunk {chunk}: a partial count of {count} is outside 1..{allowed}; the peer is at fault")]
    PartialCount {
        /// The chunk's number.
        chunk: usize,
        /// The count.
        count: u16,
        /// What a full chunk keeps.
        allowed: u16,
    },
    /// An index past the chunk's end.
    #[error("chunk {chunk}: index {index} is outside the chunk of {len} values; the peer is at fault")]
    IndexOutOfRange {
        /// The chunk's number.
        chunk: usize,
        /// The index in the chunk.
        index: u32,
        /// The chunk's length.
        len: u16,
    },
    /// Two scales of which one is not used or out of range.
    #[error("chunk {chunk}: a second scale {octaves} octaves over the first is not in its form; the peer is at fault")]
    SecondScale {
        /// The chunk's number.
        chunk: usize,
        /// Octaves from the smaller to the larger scale.
        octaves: u8,
    },
    /// Rounded values of which one is zero, or whose step is not the smallest that they fit.
    #[error("chunk {chunk}: its rounded values are not in their form; the peer is at fault")]
    Rounding {
        /// The chunk's number.
        chunk: usize,
    },
    /// A segment's bits end inside a chunk.
    #[error("chunk {chunk} runs over the end of its segment; the peer is at fault")]
    SegmentOverrun {
        /// The chunk's number.
        chunk: usize,
    },
    /// A segment has bytes after its last chunk, or its padding is not zero.
    #[error("a segment has bytes or padding after its last chunk; the peer is at fault")]
    SegmentTail,
}
