//! What can go wrong in an engine.

use crate::ops::OpsError;
use crate::{Buffer, DeltaError, DeviceName, TooLittleMemory};
use templar_base::ModelConfigError;

/// A request that an engine refuses; its state is as before, unless said otherwise.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The model's sizes do not fit each other.
    #[error(transparent)]
    Config(#[from] ModelConfigError),
    /// An optimiser setting is out of its range.
    #[error("optimiser setting `{field}` is {value}; it must be {rule}")]
    Optimiser {
        /// The setting at fault.
        field: &'static str,
        /// Its value.
        value: f32,
        /// What it must be.
        rule: &'static str,
    },
    /// The instruction set was asked for and is not there.
    #[error("this machine lacks the instruction set {0}; choose another or none")]
    IsaMissing(crate::Isa),
    /// The device failed or ran out of memory in the middle of the request. A training step may have changed some of the
    /// parameters: write them again, or open a new engine.
    #[error(transparent)]
    Device(#[from] OpsError),
    /// The processes that an engine computes with could not be started, or rejected the request.
    #[error("{0}")]
    Process(String),
    /// The processes that an engine computes with are gone, and parameters and moments with them. Every further request
    /// fails so: open a new engine, and write what was kept.
    #[error("{0}")]
    Lost(String),
    /// The machine has too little memory for the model; nothing was allocated.
    #[error("{0}")]
    Memory(#[source] TooLittleMemory),
    /// The threads could not be started.
    #[error("could not start the engine's threads: {0}")]
    Threads(String),
    /// No backend of this program has the device.
    #[error("this machine has no device `{name}`; choose one of: {}", names(available))]
    UnknownDevice {
        /// The device that was requested.
        name: DeviceName,
        /// The devices that exist.
        available: Vec<DeviceName>,
    },
    /// A range reaches beyond a flat buffer.
    #[error("{len} values from {start} on are outside the {what} of {total} values; the caller is at fault")]
    Range {
        /// Which buffer.
        what: Buffer,
        /// The first value of the range.
        start: usize,
        /// Its length.
        len: usize,
        /// Values of the buffer.
        total: usize,
    },
    /// A batch's numbers contradict each other.
    #[error("batch of {sequences} sequences of length {length} has {actual} tokens; it needs sequences x (length + 1)")]
    BatchShape {
        /// Number of sequences claimed.
        sequences: usize,
        /// Length claimed.
        length: usize,
        /// Number of tokens given.
        actual: usize,
    },
    /// A token lies outside the vocabulary.
    #[error("token {token} at place {place} is outside the vocabulary of {vocab_size}; the data is at fault")]
    Token {
        /// The token.
        token: u32,
        /// Its place in the batch or prompt.
        place: usize,
        /// The vocabulary's size.
        vocab_size: usize,
    },
    /// Nothing to work on.
    #[error("{0} is empty; give at least one token to learn from")]
    Empty(&'static str),
    /// The delta does not fit the model.
    #[error(transparent)]
    Delta(#[from] DeltaError),
    /// A number overflowed; a train step leaves parameters and optimiser as they were.
    #[error("{0} is not finite; the learning rate is too high or the parameters are broken")]
    NotFinite(&'static str),
    /// The prompt leaves no position for a new token.
    #[error("a prompt of {tokens} tokens fills the {limit} positions of the model; shorten it")]
    PromptTooLong {
        /// Length of the prompt.
        tokens: usize,
        /// Positions that the model is meant for.
        limit: usize,
    },
    /// A generation option is out of its range.
    #[error("generation option `{field}` is {value}; it must be {rule}")]
    Generate {
        /// The option.
        field: &'static str,
        /// Its value.
        value: f32,
        /// What it must be.
        rule: &'static str,
    },
    /// The engine trains and judges only.
    #[error("the engine on {0} does not generate text; open another device for that")]
    CannotGenerate(String),
    /// The engine measures whole sequences only.
    #[error("the engine on {0} does not score texts token by token; open another device for that")]
    CannotScore(String),
    /// More tokens than a text has room for, or than the model has positions.
    #[error("a text of {tokens} tokens is over the limit of {limit}; shorten it")]
    TextTooLong {
        /// Tokens of the text.
        tokens: usize,
        /// Tokens that it may have.
        limit: usize,
    },
    /// More tokens to score than tokens that predict them.
    #[error("{targets} targets for {tokens} tokens; the caller is at fault")]
    MoreTargets {
        /// Tokens to score.
        targets: usize,
        /// Tokens that predict.
        tokens: usize,
    },
    /// A text came back to another engine than the one that began it.
    #[error("the text was begun by an engine of another kind; advance it with the engine that began it")]
    ForeignText,
}

impl EngineError {
    /// Whether the engine cannot be used any more: its parameters are gone.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }
}

fn names(devices: &[DeviceName]) -> String {
    devices.iter().map(DeviceName::to_string).collect::<Vec<_>>().join(", ")
}
