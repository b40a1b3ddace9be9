//! Every key of a `config.json` is accounted for: computed with, known to change nothing, or rejected by its name.
//!
//! A key in none of the lists is rejected where its name sounds like a setting of the computation ([`STEMS`]) and its
//! value is not "off". What remains is a field of another architecture or of a tool; `transformers` ignores it in these
//! architectures too, and [`unused_keys`] names it for people.

use super::{Fields, bad};
use crate::checkpoint::CheckpointError;
use serde_json::Value;

/// Keys that the reader computes with, or checks itself.
const USED: &[&str] = &[
    "attention_bias",
    "bos_token_id",
    "eos_token_id",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "layer_types",
    "max_position_embeddings",
    "mlp_bias",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "pad_token_id",
    "quantization_config",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "tie_word_embeddings",
    "use_sliding_window",
    "vocab_size",
];

/// Keys that change neither the parameters nor what is computed from them: names and versions, dropout (training with
/// `transformers` only), ways of computing the same, defaults of sampling, labels of classifiers.
#[rustfmt::skip]
const HARMLESS: &[&str] = &[
    "_attn_implementation", "_attn_implementation_autoset", "_flash_attn_2_enabled", "_name_or_path",
    "architectures", "attention_dropout", "attn_implementation", "attn_pdrop", "auto_map", "bad_words_ids",
    "begin_suppress_tokens", "chunk_size_feed_forward", "decoder_start_token_id", "diversity_penalty", "do_sample",
    "dtype", "early_stopping", "embd_pdrop", "embedding_dropout", "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty", "finetuning_task", "forced_bos_token_id", "forced_eos_token_id",
    "gradient_checkpointing", "hidden_dropout", "hidden_dropout_prob", "id2label", "is_decoder",
    "is_encoder_decoder", "is_llama_config", "label2id", "length_penalty", "mask_token_id", "max_length",
    "max_window_layers", "min_length", "min_new_tokens", "no_repeat_ngram_size", "num_beam_groups", "num_beams",
    "num_return_sequences", "output_attentions", "output_hidden_states", "output_scores", "prefix",
    "pretraining_tp", "problem_type", "remove_invalid_values", "repetition_penalty", "resid_pdrop",
    "residual_dropout", "return_dict", "return_dict_in_generate", "sep_token_id", "suppress_tokens",
    "task_specific_params", "temperature", "tf_legacy_loss", "tie_encoder_decoder", "tokenizer_class", "top_k",
    "top_p", "torch_dtype", "torchscript", "transformers.js_config", "transformers_version", "typical_p",
    "unsloth_fixed", "unsloth_version", "use_bfloat16", "use_cache", "use_flash_attention", "use_flash_attention_2",
];

/// Keys of other architectures with the one value that stands for "as here".
const NEUTRAL: &[(&str, &[&str])] = &[
    ("attention_out_bias", &["false"]),
    ("embedding_multiplier", &["1"]),
    ("embedding_scale", &["1"]),
    ("hidden_activation", &["\"silu\"", "\"swish\""]),
    ("is_causal", &["true"]),
    ("logit_scale", &["1"]),
    ("logits_scaling", &["1"]),
    ("norm_type", &["\"rmsnorm\"", "\"rms_norm\"", "\"RMSNorm\""]),
    ("norm_topk_prob", &["false", "true"]),
    ("partial_rotary_factor", &["1"]),
    ("position_embedding_type", &["\"rope\"", "\"rotary\"", "\"absolute\""]),
    ("residual_multiplier", &["1"]),
    ("rope_interleaved", &["false"]),
    ("rope_type", &["\"default\""]),
    ("rotary_pct", &["1"]),
];

/// A key one of whose words (between `_`) starts so may change what a model computes.
#[rustfmt::skip]
const STEMS: &[&str] = &[
    "act", "adapter", "alibi", "attention", "attn", "bias", "bidirectional", "block", "cap", "causal", "clip", "conv",
    "cross", "depth", "embed", "eps", "expert", "ffn", "gate", "gelu", "glu", "head", "hidden", "interleave",
    "intermediate", "kv", "latent", "layer", "logit", "lora", "mamba", "mixture", "mlp", "moe", "mtp", "multiplier",
    "nextn", "norm", "parallel", "position", "pruned", "qk", "qkv", "quant", "query", "rank", "relu",
    "residual", "rms", "rope", "rot", "rout", "scal", "silu", "sliding", "softcap", "softmax", "sparse", "ssm", "swiglu",
    "theta", "tie", "tied", "tying", "untie", "width", "window",
];

/// Whether a key's name sounds like a setting of the computation.
fn is_computation(key: &str) -> bool {
    let key = key.to_lowercase();
    key.split(['_', '.', '-']).any(|word| STEMS.iter().any(|stem| word.starts_with(stem)))
}

/// Whether a value switches a setting off: nothing, `false`, 0, an empty list. A factor is never switched off by 0.
fn is_off(key: &str, value: &Value) -> bool {
    let is_factor = ["scal", "multiplier", "factor"].iter().any(|part| key.contains(part));
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0) && !is_factor,
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        Value::String(text) => text.is_empty() || text == "none",
        Value::Bool(true) => false,
    }
}

fn is_neutral(value: &Value, neutral: &[&str]) -> bool {
    let same = |text: &&str| match serde_json::from_str::<Value>(text) {
        Ok(wanted) => wanted == *value || (wanted.is_number() && wanted.as_f64() == value.as_f64()),
        Err(_) => false,
    };
    value.is_null() || neutral.iter().any(same)
}

/// Rejects the first key that may change what the model computes and that the reader does not compute with.
pub(super) fn check_keys(fields: &Fields) -> Result<(), CheckpointError> {
    for (key, value) in &fields.map {
        if USED.contains(&key.as_str()) || HARMLESS.contains(&key.as_str()) {
            continue;
        }
        if let Some((_, neutral)) = NEUTRAL.iter().find(|(name, _)| name == key) {
            if !is_neutral(value, neutral) {
                return Err(bad(key, format!("{value} is not supported, only {} is", neutral[0])));
            }
        } else if is_computation(key) && !is_off(key, value) {
            let reason = format!("{value} is not supported: the setting may change what the model computes");
            return Err(bad(key, reason));
        }
    }
    Ok(())
}

/// The keys that nothing is done with and that no list has: fields of another architecture, or of a tool.
pub(super) fn unused_keys(fields: &Fields) -> Vec<String> {
    let is_known = |key: &str| {
        [USED, HARMLESS].iter().any(|list| list.contains(&key)) || NEUTRAL.iter().any(|(name, _)| *name == key)
    };
    let unused = fields.map.iter().filter(|(key, value)| !is_known(key) && !is_off(key, value));
    unused.map(|(key, _)| key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Precision, SpecialTokens, config_from_json, config_to_json, unused_config_keys};
    use crate::preset;
    use serde_json::json;

    fn with(field: &str, value: &Value) -> String {
        let text = config_to_json(&preset("nano", 512).unwrap(), &SpecialTokens::default(), Precision::F32);
        let mut fields: Value = serde_json::from_str(&text).unwrap();
        fields[field] = value.clone();
        fields.to_string()
    }

    #[test]
    fn settings_that_other_architectures_compute_with_are_rejected_by_name() {
        for (field, value) in [
            ("attn_logit_softcapping", json!(50.0)),
            ("final_logit_softcapping", json!(30.0)),
            ("num_local_experts", json!(8)),
            ("query_pre_attn_scalar", json!(256)),
            ("attention_multiplier", json!(0.5)),
            ("embedding_multiplier", json!(12)),
            ("partial_rotary_factor", json!(0.5)),
            ("rotary_pct", json!(0.25)),
            ("rotary_dim", json!(4)),
            ("layer_norm_eps", json!(1e-5)),
            ("use_parallel_residual", json!(true)),
            ("is_causal", json!(false)),
            ("hidden_activation", json!("gelu_pytorch_tanh")),
            ("layer_types", json!(["full_attention", "sliding_attention"])),
            ("sliding_window", json!(64)),
            ("quantization_config", json!({"bits": 4})),
            ("use_qk_norm", json!(true)),
            ("kv_lora_rank", json!(512)),
            ("no_rope_layers", json!([1])),
            ("rope_scaling", json!({"rope_type": "linear", "factor": 4.0})),
            ("rope_scaling", json!({"rope_type": "default", "factor": 4.0})),
            ("rope_scaling", json!({"type": "dynamic", "factor": 4.0})),
            ("rope_parameters", json!({"full_attention": {"rope_theta": 1e4}})),
        ] {
            let error = config_from_json(&with(field, &value)).unwrap_err().to_string();
            assert!(error.contains(field), "{field}: {error}");
        }
    }

    #[test]
    fn what_changes_nothing_is_accepted_and_what_is_foreign_is_named() {
        for (field, value) in [
            ("attn_logit_softcapping", Value::Null),
            ("num_local_experts", json!(0)),
            ("partial_rotary_factor", json!(1)),
            ("pretraining_tp", json!(2)),
            ("attention_dropout", json!(0.1)),
            ("hidden_act", json!("swish")),
            ("layer_types", json!(["full_attention", "full_attention"])),
            ("sliding_window", json!(1 << 20)),
            ("torch_dtype", json!("float16")),
        ] {
            config_from_json(&with(field, &value)).unwrap_or_else(|error| panic!("{field}: {error}"));
            assert!(unused_config_keys(&with(field, &value)).unwrap().is_empty(), "{field}");
        }
        let foreign = with("time_step_limit", &json!([0.0, "Infinity"])).replace("\"Infinity\"", "Infinity");
        config_from_json(&foreign).unwrap();
        assert_eq!(unused_config_keys(&foreign).unwrap(), ["time_step_limit"]);
        let used = with("rms_norm_eps", &json!("NaN")).replace("\"NaN\"", "NaN");
        assert!(config_from_json(&used).unwrap_err().to_string().contains("`rms_norm_eps`"));
    }
}
