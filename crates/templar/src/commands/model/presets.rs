//! `templar model presets`.

use crate::output::Output;
use clap::Args;
use templar_screen::model;

/// List the named model sizes and the memory that each needs.
///
/// "judge" is for measuring and generating, "train" for training with a micro-batch of the given size, "recomputed" for
/// the same with --recompute. Everything is f32.
///
/// Example: templar model presets --vocab-size 8192 --sequence-length 1024 --sequences 4
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Presets {
    /// Vocabulary size
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..1 << 24))]
    vocab_size: u32,
    /// Tokens per sequence; by default 2048, or as many as the model sees
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..1 << 24))]
    sequence_length: Option<u32>,
    /// Sequences per micro-batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..1 << 16))]
    sequences: u32,
    #[command(flatten)]
    output: Output,
}

impl Presets {
    /// Prints the list.
    pub fn run(self) -> anyhow::Result<()> {
        let (length, sequences) = (self.sequence_length.unwrap_or(2048) as usize, self.sequences as usize);
        let presets = model::presets(self.vocab_size as usize, length, sequences)?;
        self.output.facts(&presets, |paint| model::presets_table(paint, &presets))
    }
}
