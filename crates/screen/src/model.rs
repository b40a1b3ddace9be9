//! Models: sizes, tensors, and what was written of them.

use crate::printable::printable;
use crate::table::{Paint, count, facts_table, size, table};
use serde::Serialize;
use std::path::{Path, PathBuf};
use templar_engine::checkpoint::{SpecialTokens, TOKENIZER_FILE};
use templar_engine::{EngineError, MatrixOptimiser, MemoryNeeds, ModelConfig, TrainingShape, preset, preset_names};
use templar_model::{Exported, Inspection, Model};

/// A named size and the memory that it needs.
#[derive(Debug, Clone, Serialize)]
pub struct PresetFacts {
    preset: &'static str,
    parameters: usize,
    config: ModelConfig,
    memory: PresetMemory,
}

/// What a size needs with a micro-batch.
#[derive(Debug, Clone, Copy, Serialize)]
struct PresetMemory {
    sequences: usize,
    sequence_length: usize,
    judge_bytes: u64,
    train_bytes: u64,
    train_recomputed_bytes: u64,
    train_muon_bytes: u64,
    train: MemoryNeeds,
}

/// All named sizes with this vocabulary, for micro-batches of at most this shape.
pub fn presets(vocab_size: usize, length: usize, sequences: usize) -> Result<Vec<PresetFacts>, EngineError> {
    let mut all = Vec::new();
    for name in preset_names() {
        let Ok(config) = preset(name, vocab_size) else { continue };
        config.check()?;
        let length = length.min(config.max_position_embeddings);
        let shape = TrainingShape { sequences, length, is_recomputing: false, hidden_matrices: MatrixOptimiser::AdamW };
        let recomputed = TrainingShape { is_recomputing: true, ..shape };
        let muon = TrainingShape { hidden_matrices: MatrixOptimiser::Muon, ..shape };
        let train = MemoryNeeds::training(&config, shape);
        let memory = PresetMemory {
            sequences,
            sequence_length: length,
            judge_bytes: MemoryNeeds::judging(&config, shape).total(),
            train_bytes: train.total(),
            train_recomputed_bytes: MemoryNeeds::training(&config, recomputed).total(),
            train_muon_bytes: MemoryNeeds::training(&config, muon).total(),
            train,
        };
        all.push(PresetFacts { preset: name, parameters: config.parameter_count(), config, memory });
    }
    Ok(all)
}

/// Named sizes, a line each.
pub fn presets_table(paint: Paint, presets: &[PresetFacts]) -> String {
    let head = ["preset", "parameters", "layers", "width", "heads", "longest sequence", "judge", "train", "recomputed"];
    let row = |PresetFacts { preset, parameters, config, memory }: &PresetFacts| {
        vec![
            (*preset).to_owned(),
            count(*parameters as u64),
            config.num_hidden_layers.to_string(),
            config.hidden_size.to_string(),
            format!("{}/{}", config.num_attention_heads, config.num_key_value_heads),
            config.max_position_embeddings.to_string(),
            size(memory.judge_bytes),
            size(memory.train_bytes),
            size(memory.train_recomputed_bytes),
        ]
    };
    table(paint, Some(&head), &presets.iter().map(row).collect::<Vec<_>>())
}

/// Sizes and settings of a model, and why it cannot be used where it cannot.
pub fn summary(paint: Paint, inspection: &Inspection) -> String {
    let mut rows = Vec::new();
    if let Some(problem) = &inspection.problem {
        rows.push(("cannot be used", paint.yellow(&printable(problem))));
    }
    if let Some(problem) = &inspection.tokenizer_problem {
        rows.push(("no tokenizer", paint.yellow(&printable(problem))));
    }
    if let Some((config, _)) = &inspection.model {
        rows.push(("parameters", paint.bold(&count(config.parameter_count() as u64))));
    }
    let kinds: Vec<String> = inspection.kinds().into_iter().map(printable).collect();
    let tensors = inspection.tensors.len() as u64;
    rows.push(("stored", format!("{} tensors, {} as {}", count(tensors), size(inspection.bytes()), kinds.join(", "))));
    if let Some((config, special)) = &inspection.model {
        rows.extend(sizes(config, special));
    }
    rows.push(("chat template", if inspection.has_chat_template { "yes" } else { "none" }.to_owned()));
    if !inspection.unused.is_empty() {
        rows.push(("not used", unused(&inspection.unused)));
    }
    facts_table(&rows)
}

/// Fields of a `config.json` that this architecture does not have.
fn unused(fields: &[String]) -> String {
    let names: Vec<String> = fields.iter().map(|field| printable(field)).collect();
    format!("{} of config.json, which this architecture does not have", names.join(", "))
}

fn sizes(config: &ModelConfig, special: &SpecialTokens) -> Vec<(&'static str, String)> {
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
    vec![
        ("layers", config.num_hidden_layers.to_string()),
        ("width", format!("{}, {} within", config.hidden_size, config.intermediate_size)),
        ("heads", heads),
        ("vocabulary", format!("{}, output head {head}", count(config.vocab_size as u64))),
        ("positions", format!("{}, base {}{scaling}", count(config.max_position_embeddings as u64), config.rope_theta)),
        ("begin token", special.begin.map_or("none".to_owned(), |token| token.to_string())),
        ("end tokens", if special.end.is_empty() { "none".to_owned() } else { tokens(&special.end) }),
    ]
}

/// Every tensor, a line each.
pub fn tensors(paint: Paint, inspection: &Inspection) -> String {
    let rows = inspection.tensors.iter().map(|tensor| {
        let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
        vec![printable(&tensor.name), shape.join(" x "), printable(&tensor.kind), printable(&tensor.file)]
    });
    table(paint, Some(&["tensor", "shape", "type", "file"]), &rows.collect::<Vec<_>>())
}

/// A model that was written into a folder.
pub fn exported(paint: Paint, model: &Model, out: &Path, exported: &Exported) -> String {
    let tokenizer = match (&model.tokenizer, model.tokenizer_problem()) {
        (Ok(_), None) => TOKENIZER_FILE.to_owned(),
        (Ok(_), Some(problem)) => {
            paint.yellow(&format!("{TOKENIZER_FILE}, which cannot be used: {}", printable(&problem)))
        }
        (Err(reason), _) => paint.yellow(&format!("none: {}", printable(reason))),
    };
    let mut rows = vec![
        ("folder", paint.bold(&out.display().to_string())),
        ("parameters", count(model.parameters.len() as u64)),
        ("size", format!("{} in {} file(s)", size(exported.bytes), exported.files.len())),
        ("tokenizer", tokenizer),
    ];
    if model.companions.has_chat_template() {
        rows.push(("chat template", "kept".to_owned()));
    }
    if !model.unused.is_empty() {
        rows.push(("not used", unused(&model.unused)));
    }
    facts_table(&rows)
}

/// How well a model predicts a text.
#[derive(Debug, Serialize)]
pub struct Evaluated {
    checkpoint: PathBuf,
    text: String,
    loss: f64,
    perplexity: f64,
    tokens: usize,
    sequences: usize,
    sequence_length: usize,
}

impl Evaluated {
    /// The mean `loss`, in nats per token, of so many sequences of a text.
    pub fn new(checkpoint: PathBuf, text: String, loss: f64, sequences: usize, sequence_length: usize) -> Self {
        let (perplexity, tokens) = (loss.exp(), sequences * sequence_length);
        Self { checkpoint, text, loss, perplexity, tokens, sequences, sequence_length }
    }

    /// For people.
    pub fn text(&self, paint: Paint) -> String {
        facts_table(&[
            ("loss", paint.bold(&format!("{:.4} nats per token", self.loss))),
            ("perplexity", format!("{:.2}", self.perplexity)),
            ("text", self.text.clone()),
            ("tokens", format!("{} in {} sequences", count(self.tokens as u64), self.sequences)),
        ])
    }
}
