//! Every key of the architecture and every tensor of a GGUF file is accounted for: computed with, known to change
//! nothing, or rejected by its name.

use super::model::{bad, bad_tensor, gguf_name};
use super::{Gguf, GgufError, Value};
use crate::ParamLayout;
use std::collections::BTreeSet;
use templar_base::ModelConfig;

/// The keys of a model's architecture, such as `llama.block_count`.
pub(super) struct Keys<'f, 'a> {
    pub(super) file: &'f Gguf<'a>,
    pub(super) architecture: &'a str,
}

impl Keys<'_, '_> {
    pub(super) fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn get(&self, key: &str) -> Option<Value<'_>> {
        self.file.values.get(self.name(key).as_str()).copied()
    }

    /// A size; a list with one for each layer is fine where all are equal.
    pub(super) fn size(&self, key: &str) -> Result<Option<usize>, GgufError> {
        let bad = |reason: &str| bad(self.name(key), reason);
        let value = match self.get(key) {
            None => return Ok(None),
            Some(Value::Array(array)) => {
                let first = array.values().next().ok_or(bad("it is empty"))?;
                if array.values().any(|value| value != first) {
                    return Err(bad("layers that differ from each other are not supported"));
                }
                first
            }
            Some(value) => value,
        };
        let size = value.as_unsigned().and_then(|value| usize::try_from(value).ok());
        size.ok_or(bad("it is not a size")).map(Some)
    }

    pub(super) fn needed(&self, key: &str) -> Result<usize, GgufError> {
        self.size(key)?.ok_or_else(|| bad(self.name(key), "it is missing"))
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, GgufError> {
        let value = self.get(key);
        value.map(|value| value.as_float().ok_or_else(|| bad(self.name(key), "it is not a number"))).transpose()
    }
}

/// Keys of the architecture that the reader computes with.
const USED: &[&str] = &[
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "block_count",
    "context_length",
    "feed_forward_length",
    "rope.freq_base",
];

/// Keys that change nothing: how a file came about. The context before a scaling is checked with the divisors.
const HARMLESS: &[&str] = &["rope.scaling.finetuned", "rope.scaling.original_context_length", "tensor_data_layout"];

/// Factors: 1, or 0 for "not set", stand for "none".
const FACTORS: &[&str] = &[
    "embedding_scale",
    "logit_scale",
    "residual_scale",
    "rope.scale_linear",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
];

/// Rejects a file of which the key says that it is something else than a model: an adapter, the middle of an importance
/// matrix, a vocabulary. Before anything of a model is missed in it.
pub(super) fn check_type(file: &Gguf) -> Result<(), GgufError> {
    match file.text("general.type").filter(|kind| *kind != "model") {
        Some("adapter") => Err(bad("general.type", "this is not a model but: adapter; merge it into its model first")),
        Some(kind) => Err(bad("general.type", format!("this is not a model but: {kind}"))),
        None => Ok(()),
    }
}

/// Rejects the first key of the architecture that may change what the model computes and that is not computed with. A
/// key that is not known here is fine where its value is 0, false or "none".
pub(super) fn check_keys(keys: &Keys, config: &ModelConfig) -> Result<(), GgufError> {
    for (key, value) in &keys.file.values {
        let Some(name) = key.strip_prefix(keys.architecture).and_then(|rest| rest.strip_prefix('.')) else {
            // Other namespaces describe the file and its tokenizer; those of adapters and encoders are models.
            if key.starts_with("adapter.") || key.starts_with("clip.") {
                return Err(bad(*key, "this is not a whole language model"));
            }
            continue;
        };
        let size = |wanted: usize| value.as_unsigned() == Some(wanted as u64);
        let number = |wanted: f64| value.as_float().is_some_and(|value| (value - wanted).abs() <= 1e-6 * wanted.abs());
        let is_fine = match name {
            name if USED.contains(&name) || HARMLESS.contains(&name) => true,
            "vocab_size" => size(config.vocab_size),
            "embedding_length" => size(config.hidden_size),
            "attention.value_length" | "rope.dimension_count" => {
                keys.size(name)?.is_none_or(|size| size == config.head_dim)
            }
            "attention.causal" => *value == Value::Flag(true),
            "attention.scale" => number(0.0) || number((config.head_dim as f64).powf(-0.5)),
            "attention.sliding_window" => {
                size(0) || value.as_unsigned().is_some_and(|window| window >= config.max_position_embeddings as u64)
            }
            name if FACTORS.contains(&name) => number(0.0) || number(1.0),
            _ => is_off(value),
        };
        if !is_fine {
            let reason = format!("{} is not supported", shown(value));
            return Err(bad(*key, reason));
        }
    }
    Ok(())
}

/// Whether a value switches a setting off.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Flag(flag) => !flag,
        Value::Text(text) => text.is_empty() || *text == "none",
        Value::Array(values) => values.values().all(|value| is_off(&value)),
        number => number.as_float() == Some(0.0),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Unsigned(value) => value.to_string(),
        Value::Signed(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Flag(value) => value.to_string(),
        Value::Text(text) => format!("`{text}`"),
        Value::NotText => "a text that is not UTF-8".to_owned(),
        Value::Array(_) => "the list".to_owned(),
    }
}

/// Tables of the rotation that older converters wrote for each layer; they follow from the sizes.
const HARMLESS_TENSORS: &[&str] = &[".attn_rot_embd.inv_freq", ".rope.freqs"];

/// Rejects the first tensor that the architecture does not have.
pub(super) fn check_tensors(file: &Gguf, config: &ModelConfig) -> Result<(), GgufError> {
    if config.num_hidden_layers > file.tensors.len() {
        let reason = format!("{} layers are more than the file's tensors", config.num_hidden_layers);
        return Err(bad("block_count", reason));
    }
    let layout = ParamLayout::new(config);
    let mut wanted: BTreeSet<String> = layout.tensors().iter().map(|tensor| gguf_name(&tensor.name)).collect();
    wanted.insert("rope_freqs.weight".to_owned());
    let is_strange =
        |name: &&str| !wanted.contains(*name) && !HARMLESS_TENSORS.iter().any(|harmless| name.ends_with(harmless));
    match file.tensors.keys().copied().find(is_strange) {
        Some(name) => Err(bad_tensor(name, crate::checkpoint::strange_tensor(name))),
        None => Ok(()),
    }
}
