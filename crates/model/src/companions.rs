//! The files beside a model's parameters that say how a prompt is put into tokens and a conversation into a prompt.
//!
//! They are kept as they are wherever the model is written again, so that other programs read the copy as they read the
//! original.

use crate::source::{OpenError, list, read};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use templar_base::settings_json;
use templar_engine::checkpoint::{Array, GENERATION_FILE, Gguf, Value as GgufValue};

/// What `transformers` reads about a tokenizer beside `tokenizer.json`.
pub const TOKENIZER_CONFIG_FILE: &str = "tokenizer_config.json";

/// The files that are kept, besides [`TEMPLATES_FOLDER`].
const FILES: [&str; 5] =
    [TOKENIZER_CONFIG_FILE, "special_tokens_map.json", "chat_template.jinja", "chat_template.json", GENERATION_FILE];

/// More templates, a file each.
const TEMPLATES_FOLDER: &str = "additional_chat_templates";

/// Whether a folder's entry of this name is one of the companions.
pub(crate) fn is_companion(name: &str) -> bool {
    FILES.contains(&name) || name == TEMPLATES_FOLDER
}

/// Kept files of a model, with paths below its folder.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Companions {
    files: BTreeMap<String, Vec<u8>>,
    /// The templates of a file that is no folder, as `tokenizer_config.json` has them.
    template: Option<Value>,
    /// The fields of `tokenizer_config.json`.
    tokenizer_config: Value,
}

impl Companions {
    /// Those of a folder.
    pub(crate) fn of_folder(folder: &Path) -> Result<Self, OpenError> {
        let present = list(folder)?;
        let mut files = BTreeMap::new();
        for name in FILES.into_iter().filter(|name| present.contains_key(*name)) {
            files.insert(name.to_owned(), read(&folder.join(name))?);
        }
        let templates = folder.join(TEMPLATES_FOLDER);
        if templates.is_dir() {
            for name in list(&templates)?.into_keys().filter(|name| name.ends_with(".jinja")) {
                let bytes = read(&templates.join(&name))?;
                files.insert(format!("{TEMPLATES_FOLDER}/{name}"), bytes);
            }
        }
        let tokenizer_config = match files.get(TOKENIZER_CONFIG_FILE) {
            None => Value::Null,
            Some(bytes) => settings_json(bytes)
                .map_err(|source| OpenError::Damaged { path: folder.join(TOKENIZER_CONFIG_FILE), source })?,
        };
        Ok(Self { files, template: None, tokenizer_config })
    }

    /// The templates of a GGUF file: one, or several by name.
    pub(crate) fn of_gguf(file: &Gguf) -> Self {
        const KEY: &str = "tokenizer.chat_template";
        let plain = file.text(KEY);
        let names = file.array("tokenizer.chat_templates").into_iter().flat_map(|names: Array| names.values());
        let named = names.filter_map(|name| {
            let GgufValue::Text(name) = name else { return None };
            Some(json!({"name": name, "template": file.text(&format!("{KEY}.{name}"))?}))
        });
        let named: Vec<Value> = named.collect();
        let template = match plain {
            Some(plain) if named.is_empty() => Some(json!(plain)),
            Some(plain) => {
                let default = json!({"name": "default", "template": plain});
                Some(Value::Array([default].into_iter().chain(named).collect()))
            }
            None if named.is_empty() => None,
            None => Some(Value::Array(named)),
        };
        Self { files: BTreeMap::new(), template, tokenizer_config: Value::Null }
    }

    /// The files with their paths below the folder.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// The templates for a `tokenizer_config.json` that is made here.
    pub(crate) fn template(&self) -> Option<&Value> {
        self.template.as_ref()
    }

    /// Whether the model says how a conversation is put into a prompt.
    pub fn has_chat_template(&self) -> bool {
        let in_file = |(name, _): (&str, &[u8])| name.contains("chat_template");
        let in_config = self.tokenizer_config.get("chat_template").is_some_and(|template| !template.is_null());
        self.template.is_some() || in_config || self.files().any(in_file)
    }

    /// Whether `add_bos_token` or `add_eos_token` is true or false, where the file says.
    pub(crate) fn flag(&self, field: &str) -> Option<bool> {
        self.tokenizer_config.get(field).and_then(Value::as_bool)
    }

    /// The name of a special token such as `bos_token`: a text, or an object that describes the token.
    pub(crate) fn token(&self, field: &str) -> Option<&str> {
        let token = self.tokenizer_config.get(field)?;
        token.as_str().or_else(|| token.get("content")?.as_str())
    }

    /// Tokens that `tokenizer_config.json` adds to a tokenizer, by their numbers.
    pub(crate) fn added_tokens(&self) -> impl Iterator<Item = (u32, &str)> {
        let added = self.tokenizer_config.get("added_tokens_decoder").and_then(Value::as_object);
        added.into_iter().flatten().filter_map(|(id, token)| Some((id.parse().ok()?, token.get("content")?.as_str()?)))
    }
}
