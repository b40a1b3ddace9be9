//! Where a model is read from: a Hugging Face folder, or a GGUF file.

use crate::checkpoint_folder::{CONFIG_FILE, GENERATION_FILE, PARAMETERS_FILE, TOKENIZER_FILE, recover};
use anyhow::Context;
use std::fs;
use std::path::{Path, PathBuf};
use templar_base::ModelConfig;
use templar_engine::checkpoint::{
    Gguf, INDEX_FILE, ParameterReader, SpecialTokens, config_from_json, files_of_index, generation_config_from_json,
    gguf_config, gguf_parameters, gguf_tokenizer,
};
use templar_engine::{CpuEngine, Engine, OptimiserConfig};

/// What `transformers` reads about a tokenizer beside `tokenizer.json`.
pub const TOKENIZER_CONFIG_FILE: &str = "tokenizer_config.json";

/// A config.json has a few kilobytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// An index names each tensor of a model.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// A model that was read, with or without a tokenizer.
pub struct Model {
    /// Its sizes.
    pub config: ModelConfig,
    /// The tokens that begin and end a text.
    pub special: SpecialTokens,
    /// In canonical order.
    pub parameters: Vec<f32>,
    /// The text of its `tokenizer.json`, or why there is none.
    pub tokenizer: Result<Vec<u8>, String>,
    /// How a talk is put into a text, as a template of Hugging Face.
    pub chat_template: Option<String>,
}

impl Model {
    /// Reads a folder, or a `.gguf` file.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        if path.is_file() {
            return Self::of_gguf(path);
        }
        recover(path)?;
        let (config, special) = read_config(path)?;
        let files = parameter_files(path)?;
        let mut size = 0;
        for file in &files {
            size += fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len();
        }
        let mut reader = ParameterReader::new(&config, size)?;
        for file in &files {
            let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            reader.read(&bytes).with_context(|| format!("cannot use {}", file.display()))?;
        }
        let parameters =
            reader.finish().with_context(|| format!("cannot read the parameters in {}", path.display()))?;
        let tokenizer_path = path.join(TOKENIZER_FILE);
        let tokenizer = fs::read(&tokenizer_path).map_err(|error| format!("{}: {error}", tokenizer_path.display()));
        let chat_template = read_chat_template(path)?;
        Ok(Self { config, special, parameters, tokenizer, chat_template })
    }

    fn of_gguf(path: &Path) -> anyhow::Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file = Gguf::parse(&bytes)?;
        let (config, special) = gguf_config(&file)?;
        let parameters = gguf_parameters(&file, &config)?;
        let tokenizer = gguf_tokenizer(&file).map(String::into_bytes).map_err(|error| error.to_string());
        let chat_template = file.text("tokenizer.chat_template").map(str::to_owned);
        Ok(Self { config, special, parameters, tokenizer, chat_template })
    }
}

/// An engine with these parameters in it.
pub fn engine_of(config: &ModelConfig, parameters: &[f32], threads: usize) -> anyhow::Result<CpuEngine> {
    let mut engine = CpuEngine::new(config.clone(), OptimiserConfig::default(), threads)?;
    engine.parameters_mut().copy_from_slice(parameters);
    Ok(engine)
}

fn read_text(path: &Path, limit: u64) -> anyhow::Result<String> {
    let length = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    if length > limit {
        anyhow::bail!("{} has {length} bytes, over the limit of {limit}", path.display());
    }
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The sizes and special tokens of a folder. What ends a text is what `generation_config.json` says, if it does.
pub fn read_config(folder: &Path) -> anyhow::Result<(ModelConfig, SpecialTokens)> {
    let path = folder.join(CONFIG_FILE);
    let text = read_text(&path, MAX_CONFIG_BYTES)?;
    let (config, mut special) = config_from_json(&text).with_context(|| format!("in {}", path.display()))?;
    let path = folder.join(GENERATION_FILE);
    if path.is_file() {
        let text = read_text(&path, MAX_CONFIG_BYTES)?;
        let generation = generation_config_from_json(&text).with_context(|| format!("in {}", path.display()))?;
        if !generation.end.is_empty() {
            special.end = generation.end;
        }
    }
    Ok((config, special))
}

/// The template in a folder's `tokenizer_config.json`, if it has one.
fn read_chat_template(folder: &Path) -> anyhow::Result<Option<String>> {
    let path = folder.join(TOKENIZER_CONFIG_FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let fields: serde_json::Value = serde_json::from_str(&read_text(&path, MAX_INDEX_BYTES)?)
        .with_context(|| format!("{} is damaged", path.display()))?;
    Ok(fields.get("chat_template").and_then(serde_json::Value::as_str).map(str::to_owned))
}

/// `model.safetensors`, or what the index lists, or all shards in order of their names.
pub fn parameter_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let whole = folder.join(PARAMETERS_FILE);
    if whole.is_file() {
        return Ok(vec![whole]);
    }
    let index = folder.join(INDEX_FILE);
    if index.is_file() {
        let text = read_text(&index, MAX_INDEX_BYTES)?;
        let names = files_of_index(&text).with_context(|| format!("in {}", index.display()))?;
        return Ok(names.into_iter().map(|name| folder.join(name)).collect());
    }
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut shards = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("model-") && name.ends_with(".safetensors") {
            shards.push(path);
        }
    }
    if shards.is_empty() {
        anyhow::bail!("{} is missing", whole.display());
    }
    shards.sort();
    Ok(shards)
}
