//! Models: sizes, tensors, and what was written of them.

use crate::table::{Paint, count, facts_table, size, table};
use std::path::Path;
use templar_engine::checkpoint::TOKENIZER_FILE;
use templar_model::{Exported, Inspection, Model};

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
