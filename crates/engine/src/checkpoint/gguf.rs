//! Models in llama.cpp's GGUF format: read only.
//!
//! [`Gguf::parse`] is total: any bytes give a file or an error, in time and memory bounded by their length.

mod accounting;
mod block;
mod frame;
mod model;
mod tokenizer;

pub use frame::{Array, Gguf, GgufError, GgufTensor, Value};
pub use model::{gguf_config, gguf_fits, gguf_parameters};
pub use tokenizer::gguf_tokenizer;
