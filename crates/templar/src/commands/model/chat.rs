//! `templar model chat`.

use super::{local_or, open_checkpoint};
use crate::config::{Config, DataFlag, SamplingFlags, ThreadsFlag};
use crate::output::{foreign, print, print_piece, write_piece};
use anyhow::Context;
use clap::Args;
use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use templar_model::Conversation;

/// Write in turns with a model: it continues the text so far after each of your lines, until Ctrl-D.
///
/// A model of `templar model train` was trained on texts, not on conversations: it continues yours and does not answer.
/// Your line continues the text where the model left it, with a space between the two and without a line end. Where the
/// model ends the text, your next line begins a new one; an empty line lets it write on.
///
/// Example: templar model chat
/// Example: templar model chat first --temperature 0.7
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Chat {
    /// Model folder or .gguf file; where it is not given, the newest model of the network of `templar up`, also when that
    /// is stopped
    folder: Option<PathBuf>,
    #[command(flatten)]
    sampling: SamplingFlags,
    #[command(flatten)]
    data: DataFlag,
    #[command(flatten)]
    threads: ThreadsFlag,
}

impl Chat {
    /// Reads lines and continues them.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.threads).with(&self.data);
        let threads = config.threads()?;
        let checkpoint = open_checkpoint(&local_or(self.folder, &config)?)?;
        let mut engine = checkpoint.engine(threads)?;
        let sampling = self.sampling.sampling();
        let mut conversation = Conversation::new(&checkpoint, engine.as_mut(), &sampling);
        let is_terminal = io::stdin().is_terminal();
        let mut line = String::new();
        loop {
            if is_terminal {
                print_piece("> ")?;
            }
            line.clear();
            if io::stdin().lock().read_line(&mut line).context("cannot read the line; write UTF-8 text")? == 0 {
                return if is_terminal { print("") } else { Ok(()) };
            }
            let turn = conversation.turn(&line, |piece| write_piece(&foreign(piece)))?;
            print("")?;
            if turn.is_silent {
                eprintln!("(the model {})", if turn.is_end { "ends the text here" } else { "has written nothing" });
            }
        }
    }
}
