//! Where a model is read from: a Hugging Face folder, or a GGUF file.

use crate::FileError;
use crate::folder::recover;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use templar_base::ModelConfig;
use templar_corpus::TokenizerError;
use templar_engine::checkpoint::{
    CONFIG_FILE, CheckpointError, GENERATION_FILE, Gguf, GgufError, SpecialTokens, TOKENIZER_FILE, config_from_json,
    generation_config_from_json, gguf_config, gguf_parameters, gguf_tokenizer, read_folder,
};
use templar_engine::{
    Buffer, CpuBackend, DeviceName, Engine, EngineError, MemoryNeeds, OpenRequest, TooLittleMemory, check_memory,
};

/// What `transformers` reads about a tokenizer beside `tokenizer.json`.
pub const TOKENIZER_CONFIG_FILE: &str = "tokenizer_config.json";

/// A config.json has a few kilobytes; a chat template a few more.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// A model that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A file cannot be read; the disk or the path is at fault.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file of settings is larger than any real one; the model's folder is at fault.
    #[error("{} is {bytes} bytes, over the limit of {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The largest size that is read.
        limit: u64,
    },
    /// A file of the folder is broken, or not of this model; the model's folder is at fault.
    #[error("cannot use {}", path.display())]
    Checkpoint {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        source: CheckpointError,
    },
    /// The GGUF file is broken or asks for what this engine cannot do.
    #[error("cannot use {}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: GgufError,
    },
    /// `tokenizer_config.json` is not JSON.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The machine has too little memory for the parameters; nothing was allocated.
    #[error("{0}")]
    Memory(#[source] TooLittleMemory),
    /// The parameters are missing, broken, or of another model; the model's folder is at fault.
    #[error("cannot read the parameters")]
    Parameters(#[from] CheckpointError),
    /// The model has no tokenizer that this program can use.
    #[error("the model has no usable tokenizer: {reason}")]
    NoTokenizer {
        /// Why there is none.
        reason: String,
    },
    /// The tokenizer is broken.
    #[error("cannot use {}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TokenizerError,
    },
    /// The tokenizer has tokens that the model does not know.
    #[error(
        "the tokenizer has {tokens} tokens and the model knows {vocab_size}: it is another model's {TOKENIZER_FILE}"
    )]
    OtherTokenizer {
        /// Tokens of the tokenizer.
        tokens: u32,
        /// Tokens of the model.
        vocab_size: usize,
    },
}

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
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        if path.is_file() {
            return Self::of_gguf(path);
        }
        recover(path)?;
        let (config, special) = read_config(path)?;
        check_parameters(path, &config)?;
        let parameters = read_folder(&config, &list(path)?, |name| read(&path.join(name)))?;
        let tokenizer_path = path.join(TOKENIZER_FILE);
        let tokenizer = fs::read(&tokenizer_path).map_err(|error| format!("{}: {error}", tokenizer_path.display()));
        let chat_template = read_chat_template(path)?;
        Ok(Self { config, special, parameters, tokenizer, chat_template })
    }

    fn of_gguf(path: &Path) -> Result<Self, OpenError> {
        let broken = |source| OpenError::Gguf { path: path.to_owned(), source };
        let length = fs::metadata(path).map_err(FileError::at("read", path))?.len();
        check_memory(format!("reading {}", path.display()), length).map_err(OpenError::Memory)?;
        let bytes = fs::read(path).map_err(FileError::at("read", path))?;
        let file = Gguf::parse(&bytes).map_err(broken)?;
        let (config, special) = gguf_config(&file).map_err(broken)?;
        check_parameters(path, &config)?;
        let parameters = gguf_parameters(&file, &config).map_err(broken)?;
        let tokenizer = gguf_tokenizer(&file).map(String::into_bytes).map_err(|error| error.to_string());
        let chat_template = file.text("tokenizer.chat_template").map(str::to_owned);
        Ok(Self { config, special, parameters, tokenizer, chat_template })
    }
}

/// Fails where the parameters of a model of these sizes do not fit into memory.
fn check_parameters(path: &Path, config: &ModelConfig) -> Result<(), OpenError> {
    // The readers report sizes that cannot be.
    if config.check().is_err() {
        return Ok(());
    }
    MemoryNeeds::check_parameters(&format!("the model {}", path.display()), config).map_err(OpenError::Memory)
}

fn broken(path: &Path) -> impl Fn(CheckpointError) -> OpenError + '_ {
    move |source| OpenError::Checkpoint { path: path.to_owned(), source }
}

/// Opens an engine on the CPU.
pub fn open_engine(request: OpenRequest) -> Result<Box<dyn Engine>, EngineError> {
    templar_engine::open(&DeviceName::cpu(), &[&CpuBackend], request)
}

/// An engine with these parameters in it.
pub fn engine_of(config: &ModelConfig, parameters: &[f32], threads: usize) -> Result<Box<dyn Engine>, EngineError> {
    let mut engine = open_engine(OpenRequest::new(config.clone()).with_threads(threads))?;
    engine.write(Buffer::Parameters, 0, parameters)?;
    Ok(engine)
}

fn read_text(path: &Path, limit: u64) -> Result<String, OpenError> {
    let bytes = fs::metadata(path).map_err(FileError::at("read", path))?.len();
    if bytes > limit {
        return Err(OpenError::TooLarge { path: path.to_owned(), bytes, limit });
    }
    Ok(fs::read_to_string(path).map_err(FileError::at("read", path))?)
}

/// The sizes and special tokens of a folder. What ends a text is what `generation_config.json` says, if it does.
pub fn read_config(folder: &Path) -> Result<(ModelConfig, SpecialTokens), OpenError> {
    let path = folder.join(CONFIG_FILE);
    let text = read_text(&path, MAX_CONFIG_BYTES)?;
    let (config, mut special) = config_from_json(&text).map_err(broken(&path))?;
    let path = folder.join(GENERATION_FILE);
    if path.is_file() {
        let text = read_text(&path, MAX_CONFIG_BYTES)?;
        let generation = generation_config_from_json(&text).map_err(broken(&path))?;
        if !generation.end.is_empty() {
            special.end = generation.end;
        }
    }
    Ok((config, special))
}

/// The template in a folder's `tokenizer_config.json`, if it has one.
fn read_chat_template(folder: &Path) -> Result<Option<String>, OpenError> {
    let path = folder.join(TOKENIZER_CONFIG_FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let fields: serde_json::Value = serde_json::from_str(&read_text(&path, MAX_CONFIG_BYTES)?)
        .map_err(|source| OpenError::Damaged { path, source })?;
    Ok(fields.get("chat_template").and_then(serde_json::Value::as_str).map(str::to_owned))
}

/// The files of a folder by name, with their sizes in bytes.
pub(crate) fn list(folder: &Path) -> Result<BTreeMap<String, u64>, OpenError> {
    let failed = FileError::at("read", folder);
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // Follows links, as caches of models have them. One that leads nowhere is not there.
        if let (Ok(name), Ok(facts)) = (entry.file_name().into_string(), fs::metadata(entry.path())) {
            files.insert(name, facts.len());
        }
    }
    Ok(files)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, OpenError> {
    Ok(fs::read(path).map_err(FileError::at("read", path))?)
}
