//! `templar model presets`.

use crate::output::Output;
use clap::Args;
use serde_json::json;
use templar_engine::{MatrixOptimiser, MemoryNeeds, ModelConfig, TrainingShape, preset, preset_names};
use templar_screen::{count, size, table};

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
        let mut facts = Vec::new();
        let mut rows = Vec::new();
        for name in preset_names() {
            let config = preset(name, self.vocab_size as usize)?;
            config.check()?;
            let parameters = config.parameter_count();
            let shape = self.shape(&config);
            let recomputed = TrainingShape { is_recomputing: true, ..shape };
            let muon = TrainingShape { hidden_matrices: MatrixOptimiser::Muon, ..shape };
            let judging = MemoryNeeds::judging(&config, shape);
            let [training, recomputed, muon] =
                [shape, recomputed, muon].map(|shape| MemoryNeeds::training(&config, shape));
            rows.push(vec![
                name.to_owned(),
                count(parameters as u64),
                config.num_hidden_layers.to_string(),
                config.hidden_size.to_string(),
                format!("{}/{}", config.num_attention_heads, config.num_key_value_heads),
                config.max_position_embeddings.to_string(),
                size(judging.total()),
                size(training.total()),
                size(recomputed.total()),
            ]);
            facts.push(json!({
                "preset": name, "parameters": parameters, "config": config,
                "memory": {
                    "sequences": shape.sequences,
                    "sequence_length": shape.length,
                    "judge_bytes": judging.total(),
                    "train_bytes": training.total(),
                    "train_recomputed_bytes": recomputed.total(),
                    "train_muon_bytes": muon.total(),
                    "train": training,
                },
            }));
        }
        let head =
            ["preset", "parameters", "layers", "width", "heads", "longest sequence", "judge", "train", "recomputed"];
        self.output.facts(&facts, |paint| table(paint, Some(&head), &rows))
    }

    fn shape(&self, config: &ModelConfig) -> TrainingShape {
        let length = self.sequence_length.unwrap_or(2048) as usize;
        TrainingShape {
            sequences: self.sequences as usize,
            length: length.min(config.max_position_embeddings),
            is_recomputing: false,
            hidden_matrices: MatrixOptimiser::AdamW,
        }
    }
}
