//! `templar model generate`.

use super::open_checkpoint;
use crate::config::{Config, SamplingFlags, ThreadsFlag};
use crate::output::{Output, foreign, print, print_piece, write_piece};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;
use templar_model::{GeneratedText, generate_texts};

/// Generate text from a prompt, or from several at once.
///
/// One text is printed as it is generated; several share the passes over the model and are printed when all are done.
/// Text number i of several is the same as alone with the same seed and number.
///
/// Example: templar model generate first --prompt "Once upon a time" --max-tokens 64 --stop "The end"
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Generate {
    /// Checkpoint folder, or a .gguf file
    folder: PathBuf,
    /// Prompt; may be given several times; without one the model starts a text
    #[arg(long, value_name = "TEXT")]
    prompt: Vec<String>,
    #[command(flatten)]
    sampling: SamplingFlags,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    threads: ThreadsFlag,
}

impl Generate {
    /// Streams the text, or makes all texts.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.threads);
        let threads = config.threads()?;
        let checkpoint = open_checkpoint(&self.folder)?;
        let mut engine = checkpoint.engine(threads)?;
        let prompts = if self.prompt.is_empty() { vec![String::new()] } else { self.prompt };
        let is_streaming = prompts.len() == 1 && !self.output.is_json();
        if is_streaming {
            print_piece(&foreign(&prompts[0]))?;
        }
        let started = Instant::now();
        let show = |_, piece: &str| if is_streaming { write_piece(&foreign(piece)) } else { Ok(()) };
        let texts = generate_texts(&checkpoint, engine.as_mut(), &prompts, &self.sampling.sampling(), show)?;
        let seconds = started.elapsed().as_secs_f64();
        if is_streaming {
            return print("");
        }
        if !self.output.is_json() {
            for (number, (prompt, text)) in prompts.iter().zip(&texts).enumerate() {
                let line = if number > 0 { "\n" } else { "" };
                print(&foreign(&format!("{line}[{}] {prompt}{}", number + 1, text.text)))?;
            }
            return Ok(());
        }
        let facts_of = |(prompt, text): (&String, &GeneratedText)| {
            json!({
                "prompt": prompt,
                "text": text.text,
                "prompt_tokens": text.prompt_tokens,
                "tokens": text.tokens.len(),
                "token_ids": text.tokens,
                "finish": text.finish,
            })
        };
        let facts: Vec<_> = prompts.iter().zip(&texts).map(facts_of).collect();
        let tokens: usize = texts.iter().map(|text| text.tokens.len()).sum();
        let speed = json!({"seconds": seconds, "tokens_per_second": tokens as f64 / seconds.max(1e-9)});
        let mut all = json!({"texts": facts});
        // One text needs no list.
        if let [one] = &facts[..] {
            all = one.clone();
        }
        merge(&mut all, speed);
        Output::new(true).facts(&all, |_| String::new())
    }
}

fn merge(to: &mut serde_json::Value, from: serde_json::Value) {
    if let (serde_json::Value::Object(to), serde_json::Value::Object(from)) = (to, from) {
        to.extend(from);
    }
}
