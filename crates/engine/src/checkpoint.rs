//! Between parameters and the bytes of a Hugging Face checkpoint; opening and naming files is the caller's.
//!
//! | file | functions |
//! | --- | --- |
//! | `model.safetensors` | [`write_streamed`], [`ParameterStream`]; in memory [`write_safetensors`], [`read_safetensors`] |
//! | its shards and their index | [`Shards`], [`ParameterStream`], [`files_of_index`] |
//! | a whole folder, by names | [`settings_files`], [`parameter_files`], [`read_folder`] |
//! | `config.json` | [`config_to_json`], [`config_from_json`] |
//! | `generation_config.json` | [`generation_config_to_json`], [`generation_config_from_json`] |
//! | a `.gguf` of llama.cpp (read only) | [`Gguf`], [`gguf_config`], [`gguf_parameters`], [`gguf_tokenizer`] |

mod config;
mod folder;
mod gguf;
mod precision;
mod safetensors;
mod shards;

pub use config::{
    SpecialTokens, config_from_json, config_to_json, generation_config_from_json, generation_config_to_json,
    unused_config_keys,
};
pub use folder::{
    CONFIG_FILE, GENERATION_FILE, PARAMETERS_FILE, TOKENIZER_FILE, parameter_files, read_folder, settings_files,
};
pub use gguf::{Array, Gguf, GgufError, GgufTensor, Value, gguf_config, gguf_fits, gguf_parameters, gguf_tokenizer};
pub use precision::Precision;
pub use safetensors::{
    ParameterReader, ParameterStream, Source, StoredTensor, check_types, read_safetensors, stored_tensors,
    write_safetensors, write_streamed,
};
pub use shards::{INDEX_FILE, Shards, files_of_index};

/// Why a tensor that the architecture does not have is rejected, in the words of what it is.
fn strange_tensor(name: &str) -> &'static str {
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    match () {
        () if has(&["lora_", ".lora", "loraA", "loraB"]) => "adapters are not supported: merge it into the model first",
        () if name.ends_with(".bias") || name.ends_with(".b") => "biases are not supported",
        () if has(&["_exps", "experts", "gate_inp", "_shexp", "router"]) => "mixtures of experts are not supported",
        () if has(&["qweight", "qzeros", "scales", "_scale", "quant", "absmax"]) => {
            "quantised weights are not supported"
        }
        () => "this architecture has no such tensor",
    }
}

/// An error of whatever gives or takes the values of a stream, such as an engine.
pub type ValueError = Box<dyn std::error::Error + Send + Sync>;

/// Fills values with the parameters from a place on: `source(start, values)`.
pub type ValueSource<'a> = dyn FnMut(usize, &mut [f32]) -> Result<(), ValueError> + 'a;

/// Takes the parameters from a place on: `sink(start, values)`.
pub type ValueSink<'a> = dyn FnMut(usize, &[f32]) -> Result<(), ValueError> + 'a;

/// A checkpoint that could not be streamed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The file is broken, or another model's.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The bytes could not be read or written.
    #[error("the parameters cannot be read or written: {0}")]
    Io(#[from] std::io::Error),
    /// What gives the values could not, or what takes them did not.
    #[error("the model's values cannot be read or written: {0}")]
    Values(#[source] ValueError),
}

/// A checkpoint that cannot be read; the file is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
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
    /// A file with parameters is missing.
    #[error("{file} is missing{instead}")]
    NoParameters {
        /// The file.
        file: String,
        /// What there is that may be meant, and what to do with it.
        instead: String,
    },
    /// The files cannot hold the parameters that `config.json` promises.
    #[error("{bytes} bytes of tensors are too few for the {parameters} parameters of config.json; is a file missing?")]
    TooSmall {
        /// Parameters of the model.
        parameters: u64,
        /// Bytes of all files.
        bytes: u64,
    },
    /// A field of a JSON file is missing, broken or asks for what this engine cannot do.
    #[error("config field `{field}`: {reason}")]
    Field {
        /// The field.
        field: String,
        /// What is wrong.
        reason: String,
    },
}
