//! The files of the model folder that a checkpoint consists of.

use templar_base::ModelConfig;
use templar_engine::checkpoint::{
    CheckpointError, PARAMETERS_FILE, Precision, SpecialTokens, settings_files, write_safetensors,
};
use templar_gradient::OuterState;

pub use templar_engine::checkpoint::TOKENIZER_FILE;

/// The parameters, in the names of Hugging Face.
pub(crate) const MODEL_FILE: &str = PARAMETERS_FILE;
/// The outer step's momentum, by the names of the parameters; there where the run has one and a step was done.
pub const MOMENTUM_FILE: &str = "outer_momentum.safetensors";

/// One file of a model folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// Its name in the folder.
    pub name: &'static str,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// The files of a Hugging Face model folder with these parameters, and the momentum beside them. The same inputs give
/// the same bytes on every node. `end_of_text` is the token of `tokenizer` (a `tokenizer.json`) that ends a text.
pub fn model_files(
    model: &ModelConfig,
    outer: &OuterState,
    tokenizer: &[u8],
    end_of_text: u32,
) -> Result<Vec<ModelFile>, CheckpointError> {
    let tokens = SpecialTokens { begin: None, end: vec![end_of_text], padding: None };
    let values = |values: &[f32]| write_safetensors(model, values, Precision::F32);
    let file = |name, content| ModelFile { name, content };
    let settings = settings_files(model, &tokens, Precision::F32, Some(tokenizer));
    let mut files: Vec<ModelFile> = settings.into_iter().map(|(name, content)| file(name, content)).collect();
    files.push(file(MODEL_FILE, values(&outer.params)?));
    if !outer.momentum.is_empty() {
        files.push(file(MOMENTUM_FILE, values(&outer.momentum)?));
    }
    Ok(files)
}
