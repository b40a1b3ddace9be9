//! A model as a Hugging Face folder for other programs.

use crate::checkpoint::end_of_text;
use crate::folder::{replace_with, write_file};
use crate::{Companions, FileError, Model, TOKENIZER_CONFIG_FILE};
use serde_json::{Value, json};
use std::path::Path;
use templar_base::ModelConfig;
use templar_corpus::Tokenizer;
use templar_engine::ParamLayout;
use templar_engine::checkpoint::{INDEX_FILE, Precision, Shards, SpecialTokens, settings_files};

/// The largest finite value of f16.
const F16_LARGEST: f32 = 65504.0;

/// A model that cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A parameter has no value in f16; bf16 has the range.
    #[error("the parameter {0} is too large for f16")]
    TooLargeForF16(f32),
    /// A file cannot be written; the disk or the path is at fault.
    #[error(transparent)]
    File(#[from] FileError),
}

/// How parameters are written.
#[derive(Debug, Clone, Copy)]
pub struct ExportOptions {
    /// The type of the values.
    pub precision: Precision,
    /// The largest size of a file; a larger model becomes several files.
    pub shard_bytes: u64,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The files with parameters.
    pub files: Vec<String>,
    /// Size of all parameters.
    pub bytes: u64,
}

/// Writes a model folder, whole or not at all; `progress` hears the share that is done and the next file.
pub fn export(
    model: &Model,
    out: &Path,
    options: ExportOptions,
    mut progress: impl FnMut(f64, &str),
) -> Result<Exported, ExportError> {
    let ExportOptions { precision, shard_bytes } = options;
    let too_large = model.parameters.iter().find(|value| precision == Precision::F16 && value.abs() > F16_LARGEST);
    if let Some(value) = too_large {
        return Err(ExportError::TooLargeForF16(*value));
    }
    let shards = Shards::new(&ParamLayout::new(&model.config), precision, shard_bytes);
    let files: Vec<String> = (0..shards.count()).map(|file| shards.file_name(file)).collect();
    replace_with(out, |folder| -> Result<(), FileError> {
        for (number, name) in files.iter().enumerate() {
            progress(number as f64 / files.len() as f64, name);
            write_file(&folder.join(name), &shards.file(number, &model.parameters))?;
        }
        if let Some(index) = shards.index() {
            write_file(&folder.join(INDEX_FILE), index.as_bytes())?;
        }
        let tokenizer = model.tokenizer.as_deref().ok();
        let Model { config, special, companions, .. } = model;
        write_all(folder, &all_settings(config, special, precision, tokenizer, companions))
    })?;
    Ok(Exported { files, bytes: model.parameters.len() as u64 * precision.bytes() as u64 })
}

/// Writes files with paths below a folder that has no other writer.
pub(crate) fn write_all(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<(), FileError> {
    for (name, bytes) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent().filter(|parent| *parent != folder) {
            std::fs::create_dir_all(parent).map_err(FileError::at("make the folder", parent))?;
        }
        write_file(&path, bytes)?;
    }
    Ok(())
}

/// The files of a folder besides its parameters, with their paths below it: those that are made here, and the companions
/// as they came.
pub(crate) fn all_settings(
    config: &ModelConfig,
    special: &SpecialTokens,
    precision: Precision,
    tokenizer: Option<&[u8]>,
    companions: &Companions,
) -> Vec<(String, Vec<u8>)> {
    let made = settings_files(config, special, precision, tokenizer).into_iter();
    let made = made.filter(|(name, _)| !companions.has(name)).map(|(name, bytes)| (name.to_owned(), bytes));
    let kept = companions.files().map(|(name, bytes)| (name.to_owned(), bytes.to_vec()));
    let mut files: Vec<(String, Vec<u8>)> = made.chain(kept).collect();
    if let Some(tokenizer) = tokenizer.filter(|_| !companions.has(TOKENIZER_CONFIG_FILE)) {
        let text = tokenizer_config(config, special, tokenizer, companions);
        files.push((TOKENIZER_CONFIG_FILE.to_owned(), text.into_bytes()));
    }
    files
}

/// The class that reads any tokenizer.json, and the names of the special tokens.
fn tokenizer_config(
    config: &ModelConfig,
    special: &SpecialTokens,
    tokenizer: &[u8],
    companions: &Companions,
) -> String {
    let tokenizer = Tokenizer::with_end(tokenizer, &end_of_text(special, companions)).ok();
    let name = |token: Option<u32>| token.and_then(|token| tokenizer.as_ref()?.token(token));
    let mut fields = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.max_position_embeddings,
        "clean_up_tokenization_spaces": false,
    });
    for (field, token) in
        [("bos_token", special.begin), ("eos_token", special.end.first().copied()), ("pad_token", special.padding)]
    {
        if let Some(name) = name(token) {
            fields[field] = Value::String(name);
        }
    }
    if let Some(template) = companions.template() {
        fields["chat_template"] = template.clone();
    }
    format!("{fields:#}\n")
}
