//! From a GGUF file to the sizes and parameters of a model.

use super::accounting::{Keys, check_keys, check_tensors, check_type};
use super::{Gguf, GgufError, GgufTensor};
use crate::checkpoint::SpecialTokens;
use crate::rope::frequencies;
use crate::{ParamLayout, Tensor};
use templar_base::{ModelConfig, RopeScaling};

/// The context for which the models were trained whose rotation was scaled afterwards (Llama 3.1 to 3.3).
const LLAMA3_ORIGINAL_CONTEXT: usize = 8192;

pub(super) fn bad(key: impl Into<String>, reason: impl Into<String>) -> GgufError {
    GgufError::Key { key: key.into(), reason: reason.into() }
}

pub(super) fn bad_tensor(name: &str, reason: impl Into<String>) -> GgufError {
    GgufError::Tensor { name: name.to_owned(), reason: reason.into() }
}

/// The sizes and special tokens of the model. Rejects by its name every key and tensor that this engine does not
/// compute with and that may change what the model computes.
pub fn gguf_config(file: &Gguf) -> Result<(ModelConfig, SpecialTokens), GgufError> {
    if let Some((number, count)) = file.part() {
        let reason = format!("this is part {} of {count}: all parts are needed", number + 1);
        return Err(bad("split.count", reason));
    }
    check_type(file)?;
    let architecture = file.text("general.architecture").ok_or(bad("general.architecture", "it is missing"))?;
    if !["llama", "qwen3"].contains(&architecture) {
        return Err(bad("general.architecture", format!("`{architecture}` is not one of llama, qwen3")));
    }
    let keys = Keys { file, architecture };
    let embedding = file.tensors.get("token_embd.weight").ok_or(bad_tensor("token_embd.weight", "it is missing"))?;
    let [vocab_size, hidden_size] = embedding.shape[..] else {
        return Err(bad_tensor("token_embd.weight", "it is not a matrix"));
    };
    let heads = keys.needed("attention.head_count")?;
    let usual_head = hidden_size.checked_div(heads).unwrap_or(0);
    let epsilon = keys.number("attention.layer_norm_rms_epsilon")?;
    let mut config = ModelConfig {
        vocab_size,
        hidden_size,
        intermediate_size: keys.needed("feed_forward_length")?,
        num_hidden_layers: keys.needed("block_count")?,
        num_attention_heads: heads,
        num_key_value_heads: keys.size("attention.head_count_kv")?.unwrap_or(heads),
        head_dim: keys.size("attention.key_length")?.unwrap_or(usual_head),
        max_position_embeddings: keys.needed("context_length")?,
        rms_norm_eps: epsilon.ok_or_else(|| bad(keys.name("attention.layer_norm_rms_epsilon"), "it is missing"))?
            as f32,
        rope_theta: keys.number("rope.freq_base")?.unwrap_or(10_000.0),
        rope_scaling: None,
        tie_word_embeddings: !file.tensors.contains_key("output.weight"),
        qk_norm: architecture == "qwen3",
        initializer_range: 0.02,
    };
    config.check().map_err(|error| bad(error.field, error.reason))?;
    check_keys(&keys, &config)?;
    config.rope_scaling = rope_scaling(file, &config)?;
    check_tensors(file, &config)?;
    Ok((config, special_tokens(file)))
}

fn special_tokens(file: &Gguf) -> SpecialTokens {
    let token = |key: &str| {
        let value = file.values.get(format!("tokenizer.ggml.{key}_token_id").as_str())?;
        value.as_unsigned().and_then(|token| u32::try_from(token).ok())
    };
    let mut end = Vec::new();
    for found in ["eos", "eot", "eom"].into_iter().filter_map(token) {
        if !end.contains(&found) {
            end.push(found);
        }
    }
    SpecialTokens { begin: token("bos"), end, padding: token("padding") }
}

/// What a table of frequency divisors (`rope_freqs.weight`) comes from. The file has the divisors alone: the factor is
/// the largest of them, the rest is what all of Llama 3 have, and it must give the table again.
fn rope_scaling(file: &Gguf, config: &ModelConfig) -> Result<Option<RopeScaling>, GgufError> {
    const NAME: &str = "rope_freqs.weight";
    let Some(tensor) = file.tensors.get(NAME) else { return Ok(None) };
    if tensor.shape != [config.head_dim / 2] {
        return Err(bad_tensor(NAME, "it does not have a value for each pair of a head"));
    }
    let divisors = tensor.to_f32().ok_or_else(|| bad_tensor(NAME, tensor.unread().unwrap_or_default()))?;
    let factor = divisors.iter().copied().fold(0.0, f32::max);
    if divisors.iter().all(|&divisor| divisor == 1.0) {
        return Ok(None);
    }
    let scaling = RopeScaling {
        factor: factor.into(),
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: LLAMA3_ORIGINAL_CONTEXT,
    };
    let scaled = ModelConfig { rope_scaling: Some(scaling.clone()), ..config.clone() };
    scaled.check().map_err(|error| bad_tensor(NAME, error.reason))?;
    let ratios = frequencies(config).into_iter().zip(frequencies(&scaled)).map(|(plain, scaled)| plain / scaled);
    let is_it = ratios.zip(&divisors).all(|(ratio, divisor)| (ratio - divisor).abs() <= 1e-3 * ratio);
    if is_it { Ok(Some(scaling)) } else { Err(bad_tensor(NAME, "its divisors are not those of Llama 3's scaling")) }
}

/// The parameters in canonical order; `config` is what [`gguf_config`] read.
pub fn gguf_parameters(file: &Gguf, config: &ModelConfig) -> Result<Vec<f32>, GgufError> {
    // llama.cpp turns neighbouring values of a `llama` head, so its converter reorders the rows of q and k.
    let is_interleaved = file.text("general.architecture") == Some("llama");
    let layout = ParamLayout::new(config);
    // All shapes come before any memory: hostile sizes have no tensors to go with.
    let wanted = wanted_tensors(file, &layout)?;
    let mut parameters = Vec::with_capacity(layout.total());
    for (tensor, stored) in wanted {
        let unread = || bad_tensor(&gguf_name(&tensor.name), stored.unread().unwrap_or_default());
        let mut values = stored.to_f32().ok_or_else(unread)?;
        if is_interleaved && (tensor.name.ends_with("q_proj.weight") || tensor.name.ends_with("k_proj.weight")) {
            values = halves_from_pairs(&values, config.head_dim, config.hidden_size);
        }
        parameters.extend(values);
    }
    Ok(parameters)
}

/// Whether [`gguf_parameters`] finds all that it needs, without reading the values.
pub fn gguf_fits(file: &Gguf, config: &ModelConfig) -> Result<(), GgufError> {
    wanted_tensors(file, &ParamLayout::new(config)).map(|_| ())
}

/// The file's tensor for each of the layout.
fn wanted_tensors<'l, 'f, 'a>(
    file: &'f Gguf<'a>,
    layout: &'l ParamLayout,
) -> Result<Vec<(&'l Tensor, &'f GgufTensor<'a>)>, GgufError> {
    let find = |tensor: &'l Tensor| {
        let name = gguf_name(&tensor.name);
        let stored = file.tensors.get(name.as_str()).ok_or_else(|| bad_tensor(&name, "it is missing"))?;
        if stored.shape != tensor.shape {
            let reason = format!("shape {:?} where the sizes ask for {:?}", stored.shape, tensor.shape);
            return Err(bad_tensor(&name, reason));
        }
        match stored.unread() {
            Some(reason) => Err(bad_tensor(&name, reason)),
            None => Ok((tensor, stored)),
        }
    };
    layout.tensors().iter().map(find).collect()
}

/// Rows of each head from the order (pair, part) to (part, pair): row `2 p + s` of a head becomes row `s h/2 + p`.
fn halves_from_pairs(values: &[f32], head_dim: usize, width: usize) -> Vec<f32> {
    let mut ordered = Vec::with_capacity(values.len());
    for head in values.chunks_exact(head_dim * width) {
        for part in 0..2 {
            let rows = head.chunks_exact(width).skip(part).step_by(2);
            rows.for_each(|row| ordered.extend_from_slice(row));
        }
    }
    ordered
}

/// The name that llama.cpp gives to a tensor of this Hugging Face name.
pub(super) fn gguf_name(name: &str) -> String {
    match name {
        "model.embed_tokens.weight" => return "token_embd.weight".into(),
        "model.norm.weight" => return "output_norm.weight".into(),
        "lm_head.weight" => return "output.weight".into(),
        _ => {}
    }
    let Some((layer, part)) = name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')) else {
        return name.to_owned();
    };
    let part = match part.trim_end_matches(".weight") {
        "input_layernorm" => "attn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "self_attn.o_proj" => "attn_output",
        "post_attention_layernorm" => "ffn_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        other => other,
    };
    format!("blk.{layer}.{part}.weight")
}
