//! A model with its tokenizer, ready to generate or to train on.

use crate::source::{Model, OpenError, engine_of};
use std::path::Path;
use templar_base::ModelConfig;
use templar_corpus::Tokenizer;
use templar_engine::checkpoint::{SpecialTokens, TOKENIZER_FILE};
use templar_engine::{Engine, EngineError};

/// A model and its tokenizer, read from a folder or a `.gguf` file.
pub struct Checkpoint {
    /// Its sizes.
    pub config: ModelConfig,
    /// The tokens that begin and end a text.
    pub special: SpecialTokens,
    /// In canonical order.
    pub parameters: Vec<f32>,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
}

impl Checkpoint {
    /// Reads and checks a folder, or a `.gguf` file.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let Model { config, special, parameters, tokenizer, .. } = Model::open(path)?;
        let tokenizer = tokenizer.map_err(|reason| OpenError::NoTokenizer { reason })?;
        let tokenizer = Tokenizer::from_json(&tokenizer)
            .map_err(|source| OpenError::Tokenizer { path: path.join(TOKENIZER_FILE), source })?;
        if tokenizer.vocab_size() as usize > config.vocab_size {
            let (tokens, vocab_size) = (tokenizer.vocab_size(), config.vocab_size);
            return Err(OpenError::OtherTokenizer { tokens, vocab_size });
        }
        Ok(Self { config, special, parameters, tokenizer })
    }

    /// The token that ends a text: the model's, else the tokenizer's.
    pub fn end_of_text(&self) -> u32 {
        self.special.end.first().copied().unwrap_or(self.tokenizer.end_of_text())
    }

    /// All tokens that end a text.
    pub fn stop_tokens(&self) -> Vec<u32> {
        if self.special.end.is_empty() { vec![self.tokenizer.end_of_text()] } else { self.special.end.clone() }
    }

    /// The tokens of a prompt; an empty one becomes the token that ends texts, after which a new text begins.
    pub fn prompt(&self, text: &str) -> Result<Vec<u32>, templar_corpus::TokenizerError> {
        let mut tokens = self.tokenizer.encode(text)?;
        if tokens.is_empty() {
            tokens.push(self.end_of_text());
        }
        Ok(tokens)
    }

    /// An engine with the parameters in it.
    pub fn engine(&self, threads: usize) -> Result<Box<dyn Engine>, EngineError> {
        engine_of(&self.config, &self.parameters, threads)
    }
}
