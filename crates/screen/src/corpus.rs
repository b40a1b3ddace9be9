//! Corpora: how far a build is, and what one consists of.

use crate::printable::{printable, printable_text};
use crate::progress::Progress;
use crate::table::{Paint, count, facts_table, size};
use serde_json::{Value, json};
use std::path::Path;
use templar_corpus::{BuildProgress, LeftOut, Manifest, Source, Tally, TextSources};

/// What a source is, for people; the same when its corpus is built and later.
pub fn source_remark(name: &str, licence: &str) -> String {
    printable(&format!("text: {name} (licence: {licence})"))
}

/// Synthetic text of this size, as a source.
pub fn synthetic_source(bytes: u64) -> TextSources {
    let licence = "made by this program; free of rights";
    TextSources(vec![(Source::Synthetic { seed: 0, bytes }, "synthetic tales".to_owned(), licence.to_owned())])
}

/// What synthetic text is, for people.
pub fn synthetic_remark(bytes: u64) -> String {
    let size = size(bytes);
    format!("text: synthetic tales of a small grammar, {size} (free of rights); give real text with --text")
}

/// Shows how far a build is.
pub fn show_build(progress: &mut Progress, news: BuildProgress) {
    match news {
        BuildProgress::Reading { documents, bytes } => {
            progress.say(&format!("reading: {} documents, {}", count(documents), size(bytes)));
        }
        BuildProgress::LeftOut { source, tally } => show_left_out(progress, &source, &tally),
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

/// Says what is left out of a source.
pub fn show_left_out(progress: &Progress, source: &str, tally: &Tally) {
    progress.note(&printable(&format!("{source}: {tally}")));
}

/// What is left out of the folders and the sources of a text, for programs.
pub fn left_out(files: &[LeftOut], rows: Vec<Value>) -> Value {
    let files = files.iter().map(|file| json!({"path": file.path.to_string_lossy(), "why": file.why.to_string()}));
    json!({"files": files.collect::<Vec<_>>(), "rows": rows})
}

/// What is left out of a source, for programs.
pub fn left_out_rows(source: &str, tally: &Tally) -> Value {
    let Tally { rows, left_out, repaired, .. } = tally;
    json!({"source": source, "rows": rows, "left_out": left_out, "repaired": repaired, "why": tally.to_string()})
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
        let (name, licence) = (&source.name, &source.licence);
        let value = format!("{name}: {documents} documents, {}; licence: {licence}", size(source.bytes));
        rows.push(("source", printable(&value)));
    }
    let mut text = facts_table(&rows);
    for sample in samples {
        text += &format!("\n{}\n{}\n", paint.dim("sample"), printable_text(sample.trim()));
    }
    text
}
