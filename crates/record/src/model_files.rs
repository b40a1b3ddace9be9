//! The files of the model folder that a checkpoint consists of.

use crate::RecordError;
use std::io::{BufWriter, Write};
use std::path::Path;
use templar_base::{ModelConfig, StateHash};
use templar_disk::{DiskError, Folder, WriteOptions};
use templar_engine::checkpoint::{
    PARAMETERS_FILE, Precision, SpecialTokens, read_safetensors, settings_files, write_streamed,
};
use templar_gradient::OuterState;

pub use templar_engine::checkpoint::TOKENIZER_FILE;

/// The parameters, in the names of Hugging Face.
pub(crate) const MODEL_FILE: &str = PARAMETERS_FILE;
/// The outer step's momentum, by the names of the parameters; there where the run has one and a step was done.
pub const MOMENTUM_FILE: &str = "outer_momentum.safetensors";

/// One file of a model folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelFile {
    /// Its name in the folder.
    pub name: &'static str,
    /// Its size.
    pub bytes: u64,
}

/// Writes the files of a Hugging Face model folder with these parameters, and the momentum beside them, with memory for
/// one segment of values. The same inputs give the same bytes on every node. `end_of_text` is the token of `tokenizer` (a
/// `tokenizer.json`) that ends a text.
pub fn write_model_files(
    model: &ModelConfig,
    outer: &OuterState,
    tokenizer: &[u8],
    end_of_text: u32,
    folder: &Path,
) -> Result<Vec<ModelFile>, RecordError> {
    let folder = &Folder::new(folder);
    let tokens = SpecialTokens { begin: None, end: vec![end_of_text], padding: None };
    let mut files = Vec::new();
    for (name, content) in settings_files(model, &tokens, Precision::F32, Some(tokenizer)) {
        folder.write(name, &[&content])?;
        files.push(ModelFile { name, bytes: content.len() as u64 });
    }
    files.push(write_values(model, &outer.params, folder, MODEL_FILE)?);
    if !outer.momentum.is_empty() {
        files.push(write_values(model, &outer.momentum, folder, MOMENTUM_FILE)?);
    }
    Ok(files)
}

/// Writes one value for each parameter.
fn write_values(
    model: &ModelConfig,
    values: &[f32],
    folder: &Folder,
    name: &'static str,
) -> Result<ModelFile, RecordError> {
    let mut out = BufWriter::new(folder.writer(name, WriteOptions::default())?);
    write_streamed(model, Precision::F32, &mut out, &mut |start, out| {
        let range = values.get(start..start + out.len()).ok_or("there are fewer values than parameters")?;
        out.copy_from_slice(range);
        Ok(())
    })?;
    out.flush().map_err(|source| RecordError::Io { path: folder.path().join(name), source })?;
    // Flushed just now: nothing is left in the buffer.
    let (writer, _) = out.into_parts();
    Ok(ModelFile { name, bytes: writer.finish()?.bytes })
}

impl From<DiskError> for RecordError {
    fn from(error: DiskError) -> Self {
        Self::Io { path: error.path().to_owned(), source: error.into() }
    }
}

/// The state hash of a model folder with these parameters, and with the momentum if it has one.
pub fn state_of_folder(folder: &Path, model: &ModelConfig, params: Vec<f32>) -> Result<StateHash, RecordError> {
    let path = folder.join(MOMENTUM_FILE);
    let momentum = match std::fs::read(&path) {
        Ok(bytes) => read_safetensors(model, &[&bytes]).map_err(|source| RecordError::ModelFile { path, source })?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(RecordError::Io { path, source }),
    };
    Ok(OuterState { params, momentum }.hash())
}
