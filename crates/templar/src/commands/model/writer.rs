//! From tokens to the text that is shown: whole characters, up to the first string that ends it.

use crate::checkpoint_folder::Checkpoint;
use templar_corpus::StreamDecoder;
use templar_engine::{CpuEngine, Engine, GenerateOptions, StopStrings};

/// One text in the making.
pub struct Writer<'a> {
    decoder: StreamDecoder<'a>,
    stops: StopStrings,
    text: String,
    is_stopped: bool,
}

impl<'a> Writer<'a> {
    /// A text that nothing was written of yet.
    pub fn new(checkpoint: &'a Checkpoint, stops: StopStrings) -> Self {
        Self { decoder: checkpoint.tokenizer.stream_decoder(), stops, text: String::new(), is_stopped: false }
    }

    /// Takes a token; gives what can be shown now, and whether the text goes on.
    pub fn push(&mut self, token: u32) -> anyhow::Result<(String, bool)> {
        let (piece, is_stopped) = self.stops.push(&self.decoder.push(token)?);
        self.text += &piece;
        self.is_stopped = is_stopped;
        Ok((piece, !is_stopped))
    }

    /// Whether one of the strings ended it.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// The end of the text: what was held back; gives it, and the whole text.
    pub fn finish(mut self) -> anyhow::Result<(String, String)> {
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

/// Generates one text and hands it on piece by piece; gives its tokens.
pub fn stream(
    checkpoint: &Checkpoint,
    engine: &mut CpuEngine,
    prompt: &[u32],
    options: &GenerateOptions,
    stops: StopStrings,
    mut show: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<u32>> {
    let mut writer = Writer::new(checkpoint, stops);
    let mut failed = None;
    let tokens = engine.generate(prompt, options, &mut |token| {
        let shown = writer.push(token).and_then(|(piece, goes_on)| show(&piece).map(|()| goes_on));
        shown.unwrap_or_else(|error| {
            failed = Some(error);
            false
        })
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    show(&writer.finish()?.0)?;
    Ok(tokens)
}
