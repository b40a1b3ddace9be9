//! Fields of requests that would change the answer in a way that this server cannot: they are refused by name, unless their
//! value asks for what happens anyway.

use serde_json::{Map, Value};

use crate::ApiError;
use crate::fields::Fields;
use crate::request::Kind;

/// Fields that other servers with this API know, with the values that stand for "off".
#[rustfmt::skip]
const OF_OTHER_SERVERS: &[(&str, &[&str])] = &[
    // Sampling.
    ("top_k", &["0", "-1"]), ("min_p", &["0"]), ("top_a", &["0"]), ("typical_p", &["1"]), ("tfs_z", &["1"]),
    ("repetition_penalty", &["1"]), ("repeat_penalty", &["1"]), ("length_penalty", &["1"]), ("mirostat", &["0"]),
    ("mirostat_mode", &["0"]), ("dry_multiplier", &["0"]), ("xtc_probability", &["0"]),
    ("no_repeat_ngram_size", &["0"]), ("use_beam_search", &["false"]), ("allowed_token_ids", &[]), ("bad_words", &[]),
    // The end of a text.
    ("ignore_eos", &["false"]), ("min_tokens", &["0"]), ("stop_token_ids", &[]), ("include_stop_str_in_output", &["false"]),
    ("stop_sequences", &[]), ("max_new_tokens", &[]), ("max_length", &[]),
    // Its form.
    ("guided_json", &[]), ("guided_regex", &[]), ("guided_choice", &[]), ("guided_grammar", &[]), ("grammar", &[]),
    ("structured_outputs", &[]), ("json_schema", &[]),
    // The prompt.
    ("chat_template", &[]), ("chat_template_kwargs", &[]), ("add_generation_prompt", &["true"]),
    ("continue_final_message", &["false"]), ("truncate_prompt_tokens", &[]), ("prompt_logprobs", &[]),
    ("skip_special_tokens", &["true"]),
];

fn refuse_of_other_servers(fields: Fields<'_>) -> Result<(), ApiError> {
    for (name, off) in OF_OTHER_SERVERS {
        let Some(value) = fields.get(name) else { continue };
        let is_empty = match value {
            Value::Array(values) => values.is_empty(),
            Value::Object(entries) => entries.is_empty(),
            Value::String(text) => text.is_empty(),
            _ => false,
        };
        let is_off = |off: &&str| match off.parse::<f64>() {
            Ok(number) => value.as_f64() == Some(number),
            Err(_) => value.as_bool().is_some_and(|flag| flag.to_string() == **off),
        };
        if !is_empty && !off.iter().any(is_off) {
            let instead = match *name {
                "stop_sequences" => "write 'stop'",
                "max_new_tokens" | "max_length" => "write 'max_tokens'",
                _ => "leave it out",
            };
            let message = format!("'{name}' is not supported by this gateway: {instead}.");
            return Err(ApiError::unsupported(*name, message));
        }
    }
    Ok(())
}

/// Refuses fields whose value asks for what this server does not do.
pub(crate) fn refuse_unsupported(kind: Kind, object: &Map<String, Value>) -> Result<(), ApiError> {
    let fields = Fields(object);
    let names: &[&str] = match kind {
        Kind::Chat => &[
            "tools",
            "functions",
            "logit_bias",
            "audio",
            "prediction",
            "web_search_options",
            "tool_choice",
            "prompt",
            "suffix",
            "echo",
            "best_of",
        ],
        Kind::Completion => &["suffix", "logit_bias", "echo", "best_of", "messages"],
    };
    refuse_of_other_servers(fields)?;
    for name in names {
        let Some(value) = fields.get(name) else { continue };
        let is_harmless = match value {
            Value::Bool(value) => !value,
            Value::String(text) => text.is_empty() || matches!(text.as_str(), "none" | "auto"),
            Value::Array(values) => values.is_empty(),
            Value::Object(entries) => entries.is_empty(),
            // `best_of`: as many as are returned.
            Value::Number(number) => {
                *name == "best_of" && (number.as_u64() == Some(1) || fields.get("n") == Some(value))
            }
            Value::Null => true,
        };
        if !is_harmless {
            let message = format!("'{name}' is not supported by this gateway: leave it out.");
            return Err(ApiError::unsupported(*name, message));
        }
    }
    if kind == Kind::Completion {
        return Ok(());
    }
    let form = fields.object("response_format")?.and_then(|form| form.get("type")).and_then(Value::as_str);
    if form.is_some_and(|form| form != "text") {
        let message = "'response_format' is not supported by this gateway, except for the type text: the model's text is \
                       not forced into a form.";
        return Err(ApiError::unsupported("response_format", message));
    }
    let modalities = fields.get("modalities").and_then(Value::as_array);
    if modalities.is_some_and(|kinds| kinds.iter().any(|kind| kind != "text")) {
        return Err(ApiError::unsupported("modalities", "This gateway answers in text only."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(kind: Kind, field: &str, value: Value) -> Option<String> {
        let object = Map::from_iter([(field.to_owned(), value)]);
        refuse_unsupported(kind, &object).err().map(|error| format!("{error:?}"))
    }

    #[test]
    fn what_other_servers_sample_with_is_refused_by_name_unless_it_is_off() {
        for (field, value) in [
            ("top_k", json!(5)),
            ("min_p", json!(0.05)),
            ("repetition_penalty", json!(1.1)),
            ("ignore_eos", json!(true)),
            ("guided_json", json!({"type": "object"})),
            ("stop_token_ids", json!([2])),
            ("add_generation_prompt", json!(false)),
            ("max_new_tokens", json!(5)),
            ("stop_sequences", json!(["a"])),
        ] {
            for kind in [Kind::Chat, Kind::Completion] {
                let error = refused(kind, field, value.clone()).unwrap_or_default();
                assert!(error.contains(field), "{field}: {error}");
            }
        }
        for (field, value) in [
            ("top_k", json!(-1)),
            ("top_k", json!(0)),
            ("min_p", json!(0.0)),
            ("repetition_penalty", json!(1)),
            ("ignore_eos", json!(false)),
            ("guided_json", Value::Null),
            ("stop_token_ids", json!([])),
            ("add_generation_prompt", json!(true)),
            ("unknown_field", json!(1)),
        ] {
            assert_eq!(refused(Kind::Chat, field, value), None, "{field}");
        }
        assert!(refused(Kind::Chat, "prompt", json!("x")).is_some());
        assert!(refused(Kind::Completion, "messages", json!([{}])).is_some());
    }
}
