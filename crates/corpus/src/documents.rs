//! What every kind of source gives: documents one by one, or the reason why there are none.

use std::io;
use std::path::PathBuf;

/// Folders deeper than this are a loop of links.
pub(crate) const DEEPEST_FOLDER: usize = 32;

/// Documents in order; after an error there are no more.
pub type Documents = Box<dyn Iterator<Item = Result<String, SourceError>> + Send>;

/// Why a source gives no text; the operator can fix it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The path leads nowhere.
    #[error("{path} does not exist: check the path")]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The system cannot read it.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A folder has no file of the kind.
    #[error("{path} holds no file that ends in {endings}")]
    NoFiles {
        /// The folder.
        path: PathBuf,
        /// The endings that were looked for.
        endings: String,
    },
    /// Folders within folders without end.
    #[error("{path} lies more than {DEEPEST_FOLDER} folders deep: is there a loop of links?")]
    TooDeep {
        /// The folder.
        path: PathBuf,
    },
    /// The file is not text.
    #[error("{path} is not text: byte {offset} is {what}; give UTF-8 text, or convert it")]
    Binary {
        /// The file.
        path: PathBuf,
        /// Where the first wrong byte is.
        offset: u64,
        /// What it is.
        what: &'static str,
    },
    /// There is no text at all.
    #[error("{name} has no text in it: every document is empty")]
    Empty {
        /// The source.
        name: String,
    },
    /// A line is not JSON.
    #[error("{path}, line {line}: this is not a JSON object: {reason}")]
    NotJson {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A line's object has no such text.
    #[error(
        "{path}, line {line}: there is no text in the field \"{field}\"; the fields are {fields}: name the right one"
    )]
    WrongField {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The field that was looked for.
        field: String,
        /// The fields that there are.
        fields: String,
    },
    /// The Parquet file has no such column of text.
    #[error("{path}: there is no text column \"{column}\"; the columns are {columns}: name the right one")]
    WrongColumn {
        /// The file.
        path: PathBuf,
        /// The column that was looked for.
        column: String,
        /// The columns that there are.
        columns: String,
    },
    /// The Parquet file cannot be decoded.
    #[error("{path} cannot be read as Parquet: {reason}")]
    NotParquet {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        reason: String,
    },
}
