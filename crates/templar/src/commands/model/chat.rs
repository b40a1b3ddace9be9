//! `templar model chat`.

use super::sampling::SamplingFlags;
use crate::config::{Config, ThreadsFlag};
use crate::output::{print, print_piece, write_piece};
use anyhow::Context;
use clap::Args;
use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use templar_model::stream;

/// Write in turns with a model: it goes on with the text so far, line by line, until Ctrl-D.
///
/// A model of `templar model train` has read texts, not conversations: expect it to go on with yours, not to answer.
///
/// Example: templar model chat first --temperature 0.7
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Chat {
    /// Checkpoint folder
    folder: PathBuf,
    #[command(flatten)]
    sampling: SamplingFlags,
    #[command(flatten)]
    threads: ThreadsFlag,
}

impl Chat {
    /// Reads lines and goes on with them.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.threads);
        let checkpoint = super::open_checkpoint(&self.folder)?;
        let mut engine = checkpoint.engine(config.threads()?)?;
        let end = checkpoint.end_of_text();
        // The model sees the newest half of what it can, so that there is room to write.
        let memory = (checkpoint.config.max_position_embeddings / 2).max(1);
        let is_terminal = io::stdin().is_terminal();
        let mut context = vec![end];
        let mut line = String::new();
        for turn in 0.. {
            if is_terminal {
                print_piece("> ")?;
            }
            line.clear();
            if io::stdin().lock().read_line(&mut line).context("cannot read the line; write UTF-8 text")? == 0 {
                break;
            }
            context.extend(checkpoint.tokenizer.encode(&line)?);
            let seen = &context[context.len().saturating_sub(memory)..];
            let options = self.sampling.options(&checkpoint, turn);
            let stops = self.sampling.stop_strings();
            let tokens = stream(&checkpoint, engine.as_mut(), seen, (&options, stops), write_piece)?;
            print("")?;
            context.extend(tokens);
            context.drain(..context.len().saturating_sub(memory));
        }
        if is_terminal { print("") } else { Ok(()) }
    }
}
