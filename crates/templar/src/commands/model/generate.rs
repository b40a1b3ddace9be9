//! `templar model generate`.

use super::sampling::SamplingFlags;
use crate::checkpoint_folder::Checkpoint;
use crate::config::{Config, ThreadsFlag};
use crate::output::{Output, print, print_piece};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;
use templar_engine::{CpuEngine, Engine, GenerateOptions};

/// Let a model go on with a text.
///
/// Example: templar model generate first --prompt "Once upon a time" --max-tokens 64
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Generate {
    /// Checkpoint folder
    folder: PathBuf,
    /// What the text begins with; nothing lets the model begin
    #[arg(long, value_name = "TEXT", default_value = "")]
    prompt: String,
    #[command(flatten)]
    sampling: SamplingFlags,
    /// Print JSON when the text is whole
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    threads: ThreadsFlag,
}

impl Generate {
    /// Streams the text.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.threads);
        let checkpoint = Checkpoint::open(&self.folder)?;
        let mut engine = checkpoint.engine(config.threads()?)?;
        let end = checkpoint.end_of_text();
        let mut prompt = checkpoint.tokenizer.encode(&self.prompt)?;
        if prompt.is_empty() {
            prompt.push(end);
        }
        let options = self.sampling.options(end, 0);
        let started = Instant::now();
        let output = Output::new(self.json);
        if !self.json {
            print_piece(&self.prompt)?;
        }
        let (text, tokens) =
            stream(
                &checkpoint,
                &mut engine,
                &prompt,
                &options,
                |piece| {
                    if self.json { Ok(()) } else { print_piece(piece) }
                },
            )?;
        let seconds = started.elapsed().as_secs_f64();
        if !output.is_json() {
            return print("");
        }
        let facts = json!({
            "prompt": self.prompt,
            "text": text,
            "prompt_tokens": prompt.len(),
            "tokens": tokens.len(),
            "seconds": seconds,
            "tokens_per_second": tokens.len() as f64 / seconds.max(1e-9),
        });
        output.facts(&facts, |_| String::new())
    }
}

/// Generates and hands on the text piece by piece; gives it whole, with its tokens.
pub fn stream(
    checkpoint: &Checkpoint,
    engine: &mut CpuEngine,
    prompt: &[u32],
    options: &GenerateOptions,
    mut show: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<(String, Vec<u32>)> {
    let mut decoder = checkpoint.tokenizer.stream_decoder();
    let mut text = String::new();
    let mut failed = None;
    let tokens = engine.generate(prompt, options, &mut |token| {
        let shown = decoder.push(token).map_err(anyhow::Error::from).and_then(|piece| {
            text += &piece;
            show(&piece)
        });
        failed = shown.err();
        failed.is_none()
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let rest = decoder.finish()?;
    show(&rest)?;
    Ok((text + &rest, tokens))
}
