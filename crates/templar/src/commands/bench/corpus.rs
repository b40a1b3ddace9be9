//! The text that the simulated workers learn from.

use crate::config::Config;
use crate::text::{kept_corpus, open_corpus};
use std::path::Path;
use std::sync::Arc;
use templar_corpus::{Corpus, Tokens};
use templar_screen::Progress;

/// The named corpus, or one of the configured or default text with this vocabulary.
pub fn open(
    folder: Option<&Path>,
    vocabulary: u32,
    config: &Config,
    progress: &mut Progress,
) -> anyhow::Result<Arc<Corpus>> {
    match folder {
        Some(folder) => open_corpus(folder),
        None => Ok(kept_corpus(config, None, Tokens::Vocabulary(vocabulary), progress)?.1),
    }
}
