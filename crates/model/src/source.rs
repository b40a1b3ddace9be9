//! Where a model is read from: a Hugging Face folder, or a GGUF file.

use crate::checkpoint::usable_tokenizer;
use crate::folder::recover;
use crate::gguf_files::GgufFiles;
use crate::{Companions, FileError, TOKENIZER_CONFIG_FILE};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use templar_base::ModelConfig;
use templar_corpus::TokenizerError;
use templar_disk::Pointer;
use templar_engine::checkpoint::{
    CONFIG_FILE, CheckpointError, GENERATION_FILE, GgufError, SpecialTokens, TOKENIZER_FILE, config_from_json,
    generation_config_from_json, gguf_config, gguf_parameters, gguf_tokenizer, read_folder, unused_config_keys,
};
use templar_engine::{
    Buffer, Engine, EngineError, EngineSource, MemoryNeeds, OpenRequest, ParamLayout, TooLittleMemory, check_memory,
};

/// A config.json has a few kilobytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// A folder with this file is a model only together with another.
const ADAPTER_FILE: &str = "adapter_config.json";
/// Parameters in PyTorch's own format.
const PICKLED_FILES: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

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
    /// There is a pointer in the place of a file; whoever copied the folder is at fault.
    #[error("{} is {pointer}", path.display())]
    Pointer {
        /// The file.
        path: PathBuf,
        /// What is there.
        pointer: Pointer,
    },
    /// There is nothing at the path; the caller is at fault.
    #[error(
        "there is nothing at {}: give the path of a folder or file; a model of a hub is downloaded first, such as with \
         `hf download NAME --local-dir FOLDER`",
        path.display()
    )]
    Missing {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is no model; the caller is at fault.
    #[error("{} is {what}", path.display())]
    NotModel {
        /// The file.
        path: PathBuf,
        /// What it is, and what to give instead.
        what: String,
    },
    /// The folder has no model in it, but a GGUF file, which is one.
    #[error("{} is a folder with a GGUF file in it: give the file itself, {}", path.display(), file.display())]
    GgufInside {
        /// The folder.
        path: PathBuf,
        /// The file.
        file: PathBuf,
    },
    /// The folder is an adapter for another model.
    #[error("{} makes this an adapter for another model: merge the two first", path.display())]
    Adapter {
        /// The file that says so.
        path: PathBuf,
    },
    /// The parameters are in PyTorch's own format, which can run code.
    #[error("{} is pickled, and there is no model.safetensors: save the model as safetensors", path.display())]
    Pickled {
        /// The file.
        path: PathBuf,
    },
    /// A part of a model in several files is missing.
    #[error(
        "{} is one part of a model in {count} files, and {} is missing: put all parts into one folder, or join them \
         with `llama-gguf-split --merge`",
        path.display(), missing.display()
    )]
    PartMissing {
        /// The part.
        path: PathBuf,
        /// Parts of the model.
        count: u64,
        /// The file that is missing.
        missing: PathBuf,
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
    #[error("{} is damaged: {source}", path.display())]
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
    /// A parameter is NaN or infinite: whatever is computed with it is too; the model's folder is at fault.
    #[error(
        "{tensor} has {value} among its values: the file is damaged, or the training diverged; take an earlier model"
    )]
    NotFinite {
        /// The first such tensor.
        tensor: String,
        /// NaN or an infinity.
        value: f32,
    },
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
    /// `tokenizer_config.json` has a token that `tokenizer.json` lacks, so that a prompt cannot be read as it asks.
    #[error("{TOKENIZER_CONFIG_FILE} adds the token {name:?} ({id}), which {TOKENIZER_FILE} does not have")]
    AddedToken {
        /// The token's number.
        id: u32,
        /// Its name.
        name: String,
    },
    /// A special token of the model's files is none of the model's.
    #[error("the {what} token is {token}, and the model knows {vocab_size} tokens")]
    NoSuchToken {
        /// `begin` or `end`.
        what: &'static str,
        /// The token.
        token: u32,
        /// Tokens of the model.
        vocab_size: usize,
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
    /// The files that say how prompts and conversations become tokens.
    pub companions: Companions,
    /// Fields of `config.json` that are not used: those of other architectures and of tools.
    pub unused: Vec<String>,
}

impl Model {
    /// Reads a folder, or a `.gguf` file.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        if path.is_file() {
            return Self::of_gguf(path);
        }
        recover(path)?;
        let files = list(path)?;
        check_kind(path, &files)?;
        let (config, special) = read_config(path)?;
        check_parameters(path, &config)?;
        let unused = unused_keys(path)?;
        let parameters = read_folder(&config, &files, |name| read(&path.join(name)))?;
        check_finite(&config, &parameters)?;
        let tokenizer = read_tokenizer(path, &files);
        let companions = Companions::of_folder(path)?;
        Ok(Self { config, special, parameters, tokenizer, companions, unused })
    }

    /// Why the tokenizer cannot be used with the model, where there is one and it cannot.
    pub fn tokenizer_problem(&self) -> Option<String> {
        let Self { config, special, companions, .. } = self;
        let json = self.tokenizer.as_ref().ok()?;
        let usable = usable_tokenizer(Path::new(""), config.vocab_size, special, json, companions);
        usable.err().map(|error| reasons(&error))
    }

    fn of_gguf(path: &Path) -> Result<Self, OpenError> {
        let broken = |source| OpenError::Gguf { path: path.to_owned(), source };
        let length = fs::metadata(path).map_err(FileError::at("read", path))?.len();
        check_memory(format!("reading {}", path.display()), length).map_err(OpenError::Memory)?;
        let files = GgufFiles::read(path)?;
        let file = files.whole()?;
        let (config, special) = gguf_config(&file).map_err(broken)?;
        check_parameters(path, &config)?;
        let parameters = gguf_parameters(&file, &config).map_err(broken)?;
        check_finite(&config, &parameters)?;
        let tokenizer = gguf_tokenizer(&file).map(String::into_bytes).map_err(|error| error.to_string());
        let companions = Companions::of_gguf(&file);
        Ok(Self { config, special, parameters, tokenizer, companions, unused: Vec::new() })
    }
}

/// The text of a folder's `tokenizer.json`, or why there is none.
pub(crate) fn read_tokenizer(folder: &Path, files: &BTreeMap<String, u64>) -> Result<Vec<u8>, String> {
    // What slower tokenizers are stored in; the faster one is made of it by other programs.
    let older = ["tokenizer.model", "vocab.json", "vocab.txt"].into_iter().find(|name| files.contains_key(*name));
    match (files.contains_key(TOKENIZER_FILE), older) {
        (false, Some(older)) => Err(format!(
            "{TOKENIZER_FILE} is missing, and {older} is there: write the one from the other with `transformers`, by \
             `AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)`"
        )),
        _ => read(&folder.join(TOKENIZER_FILE)).map_err(|error| reasons(&error)),
    }
}

/// An error with its causes, in one line.
pub(crate) fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}

/// Rejects folders whose parameters are not a model's, or not in a format that is read here.
pub(crate) fn check_kind(folder: &Path, files: &BTreeMap<String, u64>) -> Result<(), OpenError> {
    let gguf = files.keys().find(|name| name.ends_with(".gguf"));
    if let Some(name) = gguf.filter(|_| !files.contains_key(CONFIG_FILE)) {
        return Err(OpenError::GgufInside { path: folder.to_owned(), file: folder.join(name) });
    }
    if files.contains_key(ADAPTER_FILE) {
        return Err(OpenError::Adapter { path: folder.join(ADAPTER_FILE) });
    }
    // A pointer is far too small for the parameters: say so before that is said.
    for (name, _) in files.iter().filter(|(name, bytes)| name.ends_with(".safetensors") && **bytes <= 1024) {
        read(&folder.join(name))?;
    }
    let has_parameters = files.keys().any(|name| name.ends_with(".safetensors"));
    match PICKLED_FILES.into_iter().find(|name| files.contains_key(*name)) {
        Some(name) if !has_parameters => Err(OpenError::Pickled { path: folder.join(name) }),
        _ => Ok(()),
    }
}

/// Rejects parameters with which nothing can be computed.
fn check_finite(config: &ModelConfig, parameters: &[f32]) -> Result<(), OpenError> {
    let layout = ParamLayout::new(config);
    let wrong = layout.tensors().iter().find_map(|tensor| {
        let values = parameters.get(tensor.range.clone()).unwrap_or_default();
        let value = values.iter().copied().find(|value| !value.is_finite())?;
        Some(OpenError::NotFinite { tensor: tensor.name.clone(), value })
    });
    wrong.map_or(Ok(()), Err)
}

/// Fails where the parameters of a model of these sizes do not fit into memory.
fn check_parameters(path: &Path, config: &ModelConfig) -> Result<(), OpenError> {
    // The readers report sizes that cannot be.
    if config.check().is_err() {
        return Ok(());
    }
    MemoryNeeds::check_parameters(&format!("the model {}", path.display()), config).map_err(OpenError::Memory)
}

/// The fields of a folder's `config.json` that are not used.
pub(crate) fn unused_keys(folder: &Path) -> Result<Vec<String>, OpenError> {
    let path = folder.join(CONFIG_FILE);
    unused_config_keys(&read_text(&path, MAX_CONFIG_BYTES)?).map_err(broken(&path))
}

fn broken(path: &Path) -> impl Fn(CheckpointError) -> OpenError + '_ {
    move |source| OpenError::Checkpoint { path: path.to_owned(), source }
}

/// Opens an engine on the CPU.
pub fn open_engine(request: OpenRequest) -> Result<Box<dyn Engine>, EngineError> {
    EngineSource::default().open(request)
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
    let not_text = |_| std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8");
    Ok(String::from_utf8(read(path)?).map_err(not_text).map_err(FileError::at("read", path))?)
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
        special.begin = special.begin.or(generation.begin);
        if !generation.end.is_empty() {
            special.end = generation.end;
        }
    }
    Ok((config, special))
}

/// The files of a folder by name, with their sizes in bytes.
pub(crate) fn list(folder: &Path) -> Result<BTreeMap<String, u64>, OpenError> {
    let failed = FileError::at("read", folder);
    if let Err(source) = fs::metadata(folder)
        && source.kind() == io::ErrorKind::NotFound
    {
        return Err(OpenError::Missing { path: folder.to_owned(), source });
    }
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

/// The bytes of a file; a pointer in its place is rejected as such.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, OpenError> {
    let bytes = fs::read(path).map_err(FileError::at("read", path))?;
    match Pointer::of(&bytes) {
        Some(pointer) => Err(OpenError::Pointer { path: path.to_owned(), pointer }),
        None => Ok(bytes),
    }
}
