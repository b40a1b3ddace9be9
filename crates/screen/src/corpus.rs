//! Corpora: how far a build is, and what one consists of.

use crate::progress::Progress;
use crate::table::{Paint, count, facts_table, size};
use serde_json::{Value, json};
use std::path::Path;
use templar_corpus::{BuildProgress, Manifest};

/// Shows how far a build is.
pub fn show_build(progress: &mut Progress, news: BuildProgress) {
    match news {
        BuildProgress::Reading { documents, bytes } => {
            progress.say(&format!("reading: {} documents, {}", count(documents), size(bytes)));
        }
        BuildProgress::TrainingTokenizer { bytes } => {
            progress.say(&format!("training the tokenizer on {}", size(bytes)));
            progress.restart();
        }
        BuildProgress::Encoding { bytes, total_bytes, tokens } => {
            let share = bytes as f64 / total_bytes.max(1) as f64;
            progress
                .show(share, &format!("encoding: {} of {}, {} tokens", size(bytes), size(total_bytes), count(tokens)));
        }
    }
}

/// A corpus in a folder, for programs.
pub fn facts(manifest: &Manifest, folder: &Path, samples: &[String]) -> Value {
    let bytes: u64 = manifest.sources.iter().map(|source| source.bytes).sum();
    let mut facts = json!({
        "folder": folder,
        "corpus": manifest.hash(),
        "tokenizer": manifest.tokenizer,
        "vocab_size": manifest.vocab_size,
        "train_tokens": manifest.train_tokens,
        "held_out_tokens": manifest.held_out_tokens,
        "shards": manifest.train.len() + manifest.held_out.len(),
        "bytes": bytes,
        "sources": manifest.sources,
    });
    if !samples.is_empty() {
        facts["samples"] = json!(samples);
    }
    facts
}

/// A corpus in a folder, for people.
pub fn text(paint: Paint, manifest: &Manifest, folder: &Path, samples: &[String]) -> String {
    let bytes: u64 = manifest.sources.iter().map(|source| source.bytes).sum();
    let tokens = manifest.train_tokens + manifest.held_out_tokens;
    let per_token = bytes as f64 / tokens.max(1) as f64;
    let held_out = 100.0 * manifest.held_out_tokens as f64 / tokens.max(1) as f64;
    let mut rows = vec![
        ("corpus", manifest.hash().to_string()),
        ("folder", folder.display().to_string()),
        (
            "tokenizer",
            format!("{} tokens, {per_token:.2} bytes of text to the token", count(manifest.vocab_size.into())),
        ),
        ("train", format!("{} tokens in {} shards", count(manifest.train_tokens), manifest.train.len())),
        ("held out", format!("{} tokens ({held_out:.1} %)", count(manifest.held_out_tokens))),
    ];
    for source in &manifest.sources {
        let documents = count(source.documents);
        let value = format!("{}: {documents} documents, {}; {}", source.name, size(source.bytes), source.licence);
        rows.push(("source", value));
    }
    let mut text = facts_table(&rows);
    for sample in samples {
        text += &format!("\n{}\n{}\n", paint.dim("sample"), sample.trim());
    }
    text
}
