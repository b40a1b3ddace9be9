//! The kinds of files that hold text, by their endings and their names.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// A kind of file that holds text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TextKind {
    /// Plain text: a document for each file, or several of a large one.
    Text,
    /// JSON: a document for each line, or for each element of a list.
    JsonLines,
    /// Parquet: a document for each row.
    Parquet,
}

impl TextKind {
    pub(crate) const ALL: [Self; 3] = [Self::Text, Self::JsonLines, Self::Parquet];

    pub(crate) fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["txt", "text", "md"],
            Self::JsonLines => &["jsonl", "ndjson", "json"],
            Self::Parquet => &["parquet"],
        }
    }
}

impl fmt::Display for TextKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "plain text",
            Self::JsonLines => "JSON lines",
            Self::Parquet => "Parquet",
        })
    }
}

/// Which files of a folder are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KindChoice {
    /// Those of the only kind that there is. Where there are JSON lines or Parquet, a README, a licence and the like are
    /// left out.
    #[default]
    Auto,
    /// Those of one kind.
    Only(TextKind),
    /// All.
    All,
}

impl KindChoice {
    /// The names of all choices.
    pub const NAMES: [&'static str; 5] = ["auto", "text", "json-lines", "parquet", "all"];
}

/// The name is none of [`KindChoice::NAMES`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no such kind; the kinds are {}", KindChoice::NAMES.join(", "))]
pub struct UnknownKind;

impl FromStr for KindChoice {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        match name {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Only(TextKind::Text)),
            "json-lines" => Ok(Self::Only(TextKind::JsonLines)),
            "parquet" => Ok(Self::Only(TextKind::Parquet)),
            "all" => Ok(Self::All),
            _ => Err(UnknownKind),
        }
    }
}

/// The ending of a file's name, without that of a packing.
fn ending(path: &Path) -> Option<&OsStr> {
    let is_packing = |ending: &OsStr| ["gz", "gzip", "zst", "zstd"].iter().any(|it| ending.eq_ignore_ascii_case(it));
    match path.extension()? {
        packing if is_packing(packing) => Path::new(path.file_stem()?).extension(),
        ending => Some(ending),
    }
}

/// The kind that a file's ending names.
pub(crate) fn ending_kind(path: &Path) -> Option<TextKind> {
    let ending = ending(path)?;
    TextKind::ALL.into_iter().find(|kind| kind.endings().iter().any(|it| ending.eq_ignore_ascii_case(it)))
}

/// Whether the ending is that of rows and of whole documents of JSON, such as settings.
pub(crate) fn may_be_document(path: &Path) -> bool {
    ending(path).is_some_and(|ending| ending.eq_ignore_ascii_case("json"))
}

/// Endings of tables, which plain text is made of only with their separators and quotes.
const TABLES: [&str; 4] = ["csv", "tsv", "tab", "psv"];

/// Whether the ending is that of a table of text.
pub(crate) fn is_table(path: &Path) -> bool {
    ending(path).is_some_and(|ending| TABLES.iter().any(|it| ending.eq_ignore_ascii_case(it)))
}

/// Beginnings of the names of files that describe data.
const DESCRIPTIONS: [&str; 14] = [
    "readme",
    "license",
    "licence",
    "copying",
    "copyright",
    "notice",
    "authors",
    "citation",
    "changelog",
    "changes",
    "contributing",
    "code_of_conduct",
    "datasheet",
    "dataset_card",
];

/// Beginnings of the names of JSON documents that describe a data set.
const SETTINGS: [&str; 5] = ["dataset_info", "dataset_dict", "state.json", "metadata", "croissant"];

/// Whether a JSON document is what comes beside data: its features, its files.
pub(crate) fn is_settings(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    SETTINGS.iter().any(|start| name.starts_with(start))
}

/// Whether a file of text is what comes beside data: a description, a licence.
pub(crate) fn is_description(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase().replace(['-', ' '], "_");
    DESCRIPTIONS.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_and_names_tell_the_kind() {
        let kind = |name: &str| ending_kind(Path::new(name));
        assert_eq!(kind("a/b.TXT"), Some(TextKind::Text));
        assert_eq!(kind("b.JsonL.gz"), Some(TextKind::JsonLines));
        assert_eq!(kind("b.json"), Some(TextKind::JsonLines));
        assert_eq!(kind("b.parquet"), Some(TextKind::Parquet));
        assert_eq!((kind("b.gz"), kind("b"), kind("b.csv"), kind(".txt")), (None, None, None, None));
        assert!(is_description(Path::new("x/README_en.md")) && is_description(Path::new("Licence.txt")));
        assert!(is_description(Path::new("Dataset Card.md")) && !is_description(Path::new("book.txt")));
        assert!(is_table(Path::new("a.CSV.gz")) && !is_table(Path::new("csv")));
        for name in KindChoice::NAMES {
            name.parse::<KindChoice>().unwrap();
        }
        assert!("csv".parse::<KindChoice>().unwrap_err().to_string().contains("json-lines"));
    }
}
