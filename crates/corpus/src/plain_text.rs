//! Documents of plain text, read piece by piece.

use crate::content::Packing;
use crate::documents::SourceError;
use crate::input::Input;
use crate::rows::{Place, Row};
use crate::utf8::Utf8Counter;
use std::io::Read;

/// A plain text file is one document up to this size; a larger one is cut at line ends, so that a book in one file
/// still gives documents to keep back.
pub(crate) const LARGEST_DOCUMENT_BYTES: usize = 256 << 10;

const READ_BYTES: usize = 64 << 10;

/// Reads a text to its end.
pub(crate) struct TextRows {
    input: Input,
    packing: Option<Packing>,
    reader: Box<dyn Read + Send>,
    place: Place,
    /// Text that is not in a document yet.
    text: String,
    counter: Utf8Counter,
    /// Wrong bytes before the document that is next.
    wrong_before: u64,
    documents: u64,
    has_begun: bool,
    is_at_end: bool,
}

impl TextRows {
    pub(crate) fn open(input: &Input, packing: Option<Packing>) -> Result<Self, SourceError> {
        let file = input.path.display().to_string().into();
        Ok(Self {
            reader: input.reader(packing)?,
            input: input.clone(),
            packing,
            place: Place { file, unit: None, number: 1 },
            text: String::new(),
            counter: Utf8Counter::default(),
            wrong_before: 0,
            documents: 0,
            has_begun: false,
            is_at_end: false,
        })
    }

    fn read_on(&mut self) -> Result<(), SourceError> {
        let mut bytes = vec![0; READ_BYTES];
        let count = match self.reader.read(&mut bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            Err(source) => return Err(self.input.failed(self.packing, source)),
        };
        self.is_at_end = count == 0;
        self.counter.push(&bytes[..count], self.is_at_end, &mut self.text);
        if !self.has_begun && !self.text.is_empty() {
            self.has_begun = true;
            // A byte order mark is no part of the text.
            if self.text.starts_with('\u{FEFF}') {
                self.text.drain(..'\u{FEFF}'.len_utf8());
            }
        }
        self.counter.check(&self.input.path)
    }

    fn next_document(&mut self) -> Result<Option<Row>, SourceError> {
        while self.text.len() <= LARGEST_DOCUMENT_BYTES && !self.is_at_end {
            self.read_on()?;
        }
        // An empty file is counted as one document without text.
        if self.text.is_empty() && self.documents > 0 {
            return Ok(None);
        }
        let rest = self.text.split_off(document_end(&self.text));
        let document = std::mem::replace(&mut self.text, rest);
        self.documents += 1;
        let wrong = self.counter.wrong_sequences();
        let is_repaired = wrong > self.wrong_before && document.contains('\u{FFFD}');
        self.wrong_before = if is_repaired { wrong } else { self.wrong_before };
        Ok(Some(Row::text(self.place.clone(), document, is_repaired)))
    }
}

impl Iterator for TextRows {
    type Item = Result<Row, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_document().transpose()
    }
}

/// Where the next document of a large text ends: after a blank line, or a line, or anywhere.
fn document_end(text: &str) -> usize {
    if text.len() <= LARGEST_DOCUMENT_BYTES {
        return text.len();
    }
    let window = &text[..text.floor_char_boundary(LARGEST_DOCUMENT_BYTES)];
    let half = window.len() / 2;
    let after = |pattern: &str| window.rfind(pattern).map(|at| at + pattern.len()).filter(|end| *end > half);
    after("\n\n").or_else(|| after("\n")).or_else(|| after(" ")).unwrap_or(window.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;

    fn documents(bytes: &[u8]) -> Result<Vec<String>, SourceError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("book.txt");
        std::fs::write(&path, bytes).unwrap();
        Source::of_path(&path, "text")?.documents()?.collect()
    }

    #[test]
    fn a_large_file_is_cut_into_documents_at_blank_lines() {
        let text = format!("{}\n\n", "größer ".repeat(40)).repeat(3000);
        let parts = documents(format!("\u{FEFF}{text}").as_bytes()).unwrap();
        assert!(parts.len() >= 3);
        assert!(parts.iter().all(|part| part.len() <= LARGEST_DOCUMENT_BYTES && part.ends_with("\n\n")));
        assert_eq!(parts.concat(), text);
        // A text without a place to cut is cut all the same.
        let line = "日".repeat(200_000);
        let parts = documents(line.as_bytes()).unwrap();
        assert!(parts.len() == 3 && parts.concat() == line);
    }

    #[test]
    fn a_few_wrong_bytes_are_replaced_and_many_are_no_text() {
        let mut book = "Ordinary words. ".repeat(1000).into_bytes();
        book[5000] = 0xe9;
        book[6000] = 0;
        let text = documents(&book).unwrap().concat();
        assert_eq!((text.matches('\u{FFFD}').count(), text.matches('\0').count()), (1, 1));
        let binary: Vec<u8> = (0..=255).cycle().take(5000).collect();
        assert!(matches!(documents(&binary), Err(SourceError::Binary { offset: 0, .. })));
        assert!(matches!(documents(b" \n"), Err(SourceError::Empty { .. })));
    }
}
