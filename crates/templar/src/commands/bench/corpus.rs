//! The text that the simulated workers learn from.

use crate::config::Config;
use crate::failure::Advise;
use crate::progress::Progress;
use crate::{output, text};
use anyhow::Context;
use std::path::Path;
use std::sync::Arc;
use templar_corpus::Corpus;

/// The named corpus, or one of the configured or default text with this vocabulary, which is kept for the next time.
pub fn open(
    folder: Option<&Path>,
    vocabulary: u32,
    config: &Config,
    progress: &mut Progress,
) -> anyhow::Result<Arc<Corpus>> {
    let folder = match folder {
        Some(folder) => folder.to_owned(),
        None => {
            let chosen = text::choose(config, None, None, progress)?;
            chosen.remarks.iter().for_each(|remark| progress.note(remark));
            let key = chosen.key(|bytes| progress.say(&format!("reading: {}", output::size(bytes))))?;
            let corpora = config.data_folder().join("corpora");
            std::fs::create_dir_all(&corpora).with_context(|| format!("cannot make {}", corpora.display()))?;
            let folder = corpora.join(format!("{key}-{vocabulary}"));
            if !folder.exists() {
                let builder = chosen.builder().vocab_size(vocabulary);
                builder.build(&folder, |news| text::show_build(progress, news))?;
            }
            folder
        }
    };
    let corpus = Corpus::open(&folder).with_context(|| format!("cannot open the corpus {}", folder.display()));
    Ok(Arc::new(corpus.advise("build one with `templar corpus build --out FOLDER`, or give --text")?))
}
