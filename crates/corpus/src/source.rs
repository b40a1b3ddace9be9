//! Where text comes from: files, folders, JSON lines, Parquet columns, the synthetic grammar, memory.
//!
//! A source gives its documents one by one, always in the same order (files by sorted path), and as often as asked.

use crate::column::read_column;
use crate::documents::{DEEPEST_FOLDER, Documents, SourceError};
use crate::synthetic::synthetic_document;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The field of JSON lines, or the column of Parquet files, where nothing else is said.
pub const DEFAULT_FIELD: &str = "text";

/// A plain text file is one document up to this size; a larger one is cut at line ends, so that a book in one file
/// still gives documents to keep back.
const LARGEST_DOCUMENT_BYTES: usize = 256 << 10;

/// A line of JSON longer than this is no document, but a file of another kind.
const LONGEST_LINE_BYTES: usize = 64 << 20;

/// A source of documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file of plain text, or a folder of such files (`.txt`, `.text`, `.md`).
    Text(PathBuf),
    /// A file of JSON lines, or a folder of such files (`.jsonl`, `.ndjson`, `.json`); one document per line.
    JsonLines {
        /// The file or folder.
        path: PathBuf,
        /// The field with the text.
        field: String,
    },
    /// A Parquet file, or a folder of such files (`.parquet`); one document per row.
    Parquet {
        /// The file or folder.
        path: PathBuf,
        /// The column with the text; a dot goes into a group.
        column: String,
    },
    /// The synthetic grammar.
    Synthetic {
        /// The seed of the text.
        seed: u64,
        /// At least so many bytes of it.
        bytes: u64,
    },
    /// Documents in memory.
    Documents(Arc<Vec<String>>),
}

impl Source {
    /// The source of a path, by its ending; a folder is of the first kind of which it has a file. `field` is the field
    /// or column of the text.
    pub fn of_path(path: &Path, field: &str) -> Result<Self, SourceError> {
        let kinds = [
            Self::Text(path.to_path_buf()),
            Self::JsonLines { path: path.to_path_buf(), field: field.to_owned() },
            Self::Parquet { path: path.to_path_buf(), column: field.to_owned() },
        ];
        if !metadata(path)?.is_dir() {
            let of_ending = kinds.iter().find(|kind| kind.endings().is_some_and(|endings| ends_in(path, endings)));
            return Ok(of_ending.unwrap_or(&kinds[0]).clone());
        }
        for kind in kinds {
            match kind.files() {
                Ok(_) => return Ok(kind),
                Err(SourceError::NoFiles { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(SourceError::NoFiles { path: path.to_path_buf(), endings: ".txt, .md, .jsonl or .parquet".to_owned() })
    }

    /// What it is, for people.
    pub fn name(&self) -> String {
        match self {
            Self::Text(path) | Self::JsonLines { path, .. } | Self::Parquet { path, .. } => {
                path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
            }
            Self::Synthetic { seed, .. } => format!("synthetic text of seed {seed}"),
            Self::Documents(documents) => format!("{} documents", documents.len()),
        }
    }

    /// Its documents, without the empty ones. Files are found and sorted at once, and read one after the other.
    pub fn documents(&self) -> Result<Documents, SourceError> {
        match self {
            Self::Text(_) => Ok(file_by_file(self.files()?, text_documents)),
            Self::JsonLines { field, .. } => {
                let field = field.clone();
                Ok(file_by_file(self.files()?, move |path| json_documents(path, field.clone())))
            }
            Self::Parquet { column, .. } => {
                let column = column.clone();
                Ok(file_by_file(self.files()?, move |path| read_column(path, &column)))
            }
            Self::Synthetic { seed, bytes } => {
                let (seed, bytes) = (*seed, *bytes);
                let mut written = 0;
                Ok(Box::new((0..).map_while(move |number| {
                    if written >= bytes && number > 0 {
                        return None;
                    }
                    let document = synthetic_document(seed, number);
                    written += document.len() as u64;
                    Some(Ok(document))
                })))
            }
            Self::Documents(documents) => {
                let documents = Arc::clone(documents);
                let texts = (0..documents.len()).map(move |number| Ok(documents[number].clone()));
                Ok(Box::new(texts.filter(has_text)))
            }
        }
    }

    fn endings(&self) -> Option<&'static [&'static str]> {
        match self {
            Self::Text(_) => Some(&["txt", "text", "md"]),
            Self::JsonLines { .. } => Some(&["jsonl", "ndjson", "json"]),
            Self::Parquet { .. } => Some(&["parquet"]),
            Self::Synthetic { .. } | Self::Documents(_) => None,
        }
    }

    /// The files of the source: the path itself, or all below it that have the right ending, sorted.
    fn files(&self) -> Result<Vec<PathBuf>, SourceError> {
        let (Self::Text(path) | Self::JsonLines { path, .. } | Self::Parquet { path, .. }) = self else {
            return Ok(Vec::new());
        };
        if !metadata(path)?.is_dir() {
            return Ok(vec![path.clone()]);
        }
        let endings = self.endings().unwrap_or_default();
        let mut files = Vec::new();
        collect_files(path, endings, 0, &mut files)?;
        if files.is_empty() {
            let endings = endings.iter().map(|ending| format!(".{ending}")).collect::<Vec<_>>().join(", ");
            return Err(SourceError::NoFiles { path: path.clone(), endings });
        }
        // By bytes, so that no locale and no order of the file system changes the corpus.
        files.sort_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
        Ok(files)
    }
}

fn has_text(document: &Result<String, SourceError>) -> bool {
    !matches!(document, Ok(text) if text.trim().is_empty())
}

/// Reads files one after the other, and ends with the first error.
fn file_by_file(
    files: Vec<PathBuf>,
    read: impl Fn(&Path) -> Result<Documents, SourceError> + Send + 'static,
) -> Documents {
    let documents = files.into_iter().flat_map(move |path| match read(&path) {
        Ok(documents) => documents,
        Err(error) => Box::new(std::iter::once(Err(error))) as Documents,
    });
    let mut failed = false;
    Box::new(documents.filter(has_text).take_while(move |document| {
        let go_on = !failed;
        failed = document.is_err();
        go_on
    }))
}

fn text_documents(path: &Path) -> Result<Documents, SourceError> {
    let text = checked_text(path, std::fs::read(path).map_err(unreadable(path))?, 0)?;
    let mut start = 0;
    Ok(Box::new(std::iter::from_fn(move || {
        if start == text.len() {
            return None;
        }
        let end = start + document_end(&text[start..]);
        let document = text[start..end].to_owned();
        start = end;
        Some(Ok(document))
    })))
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

fn json_documents(path: &Path, field: String) -> Result<Documents, SourceError> {
    let path = path.to_path_buf();
    let mut reader = BufReader::with_capacity(1 << 20, File::open(&path).map_err(unreadable(&path))?);
    let (mut line, mut offset) = (0, 0);
    Ok(Box::new(std::iter::from_fn(move || {
        loop {
            let bytes = match read_line(&mut reader) {
                Ok(bytes) => bytes,
                Err(source) => return Some(Err(SourceError::Unreadable { path: path.clone(), source })),
            };
            if bytes.is_empty() {
                return None;
            }
            line += 1;
            let start = offset;
            offset += bytes.len() as u64;
            if bytes.len() > LONGEST_LINE_BYTES {
                let reason = format!("it is longer than {LONGEST_LINE_BYTES} bytes");
                return Some(Err(SourceError::NotJson { path: path.clone(), line, reason }));
            }
            let text = match checked_text(&path, bytes, start) {
                Ok(text) => text,
                Err(error) => return Some(Err(error)),
            };
            if !text.trim().is_empty() {
                return Some(json_text(&path, line, &text, &field));
            }
        }
    })))
}

/// The next line with its end, or nothing at the end; one byte more than the limit where it is longer.
fn read_line(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::take(reader, LONGEST_LINE_BYTES as u64 + 1).read_until(b'\n', &mut bytes)?;
    Ok(bytes)
}

fn json_text(path: &Path, line: u64, json: &str, field: &str) -> Result<String, SourceError> {
    let not_json = |reason: String| SourceError::NotJson { path: path.to_path_buf(), line, reason };
    let value: serde_json::Value = serde_json::from_str(json).map_err(|error| not_json(error.to_string()))?;
    let serde_json::Value::Object(mut object) = value else {
        return Err(not_json("it is another JSON value".to_owned()));
    };
    match object.get_mut(field).map(serde_json::Value::take) {
        Some(serde_json::Value::String(text)) => Ok(text),
        // An empty document, as some data sets write it.
        Some(serde_json::Value::Null) if object.contains_key(field) => Ok(String::new()),
        _ => {
            let fields = object.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            Err(SourceError::WrongField { path: path.to_path_buf(), line, field: field.to_owned(), fields })
        }
    }
}

/// The text of bytes that lie at `start` in a file; a byte order mark at the file's start is left out.
fn checked_text(path: &Path, bytes: Vec<u8>, start: u64) -> Result<String, SourceError> {
    let binary =
        |offset: usize, what| SourceError::Binary { path: path.to_path_buf(), offset: start + offset as u64, what };
    if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
        return Err(binary(offset, "NUL"));
    }
    let text = String::from_utf8(bytes).map_err(|error| binary(error.utf8_error().valid_up_to(), "no valid UTF-8"))?;
    match text.strip_prefix('\u{FEFF}') {
        Some(rest) if start == 0 => Ok(rest.to_owned()),
        _ => Ok(text),
    }
}

fn collect_files(folder: &Path, endings: &[&str], depth: usize, files: &mut Vec<PathBuf>) -> Result<(), SourceError> {
    if depth > DEEPEST_FOLDER {
        return Err(SourceError::TooDeep { path: folder.to_path_buf() });
    }
    for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
        let entry = entry.map_err(unreadable(folder))?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if metadata(&path)?.is_dir() {
            collect_files(&path, endings, depth + 1, files)?;
        } else if ends_in(&path, endings) {
            files.push(path);
        }
    }
    Ok(())
}

fn ends_in(path: &Path, endings: &[&str]) -> bool {
    path.extension().is_some_and(|ending| endings.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

fn metadata(path: &Path) -> Result<std::fs::Metadata, SourceError> {
    std::fs::metadata(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => SourceError::Missing { path: path.to_path_buf() },
        _ => SourceError::Unreadable { path: path.to_path_buf(), source },
    })
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> SourceError {
    let path = path.to_path_buf();
    move |source| SourceError::Unreadable { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};
    use tempfile::TempDir;

    fn texts(source: &Source) -> Result<Vec<String>, SourceError> {
        source.documents()?.collect()
    }

    fn folder(files: &[(&str, &[u8])]) -> TempDir {
        let folder = TempDir::new().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_gives_its_texts_by_sorted_path_without_hidden_and_other_files() {
        let folder = folder(&[
            ("b.txt", b"bee"),
            ("a/z.md", "\u{FEFF}zed".as_bytes()),
            ("a.TXT", b"ay"),
            ("empty.txt", b" \n"),
            (".hidden.txt", b"no"),
            ("image.png", b"\0"),
        ]);
        assert_eq!(texts(&Source::Text(folder.path().into())).unwrap(), ["ay", "zed", "bee"]);
        assert_eq!(Source::of_path(folder.path(), "text").unwrap(), Source::Text(folder.path().into()));
    }

    #[test]
    fn a_large_file_is_cut_into_documents_at_blank_lines() {
        let text = format!("{}\n\n", "word ".repeat(40)).repeat(3000);
        let folder = folder(&[("book.txt", text.as_bytes())]);
        let documents = texts(&Source::Text(folder.path().join("book.txt"))).unwrap();
        assert!(documents.len() >= 3);
        assert!(documents.iter().all(|part| part.len() <= LARGEST_DOCUMENT_BYTES && part.ends_with("\n\n")));
        assert_eq!(documents.concat(), text);
    }

    #[test]
    fn what_is_no_text_is_named() {
        let folder = folder(&[("nul.txt", b"ab\0c"), ("latin.txt", b"caf\xe9"), ("only.csv", b"x")]);
        let error = |name: &str| texts(&Source::Text(folder.path().join(name))).unwrap_err();
        assert!(matches!(error("nul.txt"), SourceError::Binary { offset: 2, what: "NUL", .. }));
        assert!(matches!(error("latin.txt"), SourceError::Binary { offset: 3, .. }));
        assert!(matches!(error("gone.txt"), SourceError::Missing { .. }));
        let none = Source::Parquet { path: folder.path().into(), column: "text".into() };
        assert!(matches!(texts(&none), Err(SourceError::NoFiles { .. })));
    }

    #[test]
    fn json_lines_give_their_field_and_name_the_wrong_line() {
        let folder = folder(&[
            ("good.jsonl", b"{\"text\":\"one\",\"id\":1}\n\n{\"text\":null}\n{\"text\":\"two\\n\"}"),
            ("bad.jsonl", b"{\"text\":\"one\"}\n{\"body\":\"x\",\"id\":2}\n{\"text\":\"never\"}\n"),
            ("not.jsonl", b"[1]\n"),
        ]);
        let source = |name: &str| Source::JsonLines { path: folder.path().join(name), field: "text".into() };
        assert_eq!(texts(&source("good.jsonl")).unwrap(), ["one", "two\n"]);
        let error = texts(&source("bad.jsonl")).unwrap_err();
        assert!(matches!(&error, SourceError::WrongField { line: 2, fields, .. } if fields == "body, id"), "{error}");
        assert!(matches!(texts(&source("not.jsonl")), Err(SourceError::NotJson { line: 1, .. })));
        let documents: Vec<_> = source("bad.jsonl").documents().unwrap().collect();
        assert_eq!(documents.len(), 2, "nothing comes after an error");
    }

    #[test]
    fn synthetic_text_is_a_source_too() {
        let source = Source::Synthetic { seed: 4, bytes: 9000 };
        assert_eq!(texts(&source).unwrap(), crate::synthetic::synthetic(4, 9000));
    }
}
