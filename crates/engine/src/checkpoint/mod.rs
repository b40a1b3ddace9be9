//! Between parameters and the bytes of a Hugging Face checkpoint; reading and writing files is the caller's.
//!
//! | file | functions |
//! | --- | --- |
//! | `model.safetensors` (or its shards) | [`write_safetensors`], [`read_safetensors`] |
//! | `config.json` | [`config_to_json`], [`config_from_json`] |
//! | `generation_config.json` | [`generation_config_to_json`], [`generation_config_from_json`] |

mod config;
mod precision;
mod safetensors;

pub use config::{
    SpecialTokens, config_from_json, config_to_json, generation_config_from_json, generation_config_to_json,
};
pub use precision::Precision;
pub use safetensors::{read_safetensors, write_safetensors};

/// A checkpoint that cannot be read; the file is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The file's frame is broken.
    #[error("safetensors file {file}: {reason}")]
    Frame {
        /// Which of the files, from 0.
        file: usize,
        /// What is wrong.
        reason: String,
    },
    /// A tensor's description or data is broken.
    #[error("tensor `{name}`: {reason}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor that the model needs is in none of the files.
    #[error("tensor `{0}` is missing; is a shard missing, or does config.json belong to another model?")]
    Missing(String),
    /// A field of a JSON file is missing, broken or asks for what this engine cannot do.
    #[error("config field `{field}`: {reason}")]
    Field {
        /// The field.
        field: String,
        /// What is wrong.
        reason: String,
    },
}
