//! Text generation: choosing tokens, many texts at once, and strings that end a text.
//!
//! A [`Generation`] is a text in progress. [`Generator::advance`] adds a token to each of some texts in one pass over
//! the parameters; texts may come and go between two passes. The tokens of a text depend on its prompt and options
//! alone, never on the other texts, the threads or the machine.

mod sampler;
mod stop;

pub(crate) use sampler::Sampler;
pub use sampler::{GenerateOptions, TokenLogprobs};
pub use stop::StopStrings;

use crate::EngineError;
use std::any::Any;

/// Why a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// It has as many tokens as were asked for, or as the model has positions.
    Length,
    /// The model chose a token that ends texts.
    StopToken,
    /// The caller had enough.
    Stopped,
}

/// A text in progress.
pub struct Generation {
    pub(crate) sampler: Sampler,
    /// What the engine that began the text keeps of it.
    pub(crate) cache: Box<dyn Any + Send>,
    /// Tokens that the model has not read yet: the prompt, later the newest token.
    pub(crate) unread: Vec<u32>,
    pub(crate) tokens: Vec<u32>,
    /// One for each token, where they are asked for.
    pub(crate) logprobs: Vec<TokenLogprobs>,
    pub(crate) limit: usize,
    pub(crate) finish: Option<Finish>,
}

impl Generation {
    /// A text that continues `prompt` in a model of `positions` positions; `cache` makes what the engine keeps of that
    /// many positions of it.
    pub(crate) fn new(
        prompt: &[u32],
        options: &GenerateOptions,
        positions: usize,
        cache: impl FnOnce(usize) -> Result<Box<dyn Any + Send>, EngineError>,
    ) -> Result<Self, EngineError> {
        if prompt.is_empty() {
            return Err(EngineError::Empty("the prompt"));
        }
        let sampler = Sampler::new(options, prompt)?;
        let Some(room) = positions.checked_sub(prompt.len()).filter(|&room| room > 0) else {
            return Err(EngineError::PromptTooLong { tokens: prompt.len(), limit: positions });
        };
        let limit = options.max_new_tokens.min(room);
        let cache = cache(prompt.len() + limit)?;
        let finish = (limit == 0).then_some(Finish::Length);
        let (unread, tokens, logprobs) = (prompt.to_vec(), Vec::new(), Vec::new());
        Ok(Self { sampler, cache, unread, tokens, logprobs, limit, finish })
    }

    /// The new tokens so far, without the one that ends the text.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// How likely each of [`Self::tokens`] was; empty unless [`GenerateOptions::logprobs`] asks for it.
    pub fn logprobs(&self) -> &[TokenLogprobs] {
        &self.logprobs
    }

    /// The most tokens that the text may get: what was asked for, or what the model's positions leave.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Why the text ended, if it has.
    pub fn finish(&self) -> Option<Finish> {
        self.finish
    }

    /// Ends the text.
    pub fn stop(&mut self) {
        self.finish.get_or_insert(Finish::Stopped);
    }

    /// Chooses the next token from its logits; none for a text that has ended, or ends by it.
    pub(crate) fn choose(&mut self, logits: &mut [f32]) -> Result<Option<u32>, EngineError> {
        match self.finish {
            Some(_) => Ok(None),
            None => self.sampler.choose_with_logprobs(logits).map(|(token, logprobs)| self.take(token, logprobs)),
        }
    }

    /// Takes the token that was chosen; returns it if it belongs to the text.
    fn take(&mut self, token: u32, logprobs: Option<TokenLogprobs>) -> Option<u32> {
        if self.sampler.is_end(token) {
            self.finish = Some(Finish::StopToken);
            return None;
        }
        self.tokens.push(token);
        self.logprobs.extend(logprobs);
        self.unread = vec![token];
        if self.tokens.len() >= self.limit {
            self.finish = Some(Finish::Length);
        }
        Some(token)
    }
}

/// Text generation of an engine, at its present parameters; see [`crate::Engine::generator`].
pub trait Generator: Send {
    /// Begins a text that continues `prompt`; [`Self::advance`] makes its tokens.
    ///
    /// Its memory is allocated at once, for the prompt and all new tokens.
    fn begin(&mut self, prompt: &[u32], options: &GenerateOptions) -> Result<Generation, EngineError>;

    /// Reads one piece of a long prompt, so that other texts can advance in between; false where nothing is left that
    /// [`Self::advance`] would not read in one pass. The tokens of the text are the same either way.
    fn read_ahead(&mut self, text: &mut Generation) -> Result<bool, EngineError> {
        let _ = text;
        Ok(false)
    }

    /// Adds a token to each text, in one pass for those whose prompts are read; returns the new tokens, none for a text
    /// that has ended. After an error the texts have ended. What a text has read with earlier parameters stays so.
    fn advance(&mut self, texts: &mut [&mut Generation]) -> Result<Vec<Option<u32>>, EngineError>;

    /// Continues `prompt`; each token goes to `on_token`, which returns whether to continue.
    ///
    /// Returns the tokens that `on_token` got. The stop token ends the text and is not part of it; so does the last of
    /// the model's positions (`max_position_embeddings`).
    fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
        on_token: &mut dyn FnMut(u32) -> bool,
    ) -> Result<Vec<u32>, EngineError> {
        let mut generation = self.begin(prompt, options)?;
        while generation.finish.is_none() {
            let tokens = self.advance(&mut [&mut generation])?;
            if tokens.into_iter().flatten().any(|token| !on_token(token)) {
                generation.stop();
            }
        }
        Ok(generation.tokens)
    }

    /// Continues each prompt by its own options, all in the same passes; each token goes to `on_token` with the number
    /// of its prompt, which returns whether that text shall continue. The tokens of a text are those of
    /// [`Self::generate`].
    fn generate_batch(
        &mut self,
        prompts: &[(Vec<u32>, GenerateOptions)],
        on_token: &mut dyn FnMut(usize, u32) -> bool,
    ) -> Result<Vec<Generation>, EngineError> {
        let begun = prompts.iter().map(|(prompt, options)| self.begin(prompt, options));
        let mut texts = begun.collect::<Result<Vec<_>, _>>()?;
        while texts.iter().any(|text| text.finish.is_none()) {
            let tokens = self.advance(&mut texts.iter_mut().collect::<Vec<_>>())?;
            for (index, token) in tokens.into_iter().enumerate() {
                if token.is_some_and(|token| !on_token(index, token)) {
                    texts[index].stop();
                }
            }
        }
        Ok(texts)
    }
}
