//! What every kind of source gives: documents one by one, rows that give none, or the reason why there is no text.

use crate::TextKind;
use crate::rows::Tally;
use std::io;
use std::path::PathBuf;

/// Documents in order; after an error there are no more.
pub type Documents = Box<dyn Iterator<Item = Result<String, SourceError>> + Send>;

/// Why a source gives no text; the operator can fix it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The path leads nowhere.
    #[error("{} does not exist: check the path", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The system cannot read it.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What comes through a pipe cannot be kept.
    #[error(
        "cannot keep the text of {} in {}: {source}; set TMPDIR to a folder with more space, or write the text to a file",
        path.display(), folder.display()
    )]
    NotKept {
        /// The pipe.
        path: PathBuf,
        /// The folder for temporary files.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is neither a file nor a folder nor a pipe.
    #[error("{} is {what}: give a file, a folder or a pipe", path.display())]
    NotFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A folder has no file of any kind.
    #[error("{} has no text in it: {seen}; text is in files that end in {endings}, each also with .gz or .zst", path.display())]
    NoFiles {
        /// The folder.
        path: PathBuf,
        /// What there is instead.
        seen: String,
        /// The endings that were looked for.
        endings: String,
    },
    /// A folder has files of more kinds than one.
    #[error("{} has {}: which is the text is not clear", path.display(), kinds.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "))]
    MoreKinds {
        /// The folder.
        path: PathBuf,
        /// The kinds, with how many files each has and the first of them.
        kinds: Vec<KindFound>,
    },
    /// What can be read in a folder only describes what cannot.
    #[error("{} has {described} beside what only describes it ({read}): the data itself is not in a format that is read", path.display())]
    OnlyDescribed {
        /// The folder.
        path: PathBuf,
        /// What is not read.
        described: String,
        /// What could be read.
        read: String,
    },
    /// A large file was not fetched.
    #[error("{} is {pointer}", path.display())]
    Pointer {
        /// The file.
        path: PathBuf,
        /// What stands for it.
        pointer: templar_disk::Pointer,
    },
    /// The file is known, and is not text.
    #[error("{} is {what}, not text: {remedy}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// What makes text of it.
        remedy: &'static str,
    },
    /// The file has too many bytes that are in no text.
    #[error("{} is not UTF-8 text: {wrong} of the first {bytes} bytes are in no such text, the first of them byte {offset}, {what}", path.display())]
    Binary {
        /// The file.
        path: PathBuf,
        /// Where the first wrong byte is.
        offset: u64,
        /// Wrong bytes so far.
        wrong: u64,
        /// Bytes read.
        bytes: u64,
        /// What it is, and what can be done.
        what: &'static str,
    },
    /// The file is cut off or damaged.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is no text at all.
    #[error("{name} has no text in it: {why}")]
    Empty {
        /// The source.
        name: String,
        /// What it has instead.
        why: String,
    },
    /// Half of a file's rows or more cannot be read.
    #[error("{}, {first}; {wrong} of {rows} rows are like that", path.display())]
    WrongRows {
        /// The file.
        path: PathBuf,
        /// The first such row, and what is wrong with it.
        first: String,
        /// Rows that cannot be read.
        wrong: u64,
        /// Rows that there are.
        rows: u64,
    },
    /// The column has no text, but something else.
    #[error("{}: {what}; the columns of text are: {columns}", path.display())]
    WrongColumn {
        /// The file.
        path: PathBuf,
        /// What the column is.
        what: String,
        /// The columns with one text in each row.
        columns: String,
    },
    /// The file is not Parquet, or cannot be decoded.
    #[error("{} cannot be read as Parquet: {reason}", path.display())]
    NotParquet {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        reason: String,
    },
}

/// Files of one kind in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindFound {
    /// The kind.
    pub kind: TextKind,
    /// How many files are of it.
    pub files: usize,
    /// The first of them.
    pub first: PathBuf,
}

impl std::fmt::Display for KindFound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, files, first } = self;
        let first = first.display();
        match files {
            1 => write!(f, "1 file of {kind} ({first})"),
            files => write!(f, "{files} files of {kind} ({first}, …)"),
        }
    }
}

impl SourceError {
    /// What to do next, where that does not follow from the error.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::MoreKinds { .. } => {
                Some("say which with --text-kind text, json-lines, parquet or all; or name the files with --text")
            }
            Self::OnlyDescribed { .. } => {
                Some("write the data as Parquet or JSON lines; or take what is there with --text-kind all")
            }
            Self::NoFiles { .. } => Some("name the files themselves to have them read as plain text"),
            _ => None,
        }
    }

    /// A source without a document, with what it had instead.
    pub(crate) fn empty(name: &str, tally: &Tally) -> Self {
        Self::Empty { name: name.to_owned(), why: tally.to_string() }
    }

    pub(crate) fn unreadable(path: &std::path::Path) -> impl Fn(io::Error) -> Self + '_ {
        move |source| match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path: path.to_path_buf() },
            _ => Self::Unreadable { path: path.to_path_buf(), source },
        }
    }
}
