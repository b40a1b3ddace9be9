//! Which text a command works on: the user's, a synthetic one, or the default text; and the corpora built from them,
//! which are kept in the data folder.

use crate::config::Config;
use crate::failure::{Advise, advice};
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use templar_corpus::default_text::default_text;
use templar_corpus::{Corpus, FoundText, KeepProgress, LeftOut, TextSources, Tokens};
use templar_screen::corpus::{show_build, show_left_out, source_remark, synthetic_remark, synthetic_source};
use templar_screen::{Progress, printable, size};

/// Synthetic text where there is neither a text nor a network.
const FALLBACK_BYTES: u64 = 4 << 20;

/// Text to build a corpus from.
#[derive(Debug, Clone)]
pub struct ChosenText {
    /// Its sources.
    pub sources: TextSources,
    /// For people: what it is, why it was chosen, and what is left out.
    pub remarks: Vec<String>,
    /// What is in its folders and is not read.
    pub left_out: Vec<LeftOut>,
}

/// Chooses: `synthetic` bytes if that is given, else the text of the configuration, else the default text (fetched at
/// first use), else synthetic text, with a remark.
pub fn choose(
    config: &Config,
    synthetic: Option<u64>,
    licence: Option<&str>,
    progress: &mut Progress,
) -> anyhow::Result<ChosenText> {
    if let Some(bytes) = synthetic {
        return Ok(chosen(synthetic_source(bytes), vec![synthetic_remark(bytes)]));
    }
    if !config.text_paths().is_empty() {
        let found = find(config, progress)?;
        let licence = licence.unwrap_or("not stated");
        let sources = found.sources.into_iter().map(|source| (source.name(), source));
        let sources = sources.map(|(name, source)| (source, name, licence.to_owned())).collect();
        let mut chosen = chosen(TextSources(sources), Vec::new());
        chosen.remarks.extend(LeftOut::lines(&found.left_out).iter().map(|line| printable(line)));
        chosen.left_out = found.left_out;
        return Ok(chosen);
    }
    match default_text(|what| progress.note(what)) {
        Ok(text) => {
            let place = if text.from_cache { "cached in" } else { "fetched into" };
            progress.note(&format!("{} ({place} {})", text.what, text.folder.display()));
            let source = (text.source()?, text.name.to_owned(), text.licence.to_owned());
            Ok(chosen(TextSources(vec![source]), Vec::new()))
        }
        Err(error) => {
            let remarks = vec![format!("no default text: {error}"), synthetic_remark(FALLBACK_BYTES)];
            Ok(chosen(synthetic_source(FALLBACK_BYTES), remarks))
        }
    }
}

/// With a remark for each source, where there are no others.
fn chosen(sources: TextSources, mut remarks: Vec<String>) -> ChosenText {
    if remarks.is_empty() {
        remarks.extend(sources.0.iter().map(|(_, name, licence)| source_remark(name, licence)));
    }
    ChosenText { sources, remarks, left_out: Vec::new() }
}

/// Finds the text of the configuration.
pub fn find(config: &Config, progress: &mut Progress) -> anyhow::Result<FoundText> {
    let found = FoundText::find(config.text_paths(), &config.read_options()?, &mut |what| progress.note(what));
    found.map_err(|error| match error.remedy() {
        Some(remedy) => advice(error, remedy),
        None => error.into(),
    })
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
        KeepProgress::LeftOut { source, tally } => show_left_out(progress, &source, &tally),
        KeepProgress::Building(news) => show_build(progress, news),
    })?;
    let corpus = open_corpus(&folder)?;
    Ok((folder, corpus))
}
