//! `templar model generate`.

use super::sampling::SamplingFlags;
use crate::config::{Config, ThreadsFlag};
use crate::output::{Output, print, print_piece};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;
use templar_engine::{Finish, GenerateOptions};
use templar_model::{Checkpoint, Writer};

/// Let a model go on with a text, or with several at once.
///
/// One text is printed as it comes; several are made in the same passes over the model and printed when all are whole.
/// Text number i of several is the one that it would be alone with the same seed and number.
///
/// Example: templar model generate first --prompt "Once upon a time" --max-tokens 64 --stop "The end"
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Generate {
    /// Checkpoint folder, or a .gguf file
    folder: PathBuf,
    /// What the text begins with; may be given several times; nothing lets the model begin
    #[arg(long, value_name = "TEXT")]
    prompt: Vec<String>,
    #[command(flatten)]
    sampling: SamplingFlags,
    /// Print JSON when all is whole
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    threads: ThreadsFlag,
}

impl Generate {
    /// Streams the text, or makes all texts.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.threads);
        let checkpoint = super::open_checkpoint(&self.folder)?;
        let mut engine = checkpoint.engine(config.threads()?)?;
        let prompts = if self.prompt.is_empty() { vec![String::new()] } else { self.prompt.clone() };
        let requests = self.requests(&checkpoint, &prompts)?;
        let is_streaming = prompts.len() == 1 && !self.json;
        let mut writers: Vec<Writer> =
            prompts.iter().map(|_| Writer::new(&checkpoint, self.sampling.stop_strings())).collect();
        if is_streaming {
            print_piece(&prompts[0])?;
        }
        let started = Instant::now();
        let mut failed = None;
        let texts = engine.generator()?.generate_batch(&requests, &mut |number, token| {
            let shown = writers[number].push(token).map_err(anyhow::Error::from).and_then(|(piece, goes_on)| {
                if is_streaming {
                    print_piece(&piece)?;
                }
                Ok(goes_on)
            });
            shown.unwrap_or_else(|error| {
                failed = Some(error);
                false
            })
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let seconds = started.elapsed().as_secs_f64();
        let mut facts = Vec::new();
        for (number, (text, writer)) in texts.iter().zip(writers).enumerate() {
            let is_stopped = writer.is_stopped();
            let (rest, whole) = writer.finish()?;
            if is_streaming {
                print_piece(&rest)?;
                return print("");
            }
            let finish =
                if is_stopped { json!("stop_string") } else { json!(text.finish().unwrap_or(Finish::Stopped)) };
            if !self.json {
                let line = if number > 0 { "\n" } else { "" };
                print(&format!("{line}[{}] {}{whole}", number + 1, prompts[number]))?;
            }
            facts.push(json!({
                "prompt": prompts[number],
                "text": whole,
                "prompt_tokens": requests[number].0.len(),
                "tokens": text.tokens().len(),
                "token_ids": text.tokens(),
                "finish": finish,
            }));
        }
        if !self.json {
            return Ok(());
        }
        let tokens: usize = texts.iter().map(|text| text.tokens().len()).sum();
        let speed = json!({"seconds": seconds, "tokens_per_second": tokens as f64 / seconds.max(1e-9)});
        let mut all = json!({"texts": facts});
        // One text needs no list.
        if let [one] = &facts[..] {
            all = one.clone();
        }
        merge(&mut all, speed);
        Output::new(true).facts(&all, |_| String::new())
    }

    fn requests(
        &self,
        checkpoint: &Checkpoint,
        prompts: &[String],
    ) -> anyhow::Result<Vec<(Vec<u32>, GenerateOptions)>> {
        let mut requests = Vec::new();
        for (number, prompt) in prompts.iter().enumerate() {
            let mut tokens = checkpoint.tokenizer.encode(prompt)?;
            if tokens.is_empty() {
                tokens.push(checkpoint.end_of_text());
            }
            requests.push((tokens, self.sampling.options(checkpoint, number as u64)));
        }
        Ok(requests)
    }
}

fn merge(to: &mut serde_json::Value, from: serde_json::Value) {
    if let (serde_json::Value::Object(to), serde_json::Value::Object(from)) = (to, from) {
        to.extend(from);
    }
}
