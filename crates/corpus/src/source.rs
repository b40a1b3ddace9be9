//! Where text comes from: files, folders and pipes, the synthetic grammar, memory.
//!
//! A source gives its documents one by one, always in the same order (files by sorted path), and as often as asked.

use crate::column::ColumnRows;
use crate::content::Packing;
use crate::documents::{Documents, SourceError};
use crate::find::{FoundText, ReadOptions};
use crate::input::Input;
use crate::json_rows::JsonRows;
use crate::kind::TextKind;
use crate::plain_text::TextRows;
use crate::rows::{Place, Row, Tally};
use crate::synthetic::synthetic_document;
use std::path::Path;
use std::sync::Arc;

/// The field of JSON lines, or the column of Parquet files, where nothing else is said.
pub const DEFAULT_FIELD: &str = "text";

/// A source of documents.
#[derive(Debug, Clone)]
pub enum Source {
    /// Files of text; [`FoundText`] finds them.
    Files(Arc<TextFiles>),
    /// The synthetic grammar.
    Synthetic {
        /// The seed of the text.
        seed: u64,
        /// At least this number of bytes of it.
        bytes: u64,
    },
    /// Documents in memory.
    Documents(Arc<Vec<String>>),
}

/// The files of a source.
#[derive(Debug)]
pub struct TextFiles {
    pub(crate) name: String,
    pub(crate) files: Vec<TextFile>,
    pub(crate) field: String,
}

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct TextFile {
    pub(crate) input: Input,
    pub(crate) kind: TextKind,
    pub(crate) packing: Option<Packing>,
}

/// Rows in order; after an error there are no more.
pub(crate) type Rows = Box<dyn Iterator<Item = Result<Row, SourceError>> + Send>;

impl Source {
    /// The source of one file or folder. `field` is the field or column of the text.
    pub fn of_path(path: &Path, field: &str) -> Result<Self, SourceError> {
        let options = ReadOptions { field: field.to_owned(), ..ReadOptions::default() };
        let mut found = FoundText::find(&[path.to_path_buf()], &options, &mut |_| {})?;
        // A path that is found gives one source.
        found.sources.pop().ok_or_else(|| SourceError::Missing { path: path.to_path_buf() })
    }

    /// What it is, for people.
    pub fn name(&self) -> String {
        match self {
            Self::Files(files) => files.name.clone(),
            Self::Synthetic { seed, .. } => format!("synthetic text of seed {seed}"),
            Self::Documents(documents) => format!("{} documents", documents.len()),
        }
    }

    /// Its documents, without the empty ones.
    pub fn documents(&self) -> Result<Documents, SourceError> {
        Ok(Box::new(self.rows().filter_map(|row| row.map(Row::into_document).transpose())))
    }

    /// Its rows: the documents, and what is left out. Ends with an error where there is no document at all.
    pub fn rows(&self) -> Box<dyn Iterator<Item = Result<Row, SourceError>> + Send> {
        let name = self.name();
        let row = move |number: u64, text: String| {
            let place = Place { file: name.as_str().into(), unit: Some("document"), number };
            Row::text(place, text, false)
        };
        let rows: Rows = match self {
            Self::Files(files) => Box::new(files_one_by_one(Arc::clone(files))),
            Self::Synthetic { seed, bytes } => {
                let (seed, bytes) = (*seed, *bytes);
                let mut written = 0;
                Box::new((0..).map_while(move |number| {
                    if written >= bytes && number > 0 {
                        return None;
                    }
                    let document = synthetic_document(seed, number);
                    written += document.len() as u64;
                    Some(Ok(row(number + 1, document)))
                }))
            }
            Self::Documents(documents) => {
                let documents = Arc::clone(documents);
                Box::new((0..documents.len()).map(move |at| Ok(row(at as u64 + 1, documents[at].clone()))))
            }
        };
        let name = self.name();
        Box::new(checked(
            rows,
            move |tally: &Tally| {
                if tally.is_empty() { Err(SourceError::empty(&name, tally)) } else { Ok(()) }
            },
        ))
    }
}

impl TextFile {
    fn rows(&self, field: &str) -> Result<Rows, SourceError> {
        Ok(match self.kind {
            TextKind::Text => Box::new(TextRows::open(&self.input, self.packing)?),
            TextKind::JsonLines => Box::new(JsonRows::open(&self.input, self.packing, field)?),
            TextKind::Parquet => Box::new(ColumnRows::open(&self.input, field)?),
        })
    }
}

fn files_one_by_one(files: Arc<TextFiles>) -> impl Iterator<Item = Result<Row, SourceError>> + Send {
    (0..files.files.len()).flat_map(move |at| {
        let file = &files.files[at];
        let path = file.input.path.clone();
        // A row here and there is left out; a file of which half cannot be read is another one than was meant.
        let check = move |tally: &Tally| match tally.damage() {
            (wrong, Some(first)) if wrong * 2 >= tally.rows => {
                // The first row comes with the file's name.
                let start = format!("{}, ", path.display());
                let first = first.strip_prefix(&start).unwrap_or(first).to_owned();
                Err(SourceError::WrongRows { path: path.clone(), first, wrong, rows: tally.rows })
            }
            _ => Ok(()),
        };
        match file.rows(&files.field) {
            Ok(rows) => checked(rows, check),
            Err(error) => checked(Box::new(std::iter::once(Err(error))), check),
        }
    })
}

/// The rows up to the first error, and at their end the error that `check` finds in their tally.
fn checked<C>(rows: Rows, check: C) -> Checked<C> {
    Checked { rows, check, tally: Tally::default(), is_over: false }
}

struct Checked<C> {
    rows: Rows,
    check: C,
    tally: Tally,
    is_over: bool,
}

impl<C: FnMut(&Tally) -> Result<(), SourceError>> Iterator for Checked<C> {
    type Item = Result<Row, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        match self.rows.next() {
            Some(Ok(row)) => {
                self.tally.add(&row);
                Some(Ok(row))
            }
            Some(Err(error)) => {
                self.is_over = true;
                Some(Err(error))
            }
            None => {
                self.is_over = true;
                (self.check)(&self.tally).err().map(Err)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synthetic_text_and_documents_are_sources_too() {
        let texts = |source: Source| source.documents().unwrap().collect::<Result<Vec<_>, _>>();
        assert_eq!(texts(Source::Synthetic { seed: 4, bytes: 9000 }).unwrap(), crate::synthetic::synthetic(4, 9000));
        let documents = |all: &[&str]| Source::Documents(Arc::new(all.iter().map(|it| (*it).to_owned()).collect()));
        assert_eq!(texts(documents(&["one", " ", "two"])).unwrap(), ["one", "two"]);
        assert!(matches!(texts(documents(&[" "])), Err(SourceError::Empty { .. })));
    }

    #[test]
    fn nothing_comes_after_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.jsonl"), "{\"text\":\"one\"}\n{\"text\":1}\n{\"text\":2}\n").unwrap();
        std::fs::write(folder.path().join("b.jsonl"), "{\"text\":\"never\"}\n").unwrap();
        let rows: Vec<_> = Source::of_path(folder.path(), "text").unwrap().documents().unwrap().collect();
        assert!(rows.len() == 2 && rows[0].is_ok());
        assert!(matches!(&rows[1], Err(SourceError::WrongRows { wrong: 2, rows: 3, .. })));
    }
}
