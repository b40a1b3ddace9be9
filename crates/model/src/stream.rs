//! From tokens to the text that is shown: whole characters, up to the first stop string.

use crate::{Checkpoint, Sampling};
use templar_corpus::{StreamDecoder, TokenizerError};
use templar_engine::{Engine, EngineError, Finish, GenerateOptions, StopStrings};

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
    /// An empty text that continues a prompt.
    pub fn new(checkpoint: &'a Checkpoint, prompt: &[u32], stops: StopStrings) -> Self {
        let decoder = checkpoint.tokenizer.stream_decoder_after(prompt);
        Self { decoder, stops, text: String::new(), is_stopped: false }
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

/// A text that was handed on piece by piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streamed {
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// Whether the model ended it by a token that ends texts.
    pub is_end: bool,
}

/// Generates one text and hands it on piece by piece.
pub fn stream(
    checkpoint: &Checkpoint,
    engine: &mut dyn Engine,
    prompt: &[u32],
    (options, stops): (&GenerateOptions, StopStrings),
    mut show: impl FnMut(&str) -> std::io::Result<()>,
) -> Result<Streamed, GenerateError> {
    let mut writer = Writer::new(checkpoint, prompt, stops);
    let mut failed = None;
    let requests = [(prompt.to_vec(), options.clone())];
    let texts = engine.generator()?.generate_batch(&requests, &mut |_, token| {
        let shown = writer.push(token).map_err(GenerateError::from);
        let shown = shown.and_then(|(piece, continues)| Ok(show(&piece).map(|()| continues)?));
        shown.unwrap_or_else(|error| {
            failed = Some(error);
            false
        })
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let is_end = texts.iter().any(|text| text.finish() == Some(Finish::StopToken)) && !writer.is_stopped();
    show(&writer.finish()?.0)?;
    Ok(Streamed { tokens: texts.iter().flat_map(|text| text.tokens()).copied().collect(), is_end })
}

/// A generated text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedText {
    /// The text, without its prompt.
    pub text: String,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// The tokens that were generated.
    pub tokens: Vec<u32>,
    /// Why it ended: `length`, `stop_token`, `stop_string` or `stopped`.
    pub finish: &'static str,
}

/// Generates a text for each prompt, all in the same passes over the model.
///
/// Text number i is the same as alone with the same seed and number. `show` gets the pieces of all texts as they come,
/// each with the number of its text.
pub fn generate_texts(
    checkpoint: &Checkpoint,
    engine: &mut dyn Engine,
    prompts: &[String],
    sampling: &Sampling,
    mut show: impl FnMut(usize, &str) -> std::io::Result<()>,
) -> Result<Vec<GeneratedText>, GenerateError> {
    let request =
        |(prompt, number): (&String, u64)| Ok((checkpoint.prompt(prompt)?, sampling.options(checkpoint, number)));
    let requests = prompts.iter().zip(0..).map(request).collect::<Result<Vec<_>, TokenizerError>>()?;
    let writer = |(prompt, _): &(Vec<u32>, _)| Writer::new(checkpoint, prompt, sampling.stop_strings());
    let mut writers: Vec<Writer> = requests.iter().map(writer).collect();
    let mut failed = None;
    let texts = engine.generator()?.generate_batch(&requests, &mut |number, token| {
        let shown = writers[number].push(token).map_err(GenerateError::from);
        let shown = shown.and_then(|(piece, continues)| Ok(show(number, &piece).map(|()| continues)?));
        shown.unwrap_or_else(|error| {
            failed = Some(error);
            false
        })
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let mut finished = Vec::new();
    for (number, (generated, writer)) in texts.iter().zip(writers).enumerate() {
        let finish = match (writer.is_stopped(), generated.finish()) {
            (true, _) => "stop_string",
            (false, Some(Finish::Length)) => "length",
            (false, Some(Finish::StopToken)) => "stop_token",
            (false, Some(Finish::Stopped) | None) => "stopped",
        };
        let (rest, text) = writer.finish()?;
        show(number, &rest)?;
        let (prompt_tokens, tokens) = (requests[number].0.len(), generated.tokens().to_vec());
        finished.push(GeneratedText { text, prompt_tokens, tokens, finish });
    }
    Ok(finished)
}
