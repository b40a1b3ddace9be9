//! `templar model inspect`.

use crate::failure::Advise;
use crate::output::Output;
use anyhow::Context;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use templar_model::Inspection;
use templar_screen::model;

/// Show what a model folder or a GGUF file contains: sizes, rotary settings, tensors and their types, and why it cannot
/// be used where it cannot.
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
        let (config, special) = inspection.model.as_ref().map(|(config, special)| (config, special)).unzip();
        let listed = inspection.tensors.iter().filter(|_| self.tensors).map(|tensor| {
            json!({"name": tensor.name, "file": tensor.file, "type": tensor.kind, "shape": tensor.shape,
                "bytes": tensor.bytes})
        });
        let facts = json!({
            "path": self.path,
            "config": config,
            "problem": inspection.problem,
            "tokenizer_problem": inspection.tokenizer_problem,
            "parameters": config.map(|config| config.parameter_count()),
            "types": inspection.kinds(),
            "bytes": inspection.bytes(),
            "begin_token": special.and_then(|special| special.begin),
            "end_tokens": special.map(|special| &special.end),
            "chat_template": inspection.has_chat_template,
            "unused_fields": inspection.unused,
            "tensors": self.tensors.then(|| listed.collect::<Vec<_>>()),
        });
        self.output.facts(&facts, |paint| {
            let mut text = model::summary(paint, &inspection);
            if self.tensors {
                text += &format!("\n{}", model::tensors(paint, &inspection));
            }
            text
        })
    }
}
