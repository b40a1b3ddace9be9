//! Which text a command works on: the user's, a synthetic one, or the default text; and the corpora built from them,
//! which are kept in the data folder.

use crate::config::Config;
use crate::failure::Advise;
use anyhow::Context;
use clap::builder::RangedU64ValueParser;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use templar_corpus::default_text::default_text;
use templar_corpus::{
    Corpus, KeepProgress, LARGEST_VOCABULARY, SMALLEST_VOCABULARY, Source, SourceError, TextSources, Tokens,
};
use templar_screen::corpus::show_build;
use templar_screen::{Progress, size};

/// Synthetic text where there is neither a text nor a network.
const FALLBACK_BYTES: u64 = 4 << 20;

/// The sizes of a vocabulary that is trained.
pub fn vocabulary() -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(u64::from(SMALLEST_VOCABULARY)..=u64::from(LARGEST_VOCABULARY))
}

/// The sizes of a synthetic text. A grammar of some hundred words has nothing new long before the end of this range.
pub fn synthetic_bytes() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..=16 << 30)
}

/// The licence of a text whose owner does not state one.
const NOT_STATED: &str = "not stated; the text's owner knows";

/// Text to build a corpus from.
#[derive(Debug, Clone)]
pub struct ChosenText {
    /// Its sources.
    pub sources: TextSources,
    /// For people: what it is and why it was chosen.
    pub remarks: Vec<String>,
}

/// Chooses: `synthetic` bytes if that is given, else the text of the configuration, else the default text (fetched at
/// first use), else synthetic text, with a remark.
pub fn choose(
    config: &Config,
    synthetic: Option<u64>,
    licence: Option<&str>,
    progress: &mut Progress,
) -> Result<ChosenText, SourceError> {
    if let Some(bytes) = synthetic {
        return Ok(ChosenText { sources: synthetic_source(bytes), remarks: vec![synthetic_remark(bytes)] });
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
        return Ok(ChosenText { sources: TextSources(sources), remarks });
    }
    match default_text(|what| progress.note(what)) {
        Ok(text) => {
            let place = if text.from_cache { "cached in" } else { "fetched into" };
            let remarks = vec![
                format!("text: {} ({place} {})", text.what, text.folder.display()),
                format!("licence: {}", text.licence),
            ];
            let source = (text.source(), text.name.to_owned(), text.licence.to_owned());
            Ok(ChosenText { sources: TextSources(vec![source]), remarks })
        }
        Err(error) => {
            let remarks = vec![format!("no default text: {error}"), synthetic_remark(FALLBACK_BYTES)];
            Ok(ChosenText { sources: synthetic_source(FALLBACK_BYTES), remarks })
        }
    }
}

fn synthetic_source(bytes: u64) -> TextSources {
    let licence = "made by this program; free of rights";
    TextSources(vec![(Source::Synthetic { seed: 0, bytes }, "synthetic tales".to_owned(), licence.to_owned())])
}

fn synthetic_remark(bytes: u64) -> String {
    let size = size(bytes);
    format!("text: synthetic tales of a small grammar, {size} (free of rights); give real text with --text")
}

/// Opens a corpus.
pub fn open_corpus(folder: &Path) -> anyhow::Result<Arc<Corpus>> {
    let corpus = Corpus::open(folder).with_context(|| format!("cannot open the corpus {}", folder.display()));
    Ok(Arc::new(corpus.advise("build one with `templar corpus build --out FOLDER`, or give --text")?))
}

/// A corpus of the chosen text and its folder; it is built once and kept in the data folder.
pub fn kept_corpus(
    config: &Config,
    synthetic: Option<u64>,
    tokens: Tokens<'_>,
    progress: &mut Progress,
) -> anyhow::Result<(PathBuf, Arc<Corpus>)> {
    let chosen = choose(config, synthetic, None, progress)?;
    chosen.remarks.iter().for_each(|remark| progress.note(remark));
    let corpora = std::path::absolute(config.data_folder()).unwrap_or(config.data_folder()).join("corpora");
    std::fs::create_dir_all(&corpora).with_context(|| format!("cannot create the folder {}", corpora.display()))?;
    let folder = chosen.sources.keep(&corpora, tokens, &mut |news| match news {
        KeepProgress::Comparing(bytes) => progress.say(&format!("reading: {}", size(bytes))),
        KeepProgress::Building(news) => show_build(progress, news),
    })?;
    let corpus = open_corpus(&folder)?;
    Ok((folder, corpus))
}
