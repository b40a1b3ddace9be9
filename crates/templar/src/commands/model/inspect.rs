//! `templar model inspect`.

use crate::failure::Advise;
use crate::output::{Output, Paint, count, facts_table, size, table};
use anyhow::Context;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use templar_model::Inspection;

/// Show what a model folder or a GGUF file contains: sizes, rotary settings, tensors and their types.
///
/// Example: templar model inspect first --tensors
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Inspect {
    /// Model folder or .gguf file
    path: PathBuf,
    /// List every tensor
    #[arg(long)]
    tensors: bool,
    #[command(flatten)]
    output: Output,
}

impl Inspect {
    /// Reads and prints.
    pub fn run(self) -> anyhow::Result<()> {
        let inspection = Inspection::open(&self.path)
            .with_context(|| format!("cannot read the model {}", self.path.display()))
            .advise("give a Hugging Face folder of a Llama model, or a .gguf file")?;
        let Inspection { config, special, tensors } = &inspection;
        let listed = tensors.iter().filter(|_| self.tensors).map(|tensor| {
            json!({"name": tensor.name, "file": tensor.file, "type": tensor.kind, "shape": tensor.shape,
                "bytes": tensor.bytes})
        });
        let facts = json!({
            "path": self.path,
            "config": config,
            "parameters": config.parameter_count(),
            "types": inspection.kinds(),
            "bytes": inspection.bytes(),
            "begin_token": special.begin,
            "end_tokens": special.end,
            "tensors": self.tensors.then(|| listed.collect::<Vec<_>>()),
        });
        self.output.facts(&facts, |paint| {
            let mut text = summary(paint, &inspection);
            if self.tensors {
                let rows = tensors.iter().map(|tensor| {
                    let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
                    vec![tensor.name.clone(), shape.join(" x "), tensor.kind.clone(), tensor.file.clone()]
                });
                let head = ["tensor", "shape", "type", "file"];
                text += &format!("\n{}", table(paint, Some(&head), &rows.collect::<Vec<_>>()));
            }
            text
        })
    }
}

fn summary(paint: Paint, inspection: &Inspection) -> String {
    let Inspection { config, special, .. } = inspection;
    let heads = format!(
        "{} of {} values, {} for keys and values{}",
        config.num_attention_heads,
        config.head_dim,
        config.num_key_value_heads,
        if config.qk_norm { ", normed" } else { "" },
    );
    let scaling =
        config.rope_scaling.as_ref().map_or(String::new(), |scaling| format!(", slowed by {}", scaling.factor));
    let head = if config.tie_word_embeddings { "tied to the embedding" } else { "its own" };
    let tokens = |tokens: &[u32]| tokens.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    facts_table(&[
        ("parameters", paint.bold(&count(config.parameter_count() as u64))),
        ("stored", format!("{} as {}", size(inspection.bytes()), inspection.kinds().join(", "))),
        ("layers", config.num_hidden_layers.to_string()),
        ("width", format!("{}, {} within", config.hidden_size, config.intermediate_size)),
        ("heads", heads),
        ("vocabulary", format!("{}, output head {head}", count(config.vocab_size as u64))),
        ("positions", format!("{}, base {}{scaling}", count(config.max_position_embeddings as u64), config.rope_theta)),
        ("begin token", special.begin.map_or("none".to_owned(), |token| token.to_string())),
        ("end tokens", if special.end.is_empty() { "none".to_owned() } else { tokens(&special.end) }),
    ])
}
