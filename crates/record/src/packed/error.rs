//! Why a record file is not written or not read.

use std::io;
use std::path::PathBuf;
use templar_base::{BlockNumber, ContentHash, GenesisError, RunId};
use templar_disk::DiskError;

/// Why a record file is not written or not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackedError {
    /// The file cannot be opened.
    #[error("cannot read {}: {source}; check the path and its permissions", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] DiskError),
    /// The content cannot be compressed.
    #[error("cannot compress the record: {0}")]
    Compress(#[source] io::Error),
    /// The bytes begin otherwise.
    #[error("it does not begin as a record file; name a file that `templar record pack` wrote")]
    NotARecord,
    /// It is of a later version of the format.
    #[error("it is of version {found} of the format, this program reads {known}; use a newer program")]
    Version {
        /// The file's version.
        found: u8,
        /// What this program reads.
        known: u8,
    },
    /// The file ends within its head.
    #[error("it ends after {bytes} bytes, within its head; fetch the file again")]
    Short {
        /// Bytes that are there.
        bytes: usize,
    },
    /// The content is larger than any that this program reads.
    #[error("it says that it holds {bytes} bytes, over the limit of {limit}; whoever made it is at fault")]
    TooLarge {
        /// What the head says.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The compressed part does not decompress.
    #[error("its compressed part is damaged after {at} bytes of content: {source}; fetch the file again")]
    Compressed {
        /// Bytes that came out before.
        at: u64,
        /// What is wrong.
        source: io::Error,
    },
    /// The content is shorter or longer than the head says.
    #[error("its content has {actual} bytes or more, its head says {wanted}; fetch the file again")]
    Length {
        /// What the head says.
        wanted: u64,
        /// What there is.
        actual: u64,
    },
    /// Bytes follow the content.
    #[error("bytes follow its end; fetch the file again")]
    Trailing,
    /// The frame of an object is damaged.
    #[error("its content is damaged at byte {at}: {what}; fetch the file again")]
    Frame {
        /// The place in the content.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// An object is not what its hash says.
    #[error("its object {name} at byte {at} of the content is not what its hash says; fetch the file again")]
    Hash {
        /// The object.
        name: String,
        /// Where it begins in the content.
        at: u64,
    },
    /// The content is not what the head names.
    #[error("its content is {actual}, its head names {wanted}; fetch the file again")]
    Root {
        /// What the head names.
        wanted: ContentHash,
        /// What there is.
        actual: ContentHash,
    },
    /// An object does not parse.
    #[error("its object {name} does not parse: {source}; whoever made the file is at fault")]
    Object {
        /// The object.
        name: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// An object has another form than the one that this program writes.
    #[error("its object {name} is not in the form in which records are packed; whoever made the file is at fault")]
    Form {
        /// The object.
        name: String,
    },
    /// An object is missing.
    #[error("it lacks the object {name}; whoever made the file is at fault")]
    Missing {
        /// The object.
        name: &'static str,
    },
    /// An object has a name that no object has.
    #[error("it has an object {name}, which no record has; whoever made the file is at fault")]
    Unexpected {
        /// The object.
        name: String,
    },
    /// The genesis document cannot be used.
    #[error("its genesis document cannot be used")]
    Genesis(#[from] GenesisError),
    /// The rules of the genesis document cannot be used.
    #[error("its genesis document cannot be used")]
    Rules(#[source] Box<crate::RecordError>),
    /// The facts name another run than the genesis document.
    #[error("it says that it is of run {said}, but its genesis document is that of {actual}; its maker is at fault")]
    OtherRun {
        /// What the facts say.
        said: RunId,
        /// What the genesis document gives.
        actual: RunId,
    },
    /// A block is filed under another number.
    #[error("it has block {actual} under the number {said}; its maker is at fault")]
    OtherBlock {
        /// The name.
        said: BlockNumber,
        /// What the header says.
        actual: BlockNumber,
    },
}
