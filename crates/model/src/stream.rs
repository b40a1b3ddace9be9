//! From tokens to the text that is shown: whole characters, up to the first stop string.

use crate::checkpoint::Checkpoint;
use templar_corpus::{StreamDecoder, TokenizerError};
use templar_engine::{Engine, EngineError, GenerateOptions, StopStrings};

/// A text that cannot be generated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The engine rejects the request.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The tokens have no text, or the text no tokens.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The text cannot be shown.
    #[error("cannot print the text")]
    Show(#[from] std::io::Error),
}

/// One text in the making.
pub struct Writer<'a> {
    decoder: StreamDecoder<'a>,
    stops: StopStrings,
    text: String,
    is_stopped: bool,
}

impl<'a> Writer<'a> {
    /// An empty text.
    pub fn new(checkpoint: &'a Checkpoint, stops: StopStrings) -> Self {
        Self { decoder: checkpoint.tokenizer.stream_decoder(), stops, text: String::new(), is_stopped: false }
    }

    /// Takes a token; returns what can be shown now, and whether the text continues.
    pub fn push(&mut self, token: u32) -> Result<(String, bool), TokenizerError> {
        let (piece, is_stopped) = self.stops.push(&self.decoder.push(token)?);
        self.text += &piece;
        self.is_stopped = is_stopped;
        Ok((piece, !is_stopped))
    }

    /// Whether a stop string ended it.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Ends the text; returns what was held back, and the whole text.
    pub fn finish(mut self) -> Result<(String, String), TokenizerError> {
        if self.is_stopped {
            return Ok((String::new(), self.text));
        }
        let (mut rest, is_stopped) = self.stops.push(&self.decoder.finish()?);
        if !is_stopped {
            rest += &self.stops.finish();
        }
        self.text += &rest;
        Ok((rest, self.text))
    }
}

/// Generates one text and hands it on piece by piece; returns its tokens.
pub fn stream(
    checkpoint: &Checkpoint,
    engine: &mut dyn Engine,
    prompt: &[u32],
    (options, stops): (&GenerateOptions, StopStrings),
    mut show: impl FnMut(&str) -> std::io::Result<()>,
) -> Result<Vec<u32>, GenerateError> {
    let mut writer = Writer::new(checkpoint, stops);
    let mut failed = None;
    let tokens = engine.generator()?.generate(prompt, options, &mut |token| {
        let shown = writer.push(token).map_err(GenerateError::from);
        let shown = shown.and_then(|(piece, continues)| Ok(show(&piece).map(|()| continues)?));
        shown.unwrap_or_else(|error| {
            failed = Some(error);
            false
        })
    })?;
    match failed {
        Some(error) => Err(error),
        None => {
            show(&writer.finish()?.0)?;
            Ok(tokens)
        }
    }
}
