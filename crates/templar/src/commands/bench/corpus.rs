//! The text that the simulated workers learn from.

use crate::config::{Config, DataFlag, SettingFlags, TextFlags};
use crate::text::{kept_corpus, open_corpus};
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use templar_corpus::{Corpus, Tokens};
use templar_screen::Progress;

/// Which text, and where the corpus that is made of it is kept.
#[derive(Debug, Args)]
pub struct LearntText {
    /// Corpus made by `templar corpus build`, instead of one of the text
    #[arg(long, value_name = "FOLDER", conflicts_with = "text")]
    corpus: Option<PathBuf>,
    #[command(flatten)]
    data: DataFlag,
    #[command(flatten)]
    text: TextFlags,
}

impl SettingFlags for LearntText {
    fn put_into(&self, config: &mut Config) {
        self.data.put_into(config);
        self.text.put_into(config);
    }
}

impl LearntText {
    /// The named corpus, or one of the configured or default text with this vocabulary.
    pub fn open(&self, vocabulary: u32, config: &Config, progress: &mut Progress) -> anyhow::Result<Arc<Corpus>> {
        match &self.corpus {
            Some(folder) => open_corpus(folder),
            None => Ok(kept_corpus(config, None, Tokens::Vocabulary(vocabulary), progress)?.1),
        }
    }
}
