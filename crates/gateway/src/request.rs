//! What is asked for: OpenAI's requests, checked once, as the rest of the crate works with them.
//!
//! Fields that are not known are passed over. Those that would change the answer in a way that this server cannot are
//! refused by name, unless their value asks for what happens anyway.

use serde_json::Value;

use crate::ApiError;
use crate::conversation::{self, Message};
use crate::fields::{Fields, wrong};
use crate::unsupported::refuse_unsupported;

/// The most texts that one request may ask for.
const MAX_TEXTS: usize = 32;
/// The most strings that may end a text.
const MAX_STOPS: usize = 4;
/// The most bytes of a string that ends a text.
const MAX_STOP_BYTES: usize = 256;
/// Tokens of a completion where the request does not say: OpenAI's default.
const COMPLETION_TOKENS: usize = 16;
/// The most alternatives that are reported of each token of a chat.
const MAX_TOP_LOGPROBS: i64 = 20;
/// The same of a completion.
const MAX_COMPLETION_LOGPROBS: i64 = 5;

/// Which of the two interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Chat,
    Completion,
}

/// What a text continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Prompt {
    Text(String),
    Tokens(Vec<u32>),
}

/// A checked request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    pub kind: Kind,
    pub model: String,
    pub prompts: Vec<Prompt>,
    /// Texts for each prompt.
    pub count: usize,
    /// The most tokens of each text; none for what the model's positions leave.
    pub max_tokens: Option<usize>,
    pub temperature: f32,
    pub top_p: f32,
    pub presence_penalty: f32,
    pub frequency_penalty: f32,
    /// None for one that is drawn.
    pub seed: Option<u64>,
    pub stop: Vec<String>,
    /// How many alternatives of each token are reported; none for no report.
    pub logprobs: Option<usize>,
    pub is_stream: bool,
    /// Whether a stream ends with its usage.
    pub has_usage: bool,
}

impl Request {
    /// Reads the body of a request.
    pub(crate) fn read(kind: Kind, body: &[u8]) -> Result<Self, ApiError> {
        let parsed: Value = serde_json::from_slice(body)
            .map_err(|error| ApiError::body(format!("We could not parse the JSON body of your request: {error}.")))?;
        let Value::Object(object) = &parsed else {
            return Err(ApiError::body("The body of the request must be a JSON object."));
        };
        let fields = Fields(object);
        let model =
            fields.text("model")?.ok_or_else(|| ApiError::field("model", "You must provide a model parameter"))?;
        let prompts = match kind {
            Kind::Chat => vec![conversation(fields)?],
            Kind::Completion => prompts(fields.get("prompt"))?,
        };
        refuse_unsupported(kind, object)?;
        let count = fields.integer("n", 1..=MAX_TEXTS as i64)?.unwrap_or(1) as usize;
        if count * prompts.len() > MAX_TEXTS {
            let message = format!("At most {MAX_TEXTS} texts may be asked for at once, of all prompts together.");
            return Err(ApiError::field("n", message));
        }
        let is_stream = fields.flag("stream")?;
        let stream_options = fields.object("stream_options")?;
        if stream_options.is_some() && !is_stream {
            let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
            return Err(ApiError::field("stream_options", message));
        }
        let has_usage = stream_options.map(|options| options.flag("include_usage")).transpose()?.unwrap_or(false);
        Ok(Self {
            kind,
            model: model.to_owned(),
            prompts,
            count,
            max_tokens: max_tokens(kind, fields)?,
            temperature: fields.number("temperature", 0.0..=2.0)?.unwrap_or(1.0),
            // The least that keeps one token.
            top_p: fields.number("top_p", 0.0..=1.0)?.unwrap_or(1.0).max(f32::MIN_POSITIVE),
            presence_penalty: fields.number("presence_penalty", -2.0..=2.0)?.unwrap_or(0.0),
            frequency_penalty: fields.number("frequency_penalty", -2.0..=2.0)?.unwrap_or(0.0),
            seed: fields.integer("seed", i64::MIN..=i64::MAX)?.map(|seed| seed as u64),
            stop: stop(fields.get("stop"))?,
            logprobs: logprobs(kind, fields)?,
            is_stream,
            has_usage,
        })
    }
}

fn max_tokens(kind: Kind, fields: Fields<'_>) -> Result<Option<usize>, ApiError> {
    let read = |name| Ok::<_, ApiError>(fields.integer(name, 1..=i64::from(u32::MAX))?.map(|count| count as usize));
    let old = read("max_tokens")?;
    Ok(match kind {
        Kind::Chat => read("max_completion_tokens")?.or(old),
        Kind::Completion => Some(old.unwrap_or(COMPLETION_TOKENS)),
    })
}

fn logprobs(kind: Kind, fields: Fields<'_>) -> Result<Option<usize>, ApiError> {
    if kind == Kind::Completion {
        return Ok(fields.integer("logprobs", 0..=MAX_COMPLETION_LOGPROBS)?.map(|count| count as usize));
    }
    let is_wanted = fields.flag("logprobs")?;
    let top = fields.integer("top_logprobs", 0..=MAX_TOP_LOGPROBS)?;
    if top.is_some() && !is_wanted {
        let message = "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.";
        return Err(ApiError::field("top_logprobs", message));
    }
    Ok(is_wanted.then_some(top.unwrap_or(0) as usize))
}

fn stop(value: Option<&Value>) -> Result<Vec<String>, ApiError> {
    let strings: Vec<&Value> = match value {
        None => return Ok(Vec::new()),
        Some(Value::Array(strings)) => strings.iter().collect(),
        Some(string) => vec![string],
    };
    if strings.len() > MAX_STOPS {
        let message = format!("Invalid 'stop': expected at most {MAX_STOPS} strings, but got {}.", strings.len());
        return Err(ApiError::field("stop", message));
    }
    let read = |value: &Value| match value.as_str() {
        Some(string) if string.len() <= MAX_STOP_BYTES => Ok(string.to_owned()),
        Some(_) => Err(ApiError::field("stop", format!("A string of 'stop' has at most {MAX_STOP_BYTES} bytes."))),
        None => Err(wrong("stop", "a string or an array of strings", value)),
    };
    strings.into_iter().map(read).collect()
}

fn conversation(fields: Fields<'_>) -> Result<Prompt, ApiError> {
    let messages = fields.get("messages");
    let messages = messages.ok_or_else(|| ApiError::field("messages", "Missing required parameter: 'messages'."))?;
    let list = messages.as_array().ok_or_else(|| wrong("messages", "an array of objects", messages))?;
    if list.is_empty() {
        let message = "Invalid 'messages': empty array. Expected an array with minimum length 1.";
        return Err(ApiError::field("messages", message));
    }
    let read = |(place, message): (usize, &Value)| Message::read(&format!("messages[{place}]"), message);
    let messages = list.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(Prompt::Text(conversation::prompt(&messages)))
}

/// A text, tokens, or an array of either; an empty text where there is none.
fn prompts(value: Option<&Value>) -> Result<Vec<Prompt>, ApiError> {
    let kinds = "a string, an array of strings, an array of tokens, or an array of arrays of tokens";
    let tokens = |values: &[Value]| -> Result<Prompt, ApiError> {
        let token = |value: &Value| value.as_u64().and_then(|token| u32::try_from(token).ok());
        let tokens: Option<Vec<u32>> = values.iter().map(token).collect();
        let tokens = tokens.filter(|tokens| !tokens.is_empty());
        tokens.map(Prompt::Tokens).ok_or_else(|| ApiError::field("prompt", format!("'prompt' must be {kinds}.")))
    };
    match value {
        None => Ok(vec![Prompt::Text(String::new())]),
        Some(Value::String(text)) => Ok(vec![Prompt::Text(text.clone())]),
        Some(Value::Array(values)) => match values.first() {
            Some(Value::Number(_)) => Ok(vec![tokens(values)?]),
            Some(_) if values.len() <= MAX_TEXTS => {
                let read = |value: &Value| match value {
                    Value::String(text) => Ok(Prompt::Text(text.clone())),
                    Value::Array(values) => tokens(values),
                    other => Err(wrong("prompt", kinds, other)),
                };
                values.iter().map(read).collect()
            }
            Some(_) => Err(ApiError::field("prompt", format!("'prompt' has at most {MAX_TEXTS} elements."))),
            None => Err(ApiError::field("prompt", "'prompt' must not be an empty array.")),
        },
        Some(other) => Err(wrong("prompt", kinds, other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn chat(more: Value) -> Result<Request, ApiError> {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Request::read(Kind::Chat, body.to_string().as_bytes())
    }

    fn completion(more: Value) -> Result<Request, ApiError> {
        let mut body = json!({"model": "m"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Request::read(Kind::Completion, body.to_string().as_bytes())
    }

    #[test]
    fn defaults_are_those_of_openai() {
        let asked = chat(json!({})).unwrap();
        assert_eq!((asked.count, asked.max_tokens, asked.temperature, asked.top_p), (1, None, 1.0, 1.0));
        assert_eq!(asked.prompts, [Prompt::Text("User: hello\nAssistant:".to_owned())]);
        let asked = completion(json!({})).unwrap();
        assert_eq!((asked.max_tokens, &asked.prompts[..]), (Some(16), &[Prompt::Text(String::new())][..]));
    }

    #[test]
    fn the_newer_limit_counts_and_null_is_absent() {
        let both = json!({"max_tokens": 5, "max_completion_tokens": 7, "stop": null, "seed": null});
        assert_eq!(chat(both).unwrap().max_tokens, Some(7));
        assert_eq!(chat(json!({"max_tokens": 5})).unwrap().max_tokens, Some(5));
    }

    #[test]
    fn what_would_mislead_is_refused_by_name_and_the_rest_is_passed_over() {
        for (field, value) in [
            ("tools", json!([{"type": "function"}])),
            ("tool_choice", json!("required")),
            ("response_format", json!({"type": "json_schema"})),
            ("logit_bias", json!({"50256": -100})),
            ("modalities", json!(["text", "audio"])),
        ] {
            let error = chat(json!({field: value})).unwrap_err();
            assert_eq!((error.param.as_deref(), error.code), (Some(field), Some("unsupported_parameter")));
        }
        for harmless in [
            json!({"user": "u", "metadata": {}, "store": false, "no_such_field": [1, 2], "service_tier": "auto"}),
            json!({"tools": [], "tool_choice": "auto", "response_format": {"type": "text"}, "logit_bias": {}}),
        ] {
            chat(harmless).unwrap();
        }
        assert_eq!(completion(json!({"echo": true})).unwrap_err().param.as_deref(), Some("echo"));
        assert_eq!(completion(json!({"best_of": 3})).unwrap_err().param.as_deref(), Some("best_of"));
        completion(json!({"echo": false, "best_of": 2, "n": 2, "suffix": null})).unwrap();
    }

    #[test]
    fn values_out_of_range_name_their_field() {
        for (field, value) in [
            ("temperature", json!(2.5)),
            ("top_p", json!(-0.1)),
            ("n", json!(0)),
            ("n", json!(33)),
            ("presence_penalty", json!("high")),
            ("max_tokens", json!(0)),
            ("stop", json!(["a", "b", "c", "d", "e"])),
            ("stop", json!([1])),
            ("seed", json!(1.5)),
            ("top_logprobs", json!(3)),
            ("stream", json!("yes")),
            ("stream_options", json!({"include_usage": true})),
            ("messages", json!([])),
            ("messages", json!("hello")),
        ] {
            let error = chat(json!({field: value})).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(field), "{error}");
            assert_eq!(error.status, 400);
        }
        assert_eq!(Request::read(Kind::Chat, b"{").unwrap_err().status, 400);
        assert_eq!(Request::read(Kind::Chat, b"[]").unwrap_err().status, 400);
        let no_model = Request::read(Kind::Chat, br#"{"messages":[{"role":"user","content":"x"}]}"#).unwrap_err();
        assert_eq!(no_model.param.as_deref(), Some("model"));
    }

    #[test]
    fn a_prompt_is_a_text_or_tokens_or_several() {
        let tokens = |list: &[u32]| Prompt::Tokens(list.to_vec());
        let text = |text: &str| Prompt::Text(text.to_owned());
        for (value, prompts) in [
            (json!("a"), vec![text("a")]),
            (json!(["a", "b"]), vec![text("a"), text("b")]),
            (json!([1, 2]), vec![tokens(&[1, 2])]),
            (json!([[1], [2, 3]]), vec![tokens(&[1]), tokens(&[2, 3])]),
        ] {
            assert_eq!(completion(json!({"prompt": value})).unwrap().prompts, prompts);
        }
        for wrong in [json!([]), json!([1, "a"]), json!([-1]), json!({"a": 1}), json!([[]]), json!(["a", 1])] {
            assert_eq!(completion(json!({"prompt": wrong})).unwrap_err().param.as_deref(), Some("prompt"));
        }
        let many = completion(json!({"prompt": ["a", "b"], "n": 17})).unwrap_err();
        assert_eq!(many.param.as_deref(), Some("n"));
    }
}
