//! Answers in OpenAI's form: whole ones, and the chunks of streams.

use serde_json::{Value, json};
use templar_corpus::Tokenizer;
use templar_engine::TokenLogprobs;

use crate::request::Kind;

/// What every part of an answer carries.
#[derive(Debug, Clone)]
pub(crate) struct Heading {
    pub kind: Kind,
    pub id: String,
    /// In seconds since 1970.
    pub created: u64,
    pub model: String,
    pub fingerprint: String,
}

/// Tokens read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub prompt: usize,
    pub completion: usize,
}

/// A text of a whole answer.
#[derive(Debug)]
pub(crate) struct Finished {
    pub text: String,
    pub finish: &'static str,
    /// In the form of the interface; null where they were not asked for.
    pub logprobs: Value,
}

impl Usage {
    pub(crate) fn total(self) -> u64 {
        (self.prompt + self.completion) as u64
    }

    fn to_json(self) -> Value {
        let Self { prompt, completion } = self;
        json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion})
    }
}

impl Heading {
    fn with(&self, object: &str, choices: Vec<Value>) -> Value {
        let Self { id, created, model, fingerprint, .. } = self;
        json!({
            "id": id, "object": object, "created": created, "model": model, "system_fingerprint": fingerprint,
            "choices": choices,
        })
    }

    /// A whole answer.
    pub(crate) fn whole(&self, texts: Vec<Finished>, usage: Usage) -> Value {
        let choice = |(index, text): (usize, Finished)| {
            let Finished { text, finish, logprobs } = text;
            match self.kind {
                Kind::Chat => json!({
                    "index": index, "message": {"role": "assistant", "content": text, "refusal": null},
                    "logprobs": logprobs, "finish_reason": finish,
                }),
                Kind::Completion => {
                    json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish})
                }
            }
        };
        let choices = texts.into_iter().enumerate().map(choice).collect();
        let object = match self.kind {
            Kind::Chat => "chat.completion",
            Kind::Completion => "text_completion",
        };
        let mut answer = self.with(object, choices);
        answer["usage"] = usage.to_json();
        answer
    }

    fn chunk(&self, choices: Vec<Value>) -> Value {
        let object = match self.kind {
            Kind::Chat => "chat.completion.chunk",
            Kind::Completion => "text_completion",
        };
        self.with(object, choices)
    }

    /// The first chunk of a text of a chat, which has who speaks.
    pub(crate) fn first_chunk(&self, index: usize) -> Value {
        let delta = json!({"role": "assistant", "content": "", "refusal": null});
        self.chunk(vec![json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null})])
    }

    /// A chunk with a piece of a text.
    pub(crate) fn piece_chunk(&self, index: usize, piece: &str, logprobs: Value) -> Value {
        self.chunk(vec![match self.kind {
            Kind::Chat => {
                json!({"index": index, "delta": {"content": piece}, "logprobs": logprobs, "finish_reason": null})
            }
            Kind::Completion => json!({"index": index, "text": piece, "logprobs": logprobs, "finish_reason": null}),
        }])
    }

    /// The last chunk of a text.
    pub(crate) fn last_chunk(&self, index: usize, finish: &str) -> Value {
        self.chunk(vec![match self.kind {
            Kind::Chat => json!({"index": index, "delta": {}, "logprobs": null, "finish_reason": finish}),
            Kind::Completion => json!({"index": index, "text": "", "logprobs": null, "finish_reason": finish}),
        }])
    }

    /// The chunk after the last text, with what was read and written.
    pub(crate) fn usage_chunk(&self, usage: Usage) -> Value {
        let mut chunk = self.chunk(Vec::new());
        chunk["usage"] = usage.to_json();
        chunk
    }

    /// How likely tokens were, in the form of the interface. `written` is the length of the text before them, in
    /// characters.
    pub(crate) fn logprobs(&self, tokenizer: &Tokenizer, tokens: &[TokenLogprobs], written: usize) -> Value {
        match self.kind {
            Kind::Chat => json!({"content": chat_logprobs(tokenizer, tokens), "refusal": null}),
            Kind::Completion => completion_logprobs(tokenizer, tokens, written),
        }
    }
}

fn chat_logprobs(tokenizer: &Tokenizer, tokens: &[TokenLogprobs]) -> Vec<Value> {
    let entry = |token: u32, logprob: f32| {
        let text = text_of(tokenizer, token);
        // A token may be a part of a character: its bytes cannot be told from the text.
        let bytes = (!text.contains('\u{FFFD}')).then(|| text.as_bytes().to_vec());
        json!({"token": text, "logprob": logprob, "bytes": bytes})
    };
    let whole = |entry_of: &TokenLogprobs| {
        let mut whole = entry(entry_of.token, entry_of.logprob);
        whole["top_logprobs"] = entry_of.top.iter().map(|(token, logprob)| entry(*token, *logprob)).collect();
        whole
    };
    tokens.iter().map(whole).collect()
}

fn completion_logprobs(tokenizer: &Tokenizer, tokens: &[TokenLogprobs], written: usize) -> Value {
    let texts: Vec<String> = tokens.iter().map(|entry| text_of(tokenizer, entry.token)).collect();
    let offsets = texts.iter().scan(written, |place, text| {
        let start = *place;
        *place += text.chars().count();
        Some(start)
    });
    let offsets: Vec<usize> = offsets.collect();
    let top = |entry: &TokenLogprobs| -> Value {
        let pairs = entry.top.iter().map(|(token, logprob)| (text_of(tokenizer, *token), json!(logprob)));
        Value::Object(pairs.collect())
    };
    let top: Vec<Value> = tokens.iter().map(top).collect();
    let logprobs: Vec<f32> = tokens.iter().map(|entry| entry.logprob).collect();
    json!({"tokens": texts, "token_logprobs": logprobs, "top_logprobs": top, "text_offset": offsets})
}

/// The text of a token alone; the name of one that has no text.
fn text_of(tokenizer: &Tokenizer, token: u32) -> String {
    match tokenizer.decode(&[token]) {
        Ok(text) if !text.is_empty() => text,
        _ => tokenizer.token(token).unwrap_or_default(),
    }
}
