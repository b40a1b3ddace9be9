//! A model with its tokenizer, ready to generate or to train on.

use crate::Companions;
use crate::source::{Model, OpenError, engine_of};
use std::path::Path;
use templar_base::ModelConfig;
use templar_corpus::{EndOfText, Tokenizer, TokenizerError};
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
    /// Its tokenizer, with the model's end of a text.
    pub tokenizer: Tokenizer,
    /// The files that say how prompts and conversations become tokens.
    pub companions: Companions,
}

impl Checkpoint {
    /// Reads and checks a folder, or a `.gguf` file.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let Model { config, special, parameters, tokenizer, companions, .. } = Model::open(path)?;
        let tokenizer = tokenizer.map_err(|reason| OpenError::NoTokenizer { reason })?;
        let tokenizer = usable_tokenizer(path, config.vocab_size, &special, &tokenizer, &companions)?;
        Ok(Self { config, special, parameters, tokenizer, companions })
    }

    /// The token that ends a text: the model's, else the tokenizer's.
    pub fn end_of_text(&self) -> u32 {
        self.tokenizer.end_of_text()
    }

    /// All tokens that end a text.
    pub fn stop_tokens(&self) -> Vec<u32> {
        if self.special.end.is_empty() { vec![self.tokenizer.end_of_text()] } else { self.special.end.clone() }
    }

    /// The tokens of a prompt, as the model's own files have it: special tokens that the text spells are read as such,
    /// and there is a begin token before it where the tokenizer's post-processor or `add_bos_token` of
    /// `tokenizer_config.json` says so, once. An empty prompt becomes the token that begins a text, else the one that
    /// ends texts, after which a new text begins.
    pub fn prompt(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut tokens = self.begun(text)?;
        let end = self.tokenizer.end_of_text();
        if self.companions.flag("add_eos_token") == Some(true) && tokens.last() != Some(&end) {
            tokens.push(end);
        }
        if tokens.is_empty() {
            tokens.push(self.special.begin.unwrap_or(end));
        }
        Ok(tokens)
    }

    /// The tokens of a context and those of its continuation, as lm-evaluation-harness splits them: white space at the
    /// context's end belongs to the continuation, whose tokens are those that the two have together after as many as the
    /// context has alone. The context begins as [`Self::prompt`] has it, and never ends the text; it has at least one
    /// token. The continuation has none where the tokenizer joins it to the context.
    pub fn continuation(&self, context: &str, continuation: &str) -> Result<(Vec<u32>, Vec<u32>), TokenizerError> {
        let start = context.trim_end();
        let mut whole = self.begun(&format!("{context}{continuation}"))?;
        let mut tokens = self.begun(start)?;
        // Of a post-processor that ends every text.
        let end = self.tokenizer.end_of_text();
        if tokens.last() == Some(&end) && whole.last() == Some(&end) {
            tokens.pop();
            whole.pop();
        }
        let rest = whole.split_off(tokens.len().min(whole.len()));
        if tokens.is_empty() {
            tokens.push(self.special.begin.unwrap_or(end));
        }
        Ok((tokens, rest))
    }

    /// The tokens of a text with what begins it.
    fn begun(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let (begin, adds_begin) = (self.begin_token(), self.companions.flag("add_bos_token"));
        let mut tokens = self.tokenizer.encode_prompt(text, adds_begin != Some(false))?;
        if let (Some(true), Some(begin)) = (adds_begin, begin)
            && tokens.first() != Some(&begin)
        {
            tokens.insert(0, begin);
        }
        // A prompt may spell the begin token itself.
        if begin.is_some_and(|begin| tokens.starts_with(&[begin, begin])) {
            tokens.remove(0);
        }
        Ok(tokens)
    }

    /// The token that begins a text: the one that `tokenizer_config.json` names, else the model's.
    fn begin_token(&self) -> Option<u32> {
        let named = self.companions.token("bos_token").and_then(|name| self.tokenizer.id(name));
        named.or(self.special.begin)
    }

    /// An engine with the parameters in it.
    pub fn engine(&self, threads: usize) -> Result<Box<dyn Engine>, EngineError> {
        engine_of(&self.config, &self.parameters, threads)
    }
}

/// The tokenizer of these bytes, where it and the special tokens of the model's files fit the model.
pub(crate) fn usable_tokenizer(
    path: &Path,
    vocab_size: usize,
    special: &SpecialTokens,
    json: &[u8],
    companions: &Companions,
) -> Result<Tokenizer, OpenError> {
    for (what, token) in
        special.begin.iter().map(|&token| ("begin", token)).chain(special.end.iter().map(|&token| ("end", token)))
    {
        if token as usize >= vocab_size {
            return Err(OpenError::NoSuchToken { what, token, vocab_size });
        }
    }
    let tokenizer = Tokenizer::with_end(json, &end_of_text(special, companions))
        .map_err(|source| OpenError::Tokenizer { path: path.join(TOKENIZER_FILE), source })?;
    if tokenizer.vocab_size() as usize > vocab_size {
        return Err(OpenError::OtherTokenizer { tokens: tokenizer.vocab_size(), vocab_size });
    }
    if let Some((id, name)) = companions.added_tokens().find(|(id, name)| tokenizer.id(name) != Some(*id)) {
        return Err(OpenError::AddedToken { id, name: name.to_owned() });
    }
    Ok(tokenizer)
}

/// What says which token ends a text: the number in the model's files, else the name in its tokenizer's.
pub(crate) fn end_of_text(special: &SpecialTokens, companions: &Companions) -> EndOfText {
    match (special.end.first(), companions.token("eos_token")) {
        (Some(&id), _) => EndOfText::Id(id),
        (None, Some(name)) => EndOfText::Name(name.to_owned()),
        (None, None) => EndOfText::Usual,
    }
}
