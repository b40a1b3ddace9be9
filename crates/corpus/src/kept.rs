//! Corpora that are built once from a text and kept for the next time.

use crate::rows::Tally;
use crate::{BuildError, BuildProgress, CorpusBuilder, Source, SourceError, Tokenizer};
use std::path::{Path, PathBuf};

/// Sources of text, each with its name and its licence.
#[derive(Debug, Clone)]
pub struct TextSources(pub Vec<(Source, String, String)>);

/// The tokens of a corpus.
#[derive(Clone, Copy)]
pub enum Tokens<'a> {
    /// Those of this tokenizer.
    Of(&'a Tokenizer),
    /// A vocabulary of this size.
    Vocabulary(u32),
    /// A vocabulary of this size, or a smaller one where the text is too small or too uniform for that.
    UpTo(u32),
}

/// How far [`TextSources::keep`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeepProgress {
    /// The text is read to find out whether its corpus is kept already: bytes so far.
    Comparing(u64),
    /// A source was read whose rows are not all documents as they were.
    LeftOut {
        /// The source.
        source: String,
        /// What is left out or replaced.
        tally: Tally,
    },
    /// The corpus is built.
    Building(BuildProgress),
}

impl TextSources {
    /// Whether all text is synthetic.
    pub fn is_synthetic(&self) -> bool {
        self.0.iter().all(|(source, _, _)| matches!(source, Source::Synthetic { .. }))
    }

    /// A name for exactly this text: 16 hexadecimal digits of the hash of all its documents.
    /// `read` hears the bytes so far.
    pub fn key(&self, mut read: impl FnMut(u64)) -> Result<String, SourceError> {
        self.compare(&mut |news| match news {
            KeepProgress::Comparing(bytes) => read(bytes),
            KeepProgress::LeftOut { .. } | KeepProgress::Building(_) => {}
        })
    }

    /// The key, and what is left out of the text.
    fn compare(&self, progress: &mut dyn FnMut(KeepProgress)) -> Result<String, SourceError> {
        let mut hasher = blake3::Hasher::new_derive_key("templar text of a corpus v1");
        let mut bytes = 0;
        for (source, name, licence) in &self.0 {
            for part in [name, licence] {
                hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
            }
            let mut tally = Tally::default();
            for row in source.rows() {
                let row = row?;
                tally.add(&row);
                let Some(document) = row.into_document() else { continue };
                hasher.update(&(document.len() as u64).to_le_bytes()).update(document.as_bytes());
                bytes += document.len() as u64;
                progress(KeepProgress::Comparing(bytes));
            }
            if !tally.is_clean() {
                progress(KeepProgress::LeftOut { source: name.clone(), tally });
            }
        }
        Ok(hasher.finalize().to_hex()[..16].to_owned())
    }

    /// In what a folder that [`Self::keep`] made is not what it would make now: `text`, or `vocab-size` where `vocabulary`
    /// says one; nothing where it is the same.
    pub fn differing(&self, folder: &Path, vocabulary: Option<u32>) -> Result<Option<&'static str>, SourceError> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let (key, tokens) = name.split_once('-').unwrap_or((&name, ""));
        if self.key(|_| {})? != key {
            return Ok(Some("text"));
        }
        Ok(vocabulary.filter(|size| tokens != size.to_string()).map(|_| "vocab-size"))
    }

    /// A builder with the sources.
    pub fn builder(&self) -> CorpusBuilder {
        let add = |builder: CorpusBuilder, (source, name, licence)| builder.source(source, name, licence);
        self.0.iter().cloned().fold(CorpusBuilder::new(), add)
    }

    /// The folder of this text's corpus below `corpora`; it is built if it is not there.
    pub fn keep(
        &self,
        corpora: &Path,
        tokens: Tokens<'_>,
        progress: &mut dyn FnMut(KeepProgress),
    ) -> Result<PathBuf, BuildError> {
        let key = self.compare(progress)?;
        let vocabulary = match tokens {
            Tokens::Of(tokenizer) if tokenizer.has_usual_end() => tokenizer.hash().to_string(),
            Tokens::Of(tokenizer) => format!("{}-end-{}", tokenizer.hash(), tokenizer.end_of_text()),
            Tokens::Vocabulary(size) => size.to_string(),
            Tokens::UpTo(size) => format!("up-to-{size}"),
        };
        let folder = corpora.join(format!("{key}-{vocabulary}"));
        if folder.exists() {
            return Ok(folder);
        }
        let builder = match tokens {
            Tokens::Of(tokenizer) => self.builder().tokenizer(tokenizer.clone()),
            Tokens::Vocabulary(size) => self.builder().vocab_size(size),
            Tokens::UpTo(size) => self.builder().vocab_size_up_to(size),
        };
        // What is left out was told when the text was compared.
        let mut building = |news| match news {
            BuildProgress::LeftOut { .. } => {}
            news => progress(KeepProgress::Building(news)),
        };
        match builder.build(&folder, &mut building) {
            // Another process built the same text meanwhile.
            Err(BuildError::FolderExists { .. }) => Ok(folder),
            built => built.map(|_| folder),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_built_once_and_by_its_content() {
        let root = tempfile::tempdir().unwrap();
        let text =
            |bytes| TextSources(vec![(Source::Synthetic { seed: 0, bytes }, "tales".to_owned(), "free".to_owned())]);
        let mut builds = 0;
        let mut keep = |bytes, tokens: Tokens<'_>| {
            let mut progress = |news| {
                builds += usize::from(matches!(news, KeepProgress::Building(BuildProgress::TrainingTokenizer { .. })))
            };
            text(bytes).keep(root.path(), tokens, &mut progress).unwrap()
        };
        let first = keep(60_000, Tokens::Vocabulary(300));
        assert_eq!(keep(60_000, Tokens::Vocabulary(300)), first);
        assert_ne!(keep(60_000, Tokens::Vocabulary(310)), first);
        assert_ne!(keep(70_000, Tokens::Vocabulary(300)), first);
        assert_eq!(builds, 3);
    }
}
