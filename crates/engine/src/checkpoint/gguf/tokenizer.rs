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
    let list = |key: &str| file.array(&format!("tokenizer.ggml.{key}")).ok_or_else(|| bad(key, "it is missing".into()));
    let cut = file.text("tokenizer.ggml.pre");
    // Llama 3 takes a word that is a token as it is, whatever the merges say.
    let is_llama3 = matches!(cut, Some("llama-bpe" | "llama3" | "llama-v3"));
    let pre_tokenizer = match cut {
        Some("smollm" | "starcoder" | "refact" | "command-r") => json!({"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true}, byte_level(true)]}),
        Some("gpt-2" | "gpt2" | "default" | "mpt" | "olmo" | "jina-v2-en") => byte_level(true),
        Some(_) if is_llama3 => split_by(LLAMA3_WORDS),
        Some("qwen2") => split_by(QWEN2_WORDS),
        other => {
            let name = other.unwrap_or("none");
            return Err(bad("pre", format!("the way `{name}` of cutting a text into words is not known here")));
        }
    };
    let kinds = file.array("tokenizer.ggml.token_type");
    let kinds: Vec<u64> = kinds.iter().flat_map(|kinds| kinds.values()).filter_map(|kind| kind.as_unsigned()).collect();
    let (mut vocabulary, mut added) = (Map::new(), Vec::new());
    for (id, token) in list("tokens")?.values().enumerate() {
        let Value::Text(token) = token else { return Err(bad("tokens", format!("token {id} is not a text"))) };
        if vocabulary.insert(token.to_owned(), json!(id)).is_some() {
            return Err(bad("tokens", format!("token {id} occurs twice")));
        }
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
        "post_processor": null,
        "decoder": byte_level(true),
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": is_llama3,
            "vocab": vocabulary, "merges": merges},
    });
    Ok(tokenizer.to_string())
}

fn byte_level(cuts: bool) -> Json {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": cuts})
}

fn split_by(expression: &str) -> Json {
    json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false},
        byte_level(false),
    ]})
}
