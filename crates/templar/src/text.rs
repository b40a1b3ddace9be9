//! Which text a command works on: the user's, a synthetic one, or the default text.

use crate::config::Config;
use crate::progress::Progress;
use templar_corpus::default_text::default_text;
use templar_corpus::{BuildProgress, CorpusBuilder, Source, SourceError};

/// Synthetic text where there is neither a text nor a network.
const FALLBACK_BYTES: u64 = 4 << 20;

/// The licence of a text whose owner did not say.
const NOT_STATED: &str = "not stated; the text's owner knows";

/// Text to build a corpus from.
#[derive(Debug, Clone)]
pub struct ChosenText {
    /// Each source with its name and its licence.
    pub sources: Vec<(Source, String, String)>,
    /// For people: what it is and why it was chosen.
    pub remarks: Vec<String>,
}

/// Chooses: `synthetic` bytes if that is given, else the text of the configuration, else the default text (fetched at
/// first use), else synthetic text, which is said.
pub fn choose(
    config: &Config,
    synthetic: Option<u64>,
    licence: Option<&str>,
    progress: &mut Progress,
) -> Result<ChosenText, SourceError> {
    if let Some(bytes) = synthetic {
        return Ok(ChosenText { sources: vec![synthetic_source(bytes)], remarks: vec![synthetic_remark(bytes)] });
    }
    let paths = config.text_paths();
    if !paths.is_empty() {
        let licence = licence.unwrap_or(NOT_STATED);
        let of_path = |path| {
            let source = Source::of_path(path, config.field())?;
            let name = source.name();
            Ok::<_, SourceError>((source, name, licence.to_owned()))
        };
        let sources = paths.iter().map(|path| of_path(path)).collect::<Result<Vec<_>, _>>()?;
        let remarks = paths.iter().map(|path| format!("text: {} (licence: {licence})", path.display())).collect();
        return Ok(ChosenText { sources, remarks });
    }
    match default_text(|what| progress.note(what)) {
        Ok(text) => {
            let place = if text.from_cache { "kept in" } else { "fetched into" };
            let remarks = vec![
                format!("text: {} ({place} {})", text.what, text.folder.display()),
                format!("licence: {}", text.licence),
            ];
            Ok(ChosenText { sources: vec![(text.source(), text.name.to_owned(), text.licence.to_owned())], remarks })
        }
        Err(error) => {
            let remarks = vec![format!("no default text: {error}"), synthetic_remark(FALLBACK_BYTES)];
            Ok(ChosenText { sources: vec![synthetic_source(FALLBACK_BYTES)], remarks })
        }
    }
}

fn synthetic_source(bytes: u64) -> (Source, String, String) {
    let licence = "made by this program; free of rights";
    (Source::Synthetic { seed: 0, bytes }, "synthetic tales".to_owned(), licence.to_owned())
}

fn synthetic_remark(bytes: u64) -> String {
    let size = crate::output::size(bytes);
    format!("text: synthetic tales of a small grammar, {size} (free of rights); give real text with --text")
}

impl ChosenText {
    /// A name for exactly this text: 16 hexadecimal digits of the hash of all its documents.
    pub fn key(&self, mut read: impl FnMut(u64)) -> Result<String, SourceError> {
        let mut hasher = blake3::Hasher::new_derive_key("templar text of a corpus v1");
        let mut bytes = 0;
        for (source, name, licence) in &self.sources {
            for part in [name, licence] {
                hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
            }
            for document in source.documents()? {
                let document = document?;
                hasher.update(&(document.len() as u64).to_le_bytes()).update(document.as_bytes());
                bytes += document.len() as u64;
                read(bytes);
            }
        }
        Ok(hex::encode(&hasher.finalize().as_bytes()[..8]))
    }

    /// A builder with the sources.
    pub fn builder(self) -> CorpusBuilder {
        let add = |builder: CorpusBuilder, (source, name, licence)| builder.source(source, name, licence);
        self.sources.into_iter().fold(CorpusBuilder::new(), add)
    }
}

/// Shows how far a build is.
pub fn show_build(progress: &mut Progress, news: BuildProgress) {
    use crate::output::{count, size};
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
