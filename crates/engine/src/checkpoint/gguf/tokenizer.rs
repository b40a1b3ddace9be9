//! From the vocabulary in a GGUF file to a `tokenizer.json`.

use super::{Gguf, GgufError, Value};
use serde_json::{Map, Value as Json, json};

/// `tokenizer.ggml.token_type` of tokens that are no text.
const CONTROL: u64 = 3;
/// Of tokens that a user added: text that is never split.
const USER_DEFINED: u64 = 4;

/// The expression by which Llama 3 and others cut a text into words.
const LLAMA3_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// As the expression above, with every digit by itself.
const QWEN2_WORDS: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The expressions by which llama.cpp cuts where a file says `default`: punctuation alone, as GPT-2, digits in threes.
const DEFAULT_WORDS: [&str; 4] = [
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    r"[0-9][0-9][0-9]",
];

/// The text of a `tokenizer.json` for the file's vocabulary; byte-level BPE only.
///
/// Which words a text is cut into before the merges is a name in the file (`tokenizer.ggml.pre`); one that is not
/// known here is refused, since another cut would give other tokens.
pub fn gguf_tokenizer(file: &Gguf) -> Result<String, GgufError> {
    let bad = |key: &str, reason: String| GgufError::Key { key: format!("tokenizer.ggml.{key}"), reason };
    match file.text("tokenizer.ggml.model") {
        Some("gpt2") => {}
        Some(other) => return Err(bad("model", format!("`{other}` is not supported, only byte-level BPE (gpt2) is"))),
        None => return Err(bad("model", "it is missing".into())),
    }
    check_keys(file)?;
    let list = |key: &str| file.array(&format!("tokenizer.ggml.{key}")).ok_or_else(|| bad(key, "it is missing".into()));
    let cut = file.text("tokenizer.ggml.pre");
    // Llama 3 takes a word that is a token as it is, whatever the merges say.
    let is_llama3 = matches!(cut, Some("llama-bpe" | "llama3" | "llama-v3"));
    let pre_tokenizer = match cut {
        Some("smollm" | "starcoder" | "refact" | "command-r") => json!({"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true}, byte_level(true)]}),
        Some("gpt-2" | "gpt2" | "mpt" | "olmo" | "jina-v2-en") => byte_level(true),
        Some("default") => split_by(&DEFAULT_WORDS),
        Some(_) if is_llama3 => split_by(&[LLAMA3_WORDS]),
        Some("qwen2") => split_by(&[QWEN2_WORDS]),
        other => {
            let reason = match other {
                Some(name) => format!("the way `{name}` of cutting a text into words is not known here"),
                None => "it is missing: how a text is cut into words is not known; convert the model again".to_owned(),
            };
            return Err(bad("pre", reason));
        }
    };
    let kinds = file.array("tokenizer.ggml.token_type");
    let kinds: Vec<u64> = kinds.iter().flat_map(|kinds| kinds.values()).filter_map(|kind| kind.as_unsigned()).collect();
    let (mut vocabulary, mut added, mut names) = (Map::new(), Vec::new(), Vec::new());
    for (id, token) in list("tokens")?.values().enumerate() {
        let Value::Text(token) = token else { return Err(bad("tokens", format!("token {id} is not a text"))) };
        if vocabulary.insert(token.to_owned(), json!(id)).is_some() {
            return Err(bad("tokens", format!("token {id} occurs twice")));
        }
        names.push(token);
        let kind = kinds.get(id).copied().unwrap_or(0);
        if kind == CONTROL || kind == USER_DEFINED {
            added.push(json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": kind == CONTROL}));
        }
    }
    let mut merges = Vec::new();
    for (place, merge) in list("merges")?.values().enumerate() {
        let pair = if let Value::Text(text) = merge { text.split_once(' ') } else { None };
        let (left, right) = pair.ok_or_else(|| bad("merges", format!("merge {place} is not two tokens")))?;
        let parts = [left.to_owned(), right.to_owned(), [left, right].concat()];
        if parts.iter().any(|part| !vocabulary.contains_key(part)) {
            return Err(bad("merges", format!("merge {place} is of tokens that do not exist")));
        }
        merges.push(json!([left, right]));
    }
    let tokenizer: Json = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor(file, &names, is_llama3)?,
        "decoder": byte_level(true),
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": is_llama3,
            "vocab": vocabulary, "merges": merges},
    });
    Ok(tokenizer.to_string())
}

/// Keys that are used, or that say nothing about a text's tokens: numbers of special tokens, templates of a
/// conversation, scores (of other kinds of tokenizers).
#[rustfmt::skip]
const KNOWN: &[&str] = &[
    "add_bos_token", "add_eos_token", "chat_template", "chat_templates", "merges", "model", "pre", "scores",
    "token_type", "token_type_count", "tokens",
];

/// Rejects a key that may change a text's tokens and is not known here, unless it is switched off.
fn check_keys(file: &Gguf) -> Result<(), GgufError> {
    for (key, value) in &file.values {
        let Some(name) = key.strip_prefix("tokenizer.ggml.") else { continue };
        let is_off = matches!(value, Value::Flag(false)) || value.as_float() == Some(0.0);
        if !KNOWN.contains(&name) && !name.ends_with("_token_id") && !is_off {
            return Err(GgufError::Key { key: (*key).to_owned(), reason: "it is not supported".into() });
        }
    }
    Ok(())
}

/// What puts the tokens before and after a text that the file asks for.
fn post_processor(file: &Gguf, names: &[&str], is_llama3: bool) -> Result<Json, GgufError> {
    let mut single = vec![json!({"Sequence": {"id": "A", "type_id": 0}})];
    let mut special = Map::new();
    for (key, of, by_default) in
        [("add_bos_token", "bos_token_id", is_llama3), ("add_eos_token", "eos_token_id", false)]
    {
        let bad = |key: &str, reason: &str| GgufError::Key {
            key: format!("tokenizer.ggml.{key}"),
            reason: reason.to_owned(),
        };
        let id = file.values.get(format!("tokenizer.ggml.{of}").as_str()).and_then(Value::as_unsigned);
        match file.values.get(format!("tokenizer.ggml.{key}").as_str()) {
            Some(Value::Flag(false)) => continue,
            // llama.cpp begins a text of these models so where the file does not say.
            None if by_default && id.is_some() => {}
            None => continue,
            Some(Value::Flag(true)) => {}
            Some(_) => return Err(bad(key, "it is not true or false")),
        }
        let id = id.ok_or_else(|| bad(of, "it is missing"))?;
        let name = usize::try_from(id).ok().and_then(|id| names.get(id));
        let name = name.ok_or_else(|| bad(of, "there is no such token"))?;
        special.insert((*name).to_owned(), json!({"id": name, "ids": [id], "tokens": [name]}));
        let place = if key == "add_bos_token" { 0 } else { single.len() };
        single.insert(place, json!({"SpecialToken": {"id": name, "type_id": 0}}));
    }
    if special.is_empty() {
        return Ok(Json::Null);
    }
    let second = json!({"Sequence": {"id": "B", "type_id": 1}});
    let pair: Vec<Json> = single.iter().cloned().chain([second]).collect();
    Ok(json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}))
}

fn byte_level(cuts: bool) -> Json {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": cuts})
}

/// Cuts by one expression after the other.
fn split_by(expressions: &[&str]) -> Json {
    let split = |expression: &&str| json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false});
    let mut steps: Vec<Json> = expressions.iter().map(split).collect();
    steps.push(byte_level(false));
    json!({"type": "Sequence", "pretokenizers": steps})
}
