//! `templar model inspect`.

use crate::failure::Advise;
use crate::output::{Output, Paint, count, size, table};
use anyhow::Context;
use clap::Args;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use templar_base::ModelConfig;
use templar_engine::checkpoint::{Gguf, SpecialTokens, gguf_config, stored_tensors};
use templar_model::{parameter_files, read_config};

/// Say what a model folder or a GGUF file holds: sizes, rotation, tensors and their types.
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
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A tensor in a file.
struct Stored {
    name: String,
    file: String,
    kind: String,
    shape: Vec<usize>,
    bytes: usize,
}

impl Inspect {
    /// Reads and prints.
    pub fn run(self) -> anyhow::Result<()> {
        let read = if self.path.is_file() { of_gguf(&self.path) } else { of_folder(&self.path) };
        let (config, special, tensors) = read
            .with_context(|| format!("cannot read the model {}", self.path.display()))
            .advise("give a Hugging Face folder of a Llama model, or a .gguf file")?;
        let bytes: usize = tensors.iter().map(|tensor| tensor.bytes).sum();
        let mut kinds: Vec<&str> = tensors.iter().map(|tensor| tensor.kind.as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let listed = tensors.iter().filter(|_| self.tensors).map(|tensor| {
            json!({"name": tensor.name, "file": tensor.file, "type": tensor.kind, "shape": tensor.shape,
                "bytes": tensor.bytes})
        });
        let facts = json!({
            "path": self.path,
            "config": config,
            "parameters": config.parameter_count(),
            "types": kinds,
            "bytes": bytes,
            "begin_token": special.begin,
            "end_tokens": special.end,
            "tensors": self.tensors.then(|| listed.collect::<Vec<_>>()),
        });
        Output::new(self.json).facts(&facts, |paint| {
            let mut text = summary(paint, &config, &special, &kinds, bytes as u64);
            if self.tensors {
                let rows = tensors.iter().map(|tensor| {
                    let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
                    let place = tensor.file.clone();
                    vec![tensor.name.clone(), shape.join(" x "), tensor.kind.clone(), place]
                });
                let head = ["tensor", "shape", "type", "file"];
                text += &format!("\n{}", table(paint, Some(&head), &rows.collect::<Vec<_>>()));
            }
            text
        })
    }
}

type Found = (ModelConfig, SpecialTokens, Vec<Stored>);

fn of_folder(folder: &Path) -> anyhow::Result<Found> {
    let (config, special) = read_config(folder)?;
    let mut tensors = Vec::new();
    for (number, path) in parameter_files(folder)?.iter().enumerate() {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for (name, stored) in stored_tensors(&bytes, number)? {
            let (kind, shape, bytes) = (stored.dtype, stored.shape, stored.bytes.len());
            tensors.push(Stored { name, file: file.clone(), kind, shape, bytes });
        }
    }
    Ok((config, special, tensors))
}

fn of_gguf(path: &Path) -> anyhow::Result<Found> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file = Gguf::parse(&bytes)?;
    let (config, special) = gguf_config(&file)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stored = file.tensors.iter().map(|(tensor, stored)| Stored {
        name: (*tensor).to_owned(),
        file: name.clone(),
        kind: stored.type_name().to_owned(),
        shape: stored.shape.clone(),
        bytes: stored.size(),
    });
    Ok((config, special, stored.collect()))
}

fn summary(paint: Paint, config: &ModelConfig, special: &SpecialTokens, kinds: &[&str], bytes: u64) -> String {
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
    let rows = [
        ("parameters", paint.bold(&count(config.parameter_count() as u64))),
        ("stored", format!("{} as {}", size(bytes), kinds.join(", "))),
        ("layers", config.num_hidden_layers.to_string()),
        ("width", format!("{}, {} within", config.hidden_size, config.intermediate_size)),
        ("heads", heads),
        ("vocabulary", format!("{}, output head {head}", count(config.vocab_size as u64))),
        ("positions", format!("{}, base {}{scaling}", count(config.max_position_embeddings as u64), config.rope_theta)),
        ("begin token", special.begin.map_or("none".to_owned(), |token| token.to_string())),
        ("end tokens", if special.end.is_empty() { "none".to_owned() } else { tokens(&special.end) }),
    ];
    table(paint, None, &rows.map(|(name, value)| vec![name.to_owned(), value]))
}
