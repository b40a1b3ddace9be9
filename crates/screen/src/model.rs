//! Models: sizes, tensors, and what was written of them.

use crate::table::{Paint, count, facts_table, size, table};
use serde::Serialize;
use std::path::Path;
use templar_engine::checkpoint::TOKENIZER_FILE;
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

/// Sizes and settings of a model.
pub fn summary(paint: Paint, inspection: &Inspection) -> String {
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

/// Every tensor, a line each.
pub fn tensors(paint: Paint, inspection: &Inspection) -> String {
    let rows = inspection.tensors.iter().map(|tensor| {
        let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
        vec![tensor.name.clone(), shape.join(" x "), tensor.kind.clone(), tensor.file.clone()]
    });
    table(paint, Some(&["tensor", "shape", "type", "file"]), &rows.collect::<Vec<_>>())
}

/// A model that was written into a folder.
pub fn exported(paint: Paint, model: &Model, out: &Path, exported: &Exported) -> String {
    let tokenizer = match &model.tokenizer {
        Ok(_) => TOKENIZER_FILE.to_owned(),
        Err(reason) => paint.yellow(&format!("none: {reason}")),
    };
    facts_table(&[
        ("folder", paint.bold(&out.display().to_string())),
        ("parameters", count(model.parameters.len() as u64)),
        ("size", format!("{} in {} file(s)", size(exported.bytes), exported.files.len())),
        ("tokenizer", tokenizer),
    ])
}
