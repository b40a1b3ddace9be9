//! What a measurement of a gateway fails by.

use crate::FileError;
use std::io;
use templar_corpus::TokenizerError;
use templar_engine::UnknownPreset;
use templar_gateway::ServedError;
use templar_record::RecordError;
use tokio::task::JoinError;

/// A gateway that could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayBenchError {
    /// There is no model of this name; the caller is at fault.
    #[error(transparent)]
    Preset(#[from] UnknownPreset),
    /// The folder of the untrained model.
    #[error(transparent)]
    Folder(#[from] FileError),
    /// The untrained model cannot be written; the disk is at fault.
    #[error(transparent)]
    Write(#[from] RecordError),
    /// The tokenizer of the untrained model; a fault of this program.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The model cannot be served.
    #[error(transparent)]
    Served(#[from] ServedError),
    /// The gateway does not start.
    #[error("the gateway does not start")]
    Start(#[source] io::Error),
    /// The address is none; the caller is at fault.
    #[error("{0} is not the address of an API; write it as http://127.0.0.1:8000/v1")]
    Address(String),
    /// The server does not answer, or breaks off.
    #[error("{url} does not answer: {reason}; check that the server runs")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The server rejects a request.
    #[error(
        "{url} rejects a request with status {status}: {message}; ask for fewer --clients, --tokens or --prompt-bytes"
    )]
    Rejected {
        /// What was asked.
        url: String,
        /// Status of the answer.
        status: u16,
        /// What the server says.
        message: String,
    },
    /// What answers does not have OpenAI's form; the server is at fault.
    #[error("what {url} answers is not of OpenAI's API; name another server with --url")]
    NotTheApi {
        /// What was asked.
        url: String,
    },
    /// A client ended early; a fault of this program.
    #[error("a client's task ended early; this is a fault of the program: report it")]
    Task(#[from] JoinError),
}
