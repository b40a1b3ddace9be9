//! Which token ends a text: the one place where that is decided.

use crate::tokenizer::{END_OF_TEXT, TokenizerError};
use serde_json::Value;
use std::path::Path;
use templar_base::settings_json;
use tokenizers::Tokenizer as Inner;

/// Names of the end of a text in tokenizers that others trained, the likeliest first.
pub(crate) const END_OF_TEXT_NAMES: [&str; 6] =
    [END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>", "<|eot_id|>", "<|im_end|>"];

/// The files of a model that say which token ends a text, the one that counts first.
const MODEL_FILES: [&str; 3] = ["generation_config.json", "config.json", "tokenizer_config.json"];

/// A file of settings has a few kilobytes.
const LARGEST_SETTINGS_BYTES: u64 = 4 << 20;

/// What says which token ends a text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum EndOfText {
    /// The tokenizer alone: the first of some usual names that it has.
    #[default]
    Usual,
    /// A number, such as the `eos_token_id` of a `config.json`.
    Id(u32),
    /// A name.
    Name(String),
}

impl EndOfText {
    /// What a person or a file writes for a token: its number, or its name.
    pub fn parse(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Id)
    }

    /// What the files of a model say that are beside a `tokenizer.json`: `eos_token_id` of `generation_config.json` or
    /// `config.json` (the first, where it is a list), else `eos_token` of `tokenizer_config.json`, else the usual names.
    pub fn beside(tokenizer: &Path) -> Self {
        let folder = if tokenizer.is_dir() { tokenizer } else { tokenizer.parent().unwrap_or(Path::new("")) };
        MODEL_FILES.iter().find_map(|name| Self::of_file(&folder.join(name))).unwrap_or_default()
    }

    /// What a file of settings says; none where it is not there, is not JSON or does not say.
    fn of_file(path: &Path) -> Option<Self> {
        let is_small = std::fs::metadata(path).is_ok_and(|facts| facts.len() <= LARGEST_SETTINGS_BYTES);
        let text = if is_small { std::fs::read(path).ok()? } else { return None };
        let fields = settings_json(&text).ok()?;
        let number = match fields.get("eos_token_id") {
            Some(Value::Array(numbers)) => numbers.first().and_then(Value::as_u64),
            number => number.and_then(Value::as_u64),
        };
        if let Some(number) = number.and_then(|number| u32::try_from(number).ok()) {
            return Some(Self::Id(number));
        }
        let name = fields.get("eos_token")?;
        // A text, or an object that describes the token.
        let name = name.as_str().or_else(|| name.get("content")?.as_str())?;
        Some(Self::Name(name.to_owned()))
    }

    /// The token of a tokenizer.
    pub(crate) fn find(&self, inner: &Inner) -> Result<u32, TokenizerError> {
        let missing = |token: String| TokenizerError::NoSuchEndOfText { token };
        match self {
            Self::Usual => {
                let usual = END_OF_TEXT_NAMES.into_iter().find_map(|name| inner.token_to_id(name));
                usual.ok_or(TokenizerError::NoEndOfText)
            }
            Self::Id(id) => inner.id_to_token(*id).map(|_| *id).ok_or_else(|| missing(id.to_string())),
            Self::Name(name) => inner.token_to_id(name).ok_or_else(|| missing(format!("{name:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tokenizer;

    /// A tokenizer in which no token has a usual name.
    fn own_end() -> Vec<u8> {
        let trained = Tokenizer::train(&crate::synthetic::synthetic(1, 20_000), 300).unwrap();
        String::from_utf8(trained.to_json().to_vec()).unwrap().replace(END_OF_TEXT, "<EOT>").into_bytes()
    }

    #[test]
    fn the_end_is_what_is_named_else_what_the_files_beside_it_name_else_what_is_usual() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        let json = own_end();
        std::fs::write(&path, &json).unwrap();
        assert!(matches!(Tokenizer::open(&path), Err(TokenizerError::NoEndOfText)));
        let end = |name: &str| Tokenizer::with_end(&json, &EndOfText::parse(name)).map(|found| found.end_of_text());
        let token = end("<EOT>").unwrap();
        assert_eq!(end(&token.to_string()).unwrap(), token);
        assert!(matches!(end("</s>"), Err(TokenizerError::NoSuchEndOfText { .. })));
        assert!(matches!(end("4000"), Err(TokenizerError::NoSuchEndOfText { .. })));
        for (name, text) in [
            ("tokenizer_config.json", r#"{"eos_token": {"content": "<EOT>"}}"#.to_owned()),
            ("tokenizer_config.json", r#"{"eos_token": "<EOT>"}"#.to_owned()),
            ("config.json", format!(r#"{{"eos_token_id": {token}}}"#)),
            ("generation_config.json", format!(r#"{{"eos_token_id": [{token}, 5]}}"#)),
        ] {
            let beside = folder.path().join(name);
            std::fs::write(&beside, text).unwrap();
            assert_eq!(Tokenizer::open(&path).unwrap().end_of_text(), token, "{name}");
            std::fs::remove_file(beside).unwrap();
        }
        // The number in the model's own files counts more than a usual name.
        let usual = String::from_utf8(json).unwrap().replace("<EOT>", END_OF_TEXT);
        std::fs::write(&path, usual).unwrap();
        std::fs::write(folder.path().join("config.json"), r#"{"eos_token_id": 7}"#).unwrap();
        assert_eq!(Tokenizer::open(&path).unwrap().end_of_text(), 7);
    }
}
