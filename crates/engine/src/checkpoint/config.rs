//! `config.json` and `generation_config.json`, in the spellings of Hugging Face's releases 4 and 5.

mod keys;

use super::{CheckpointError, Precision};
use serde_json::{Map, Value, json};
use templar_base::{ModelConfig, RopeScaling, settings_json};

/// The tokens that a model's files name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpecialTokens {
    /// The token that a text begins with.
    pub begin: Option<u32>,
    /// The tokens that end a text.
    pub end: Vec<u32>,
    /// The token that fills up a batch.
    pub padding: Option<u32>,
}

impl SpecialTokens {
    fn write(&self, to: &mut Map<String, Value>) {
        to.insert("bos_token_id".into(), json!(self.begin));
        let end = if let [one] = self.end[..] { json!(one) } else { json!(self.end) };
        to.insert("eos_token_id".into(), if self.end.is_empty() { Value::Null } else { end });
        to.insert("pad_token_id".into(), json!(self.padding));
    }

    fn read(from: &Fields) -> Result<Self, CheckpointError> {
        let end = match from.get("eos_token_id") {
            None => Vec::new(),
            Some(Value::Array(tokens)) => {
                tokens.iter().map(|token| as_token("eos_token_id", token)).collect::<Result<_, _>>()?
            }
            Some(token) => vec![as_token("eos_token_id", token)?],
        };
        let begin = from.get("bos_token_id").map(|token| as_token("bos_token_id", token)).transpose()?;
        // Nothing is padded here, and some files say -1 for "none".
        let padding = from.get("pad_token_id").and_then(|token| as_token("pad_token_id", token).ok());
        Ok(Self { begin, end, padding })
    }
}

fn as_token(field: &str, value: &Value) -> Result<u32, CheckpointError> {
    let token = value.as_u64().and_then(|token| u32::try_from(token).ok());
    token.ok_or_else(|| bad(field, format!("{value} is not a token")))
}

fn bad(field: &str, reason: impl Into<String>) -> CheckpointError {
    CheckpointError::Field { field: field.into(), reason: reason.into() }
}

/// The text of a `config.json` that `transformers` (4 or 5) loads.
pub fn config_to_json(config: &ModelConfig, tokens: &SpecialTokens, precision: Precision) -> String {
    let (architecture, model_type) =
        if config.qk_norm { ("Qwen3ForCausalLM", "qwen3") } else { ("LlamaForCausalLM", "llama") };
    let theta = json!(config.rope_theta);
    let mut rope = json!({"rope_theta": theta, "rope_type": "default"});
    let mut scaling = Value::Null;
    if let Some(RopeScaling { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings }) =
        config.rope_scaling
    {
        scaling = json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            "original_max_position_embeddings": original_max_position_embeddings,
        });
        rope = scaling.clone();
        rope["rope_theta"] = theta.clone();
    }
    let fields = json!({
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_position_embeddings,
        "rms_norm_eps": shortest(config.rms_norm_eps),
        "initializer_range": shortest(config.initializer_range),
        "tie_word_embeddings": config.tie_word_embeddings,
        "hidden_act": "silu",
        "attention_bias": false,
        "attention_dropout": 0.0,
        "mlp_bias": false,
        "rope_parameters": rope,
        "rope_theta": theta,
        "rope_scaling": scaling,
        "dtype": precision.config_name(),
        "torch_dtype": precision.config_name(),
        "use_cache": true,
    });
    with_tokens(fields, tokens)
}

/// The text of a `generation_config.json`.
pub fn generation_config_to_json(tokens: &SpecialTokens) -> String {
    with_tokens(json!({"use_cache": true}), tokens)
}

fn with_tokens(mut fields: Value, tokens: &SpecialTokens) -> String {
    if let Value::Object(fields) = &mut fields {
        tokens.write(fields);
    }
    format!("{fields:#}\n")
}

/// The f64 of the fewest digits that reads back as this f32: 0.00001 rather than 0.000009999999747.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// The special tokens of a `generation_config.json`.
pub fn generation_config_from_json(text: &str) -> Result<SpecialTokens, CheckpointError> {
    SpecialTokens::read(&Fields::parse(text)?)
}

/// The sizes and special tokens of a `config.json`. Rejects by its name what this engine does not compute; see
/// [`unused_config_keys`] for what is left.
pub fn config_from_json(text: &str) -> Result<(ModelConfig, SpecialTokens), CheckpointError> {
    let fields = Fields::parse(text)?;
    let model_type = fields.get("model_type").and_then(Value::as_str).unwrap_or_default();
    if !["llama", "mistral", "qwen3"].contains(&model_type) {
        return Err(bad("model_type", format!("`{model_type}` is not one of llama, mistral, qwen3")));
    }
    // Two names of one function.
    if fields.get("hidden_act") != Some(&json!("swish")) {
        fields.demand("hidden_act", &json!("silu"))?;
    }
    for field in ["attention_bias", "mlp_bias", "use_sliding_window"] {
        fields.demand(field, &json!(false))?;
    }
    if fields.get("quantization_config").is_some() {
        return Err(bad("quantization_config", "quantised weights are not supported; convert to f32, bf16 or f16"));
    }
    let heads = fields.size("num_attention_heads", None)?;
    let hidden_size = fields.size("hidden_size", None)?;
    let default_head = if model_type == "qwen3" { 128 } else { hidden_size / heads.max(1) };
    // What `transformers` leaves out of a file has its default.
    let default_kv_heads = if model_type == "mistral" { 8 } else { heads };
    let (rope_theta, rope_scaling) = rope(&fields)?;
    let config = ModelConfig {
        vocab_size: fields.size("vocab_size", None)?,
        hidden_size,
        intermediate_size: fields.size("intermediate_size", None)?,
        num_hidden_layers: fields.size("num_hidden_layers", None)?,
        num_attention_heads: heads,
        num_key_value_heads: fields.size("num_key_value_heads", Some(default_kv_heads))?,
        head_dim: fields.size("head_dim", Some(default_head))?,
        max_position_embeddings: fields.size("max_position_embeddings", Some(2048))?,
        rms_norm_eps: fields.number("rms_norm_eps", Some(1e-6))? as f32,
        rope_theta,
        rope_scaling,
        tie_word_embeddings: fields.flag("tie_word_embeddings")?,
        qk_norm: model_type == "qwen3",
        initializer_range: fields.number("initializer_range", Some(0.02))? as f32,
    };
    config.check().map_err(|error| bad(error.field, error.reason))?;
    check_windows(&fields, model_type, config.max_position_embeddings)?;
    keys::check_keys(&fields)?;
    Ok((config, SpecialTokens::read(&fields)?))
}

/// The keys of a `config.json` that are not used and that the reader does not know: fields of another architecture, or
/// of a tool. They change nothing in the architectures that are read here.
pub fn unused_config_keys(text: &str) -> Result<Vec<String>, CheckpointError> {
    Ok(keys::unused_keys(&Fields::parse(text)?))
}

/// Rejects attention that does not see the whole context.
fn check_windows(fields: &Fields, model_type: &str, context: usize) -> Result<(), CheckpointError> {
    const MISTRAL_WINDOW: usize = 4096;
    if let Some(layers) = fields.get("layer_types") {
        let is_full = |layer: &Value| layer == "full_attention";
        if !layers.as_array().is_some_and(|layers| layers.iter().all(is_full)) {
            return Err(bad("layer_types", format!("{layers} is not supported, only full_attention is")));
        }
    }
    // Qwen3 has it behind `use_sliding_window`, which is false here.
    if model_type == "qwen3" {
        return Ok(());
    }
    let is_left_out = model_type == "mistral" && !fields.map.contains_key("sliding_window");
    let window = fields.size("sliding_window", Some(if is_left_out { MISTRAL_WINDOW } else { context }))?;
    if window < context {
        let reason = format!("attention within a window ({window} of {context} tokens) is not supported");
        return Err(bad("sliding_window", reason));
    }
    Ok(())
}

/// Base and scaling: `rope_parameters` of release 5, or `rope_theta` and `rope_scaling` of release 4. A file may have
/// both; then they say the same.
fn rope(fields: &Fields) -> Result<(f64, Option<RopeScaling>), CheckpointError> {
    let inner = |name: &'static str| match fields.get(name) {
        None => Ok(None),
        Some(Value::Object(inner)) => Ok(Some(Fields { map: inner.clone(), prefix: format!("{name}.") })),
        Some(other) => Err(bad(name, format!("{other} is not an object"))),
    };
    let (new, old) = (inner("rope_parameters")?, inner("rope_scaling")?);
    let outer_theta = fields.get("rope_theta").map(|_| fields.number("rope_theta", None)).transpose()?;
    let has_theta = new.as_ref().filter(|inner| inner.get("rope_theta").is_some());
    let inner_theta = has_theta.map(|inner| inner.number("rope_theta", None)).transpose()?;
    if let (Some(outer), Some(inner)) = (outer_theta, inner_theta)
        && outer != inner
    {
        return Err(bad("rope_theta", format!("{outer} contradicts the {inner} of rope_parameters")));
    }
    let theta = inner_theta.or(outer_theta).unwrap_or(10_000.0);
    let new = new.map(|fields| scaling(&fields)).transpose()?;
    let old = old.map(|fields| scaling(&fields)).transpose()?;
    if let (Some(new), Some(old)) = (&new, &old)
        && new != old
    {
        return Err(bad("rope_scaling", "it contradicts rope_parameters"));
    }
    Ok((theta, new.or(old).flatten()))
}

/// The scaling that `rope_parameters` or `rope_scaling` describes.
fn scaling(fields: &Fields) -> Result<Option<RopeScaling>, CheckpointError> {
    fields.demand("partial_rotary_factor", &json!(1.0))?;
    let kind = match fields.get("rope_type").or(fields.get("type")) {
        None => "default",
        Some(Value::String(kind)) => kind,
        Some(other) => return Err(fields.bad("rope_type", format!("{other} is not a name"))),
    };
    let mut known = vec!["partial_rotary_factor", "rope_theta", "rope_type", "type"];
    let found = match kind {
        "default" => None,
        "llama3" => {
            known.extend(["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"]);
            Some(RopeScaling {
                factor: fields.number("factor", None)?,
                low_freq_factor: fields.number("low_freq_factor", None)?,
                high_freq_factor: fields.number("high_freq_factor", None)?,
                original_max_position_embeddings: fields.size("original_max_position_embeddings", None)?,
            })
        }
        other => return Err(fields.bad("rope_type", format!("`{other}` is not default or llama3"))),
    };
    let is_unknown = |(key, value): &(&String, &Value)| !known.contains(&key.as_str()) && !value.is_null();
    match fields.map.iter().find(is_unknown) {
        Some((key, value)) => Err(fields.bad(key, format!("{value} is not supported with the type `{kind}`"))),
        None => Ok(found),
    }
}

/// A JSON object whose fields are asked for by name; null is as good as absent.
struct Fields {
    map: Map<String, Value>,
    prefix: String,
}

impl Fields {
    fn parse(text: &str) -> Result<Self, CheckpointError> {
        match settings_json(text.as_bytes()) {
            Ok(Value::Object(map)) => Ok(Self { map, prefix: String::new() }),
            Ok(_) => Err(bad("(whole file)", "it is not a JSON object")),
            Err(error) => Err(bad("(whole file)", error.to_string())),
        }
    }

    fn get(&self, field: &str) -> Option<&Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    fn bad(&self, field: &str, reason: impl Into<String>) -> CheckpointError {
        bad(&format!("{}{field}", self.prefix), reason)
    }

    fn size(&self, field: &str, default: Option<usize>) -> Result<usize, CheckpointError> {
        match (self.get(field), default) {
            (Some(value), _) => value
                .as_u64()
                .and_then(|value| usize::try_from(value).ok())
                .ok_or_else(|| self.bad(field, format!("{value} is not a whole number"))),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(self.bad(field, "it is missing")),
        }
    }

    fn number(&self, field: &str, default: Option<f64>) -> Result<f64, CheckpointError> {
        match (self.get(field), default) {
            (Some(value), _) => value.as_f64().ok_or_else(|| self.bad(field, format!("{value} is not a number"))),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(self.bad(field, "it is missing")),
        }
    }

    fn flag(&self, field: &str) -> Result<bool, CheckpointError> {
        match self.get(field) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| self.bad(field, format!("{value} is not true or false"))),
        }
    }

    /// The field is absent or has this value.
    fn demand(&self, field: &str, only: &Value) -> Result<(), CheckpointError> {
        match self.get(field) {
            Some(value) if value != only && value.as_f64().is_none_or(|value| Some(value) != only.as_f64()) => {
                Err(self.bad(field, format!("{value} is not supported, only {only} is")))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset;
    use proptest::prelude::*;

    fn tokens() -> SpecialTokens {
        SpecialTokens { begin: Some(1), end: vec![2, 3], padding: None }
    }

    #[test]
    fn a_config_reads_back() {
        for qk_norm in [false, true] {
            for scaled in [false, true] {
                let config = ModelConfig {
                    qk_norm,
                    rope_scaling: scaled.then_some(RopeScaling {
                        factor: 8.0,
                        low_freq_factor: 1.0,
                        high_freq_factor: 4.0,
                        original_max_position_embeddings: 8192,
                    }),
                    rope_theta: 500_000.0,
                    ..preset("small", 512).unwrap()
                };
                let text = config_to_json(&config, &tokens(), Precision::Bf16);
                assert_eq!(config_from_json(&text), Ok((config, tokens())));
            }
        }
        assert_eq!(generation_config_from_json(&generation_config_to_json(&tokens())), Ok(tokens()));
    }

    #[test]
    fn both_spellings_of_the_rotation_are_read_alone() {
        let config = ModelConfig { rope_theta: 5e5, ..preset("nano", 512).unwrap() };
        let text = config_to_json(&config, &tokens(), Precision::F32);
        for removed in ["rope_theta", "rope_parameters"] {
            let mut value: Value = serde_json::from_str(&text).unwrap();
            value.as_object_mut().unwrap().remove(removed);
            assert_eq!(config_from_json(&value.to_string()).unwrap().0, config);
        }
    }

    #[test]
    fn errors_name_the_field() {
        let text = config_to_json(&preset("nano", 512).unwrap(), &tokens(), Precision::F32);
        let with = |field: &str, value: Value| {
            let mut fields: Value = serde_json::from_str(&text).unwrap();
            fields[field] = value;
            config_from_json(&fields.to_string()).unwrap_err().to_string()
        };
        assert_eq!(with("hidden_size", Value::Null), "config field `hidden_size`: it is missing");
        assert_eq!(with("vocab_size", json!(-1)), "config field `vocab_size`: -1 is not a whole number");
        assert!(with("model_type", json!("gpt2")).starts_with("config field `model_type`"));
        assert!(with("hidden_act", json!("gelu")).contains("only \"silu\" is"));
        assert!(with("rope_parameters", json!({"rope_type": "yarn"})).contains("`rope_parameters.rope_type`"));
        assert!(with("num_key_value_heads", json!(3)).contains("num_key_value_heads"));
        assert!(with("eos_token_id", json!("x")).contains("eos_token_id"));
        assert!(config_from_json("[1]").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn hostile_text_is_refused_without_harm(text in ".{0,80}", place in 0usize..900, with in any::<char>()) {
            let _ = config_from_json(&text);
            let good = config_to_json(&preset("nano", 512).unwrap(), &tokens(), Precision::F32);
            let changed: String = good.chars().enumerate().map(|(i, c)| if i == place { with } else { c }).collect();
            let _ = config_from_json(&changed);
        }
    }
}
