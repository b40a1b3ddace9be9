//! `templar model evaluate`.

use super::open_checkpoint;
use crate::bounds;
use crate::config::{Config, TextFlags, ThreadsFlag};
use crate::failure::{Advise, Usage};
use crate::output::Output;
use crate::text::{self, open_corpus};
use clap::Args;
use std::path::PathBuf;
use templar_engine::Batch;
use templar_model::{Checkpoint, EVALUATION_SEQUENCES, Record, batches_of_corpus, batches_of_tokens, measure};
use templar_screen::model::Evaluated;
use templar_screen::{Progress, printable};

/// Measure how well a model predicts text: loss in nats per token, and perplexity.
///
/// Uses the held-out part of a corpus (--corpus; by default the corpus that the model was trained on), or a text
/// (--text).
///
/// Example: templar model evaluate first --text book.txt
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Evaluate {
    /// Checkpoint folder, or a .gguf file
    folder: PathBuf,
    /// Corpus whose held-out part is used; it must have the model's tokenizer
    #[arg(long, value_name = "FOLDER", conflicts_with = "text")]
    corpus: Option<PathBuf>,
    #[command(flatten)]
    text: TextFlags,
    /// Sequences to measure on, at most; the default is what `templar model train` measures on
    #[arg(long, value_name = "N", default_value_t = EVALUATION_SEQUENCES as u32, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sequences: u32,
    /// Tokens per sequence; by default what the model was trained on, else 256, or as many as the model sees
    #[arg(long, value_name = "N", value_parser = bounds::sequence_length())]
    sequence_length: Option<u32>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    threads: ThreadsFlag,
}

impl Evaluate {
    /// Measures and prints.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.text).with(&self.threads);
        let threads = config.threads()?;
        let checkpoint = open_checkpoint(&self.folder)?;
        let record = Record::read(&self.folder)?;
        let trained = record.as_ref().map_or(256, |record| record.plan.sequence_length) as usize;
        let longest = checkpoint.config.max_position_embeddings;
        let length = self.sequence_length.map_or(trained.min(longest), |length| length as usize);
        if length > longest {
            let text = format!("--sequence-length is {length}, and the model sees {longest} tokens: take at most that");
            return Err(Usage(text).into());
        }
        let (what, batches) = match (&self.corpus, config.text_paths()) {
            (None, paths) if !paths.is_empty() => {
                let what = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
                (what, self.batches_of_text(&checkpoint, &config, length)?)
            }
            (named, _) => {
                let named = named.clone().or(record.map(|record| record.plan.corpus));
                let folder = named
                    .ok_or_else(|| Usage("there is no text to measure on".to_owned()))
                    .advise("give --text FILE or --corpus FOLDER")?;
                (folder.display().to_string(), self.batches_of_corpus(&checkpoint, folder, length)?)
            }
        };
        let mut progress = Progress::new(config.is_quiet);
        let mut engine = checkpoint.engine(threads)?;
        let (loss, sequences) = measure(engine.as_mut(), &batches, |done| progress.show(done, "measuring"))?;
        drop(progress);
        let checkpoint = self.folder.clone();
        let evaluated = Evaluated::new(checkpoint, what, loss, sequences, length);
        self.output.facts(&evaluated, |paint| evaluated.text(paint))
    }

    fn batches_of_corpus(&self, checkpoint: &Checkpoint, folder: PathBuf, length: usize) -> anyhow::Result<Vec<Batch>> {
        let corpus = open_corpus(&folder)?;
        let (theirs, ours) = (corpus.tokenizer().hash(), checkpoint.tokenizer.hash());
        if theirs != ours {
            let wrong = anyhow::anyhow!("the corpus has the tokenizer {theirs}, but the model has {ours}");
            return Err(wrong).advise("measure on the text itself with --text, or build a corpus with --tokenizer");
        }
        let available = (corpus.held_out_tokens().saturating_sub(1) as usize / length).max(1);
        Ok(batches_of_corpus(&corpus, available.min(self.sequences as usize), length)?)
    }

    /// Encodes no more of the text than is measured.
    fn batches_of_text(&self, checkpoint: &Checkpoint, config: &Config, length: usize) -> anyhow::Result<Vec<Batch>> {
        let wanted = (self.sequences as usize).saturating_mul(length).saturating_add(1);
        let end = checkpoint.end_of_text();
        let mut progress = Progress::new(config.is_quiet);
        let found = text::find(config, &mut progress)?;
        let note = &mut |line: &str| progress.note(&printable(line));
        let tokens = found.tokens(&checkpoint.tokenizer, end, wanted, note)?;
        let batches = batches_of_tokens(&tokens, self.sequences as usize, length, end);
        if batches.is_empty() {
            let small = anyhow::anyhow!("the text has {} tokens and one sequence needs {}", tokens.len(), length + 1);
            return Err(small).advise("give more text, or a shorter --sequence-length");
        }
        Ok(batches)
    }
}
