//! What the files of a model hold, without reading the parameters into memory as values.

use crate::FileError;
use crate::source::{OpenError, list, read, read_config};
use std::path::Path;
use templar_base::ModelConfig;
use templar_engine::checkpoint::{Gguf, SpecialTokens, gguf_config, parameter_files, stored_tensors};

/// A tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorFacts {
    /// Its name.
    pub name: String,
    /// The name of its file.
    pub file: String,
    /// Its type, such as `BF16` or `Q4_0`.
    pub kind: String,
    /// Its shape, the slowest dimension first.
    pub shape: Vec<usize>,
    /// Its size in the file.
    pub bytes: usize,
}

/// What a model folder or a GGUF file holds.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The model's sizes.
    pub config: ModelConfig,
    /// The tokens that begin and end a text.
    pub special: SpecialTokens,
    /// All stored tensors.
    pub tensors: Vec<TensorFacts>,
}

impl Inspection {
    /// Reads a folder, or a `.gguf` file.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        if path.is_file() { Self::of_gguf(path) } else { Self::of_folder(path) }
    }

    fn of_folder(folder: &Path) -> Result<Self, OpenError> {
        let (config, special) = read_config(folder)?;
        let mut tensors = Vec::new();
        let files = parameter_files(&list(folder)?, &mut |name| read(&folder.join(name)))?;
        for (number, file) in files.iter().enumerate() {
            for (name, stored) in stored_tensors(&read(&folder.join(file))?, number)? {
                let (kind, shape, bytes) = (stored.dtype, stored.shape, stored.bytes.len());
                tensors.push(TensorFacts { name, file: file.clone(), kind, shape, bytes });
            }
        }
        Ok(Self { config, special, tensors })
    }

    fn of_gguf(path: &Path) -> Result<Self, OpenError> {
        let broken = |source| OpenError::Gguf { path: path.to_owned(), source };
        let bytes = std::fs::read(path).map_err(FileError::at("read", path))?;
        let file = Gguf::parse(&bytes).map_err(broken)?;
        let (config, special) = gguf_config(&file).map_err(broken)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let facts = file.tensors.iter().map(|(tensor, stored)| TensorFacts {
            name: (*tensor).to_owned(),
            file: name.clone(),
            kind: stored.type_name().to_owned(),
            shape: stored.shape.clone(),
            bytes: stored.size(),
        });
        let tensors = facts.collect();
        Ok(Self { config, special, tensors })
    }

    /// Size of all tensors in the files.
    pub fn bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.bytes as u64).sum()
    }

    /// The types that occur, each once.
    pub fn kinds(&self) -> Vec<&str> {
        let mut kinds: Vec<&str> = self.tensors.iter().map(|tensor| tensor.kind.as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }
}
