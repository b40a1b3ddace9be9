//! What can go wrong with a bucket, whose fault it is, and what to do about it.

use std::io;
use std::time::Duration;
use templar_base::{AtFault, Fault};

/// Why an operation on a bucket failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BucketError {
    /// The key is not one that every backend can store; the caller is at fault.
    #[error("key {key:?} is invalid: {reason}; the caller is at fault")]
    InvalidKey {
        /// The refused key, cut to a printable length.
        key: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// The text is no bucket location; whoever published it is at fault.
    #[error(
        "bucket location {location:?} is invalid: {reason}; write file:///path, memory://name or s3://bucket?endpoint=http://host:port&region=name"
    )]
    InvalidLocation {
        /// The refused text, cut to a printable length.
        location: String,
        /// Which rule it breaks.
        reason: String,
    },
    /// There is no such object (or no such bucket).
    #[error("object {key:?} does not exist")]
    NotFound {
        /// The key asked for.
        key: String,
    },
    /// The object is larger than the caller allows; nothing was kept of it.
    #[error("object {key:?} has {size} bytes or more, over the limit of {limit}; its owner is at fault")]
    TooLarge {
        /// The key asked for.
        key: String,
        /// Its size as far as it is known, in bytes.
        size: u64,
        /// The caller's limit in bytes.
        limit: u64,
    },
    /// The bucket has other bytes than the agreed hash says; nothing was kept of them.
    #[error("object {key:?} is not the one with the agreed hash; its bucket is at fault")]
    WrongContent {
        /// The key asked for.
        key: String,
    },
    /// The range is empty or starts at or after the end of the object.
    #[error("range {start}..{end} of object {key:?} is empty or begins after its end")]
    RangeOutside {
        /// The key asked for.
        key: String,
        /// First byte asked for.
        start: u64,
        /// One past the last byte asked for.
        end: u64,
    },
    /// The bucket refuses the caller: no credentials, wrong ones, or those of another bucket.
    #[error("{operation} was refused: {reason}; {advice}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// The bucket's own words.
        reason: String,
        /// What the operator can do.
        advice: String,
    },
    /// Half of an access key, or a session token, cannot be sent or signed with.
    #[error("the {what} {reason}; set it again")]
    InvalidCredentials {
        /// `access key`, `secret key` or `session token`.
        what: &'static str,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// The bucket is in another region than its location says.
    #[error(
        "{operation} was refused: the bucket is in {region} (the server says so); add `&region={region}`{endpoint} to its \
         location"
    )]
    WrongRegion {
        /// What was asked.
        operation: &'static str,
        /// Where the bucket is.
        region: String,
        /// The endpoint there, as the continuation of the sentence; empty where the server names none.
        endpoint: String,
    },
    /// There is no such bucket, which a write or a listing needs.
    #[error("{operation} found no such bucket: {reason}; create it, or correct its name")]
    NoBucket {
        /// What was asked.
        operation: &'static str,
        /// The server's own words.
        reason: String,
    },
    /// The server cannot prove who it is.
    #[error("{operation} found a server that this machine does not trust: {reason}; {advice}")]
    Untrusted {
        /// What was asked.
        operation: &'static str,
        /// What is wrong with its certificate.
        reason: String,
        /// What the operator can do.
        advice: String,
    },
    /// The disk under the bucket is full; nothing was left behind.
    #[error("{operation} found the disk full: {reason}; free space or delete old windows, then try again")]
    Full {
        /// What was asked.
        operation: &'static str,
        /// The system's own words.
        reason: String,
    },
    /// The server cannot be reached or is overloaded; the same call may succeed later.
    #[error("{operation} could not reach the bucket: {reason}; check the endpoint and the network, or try again later")]
    Unreachable {
        /// What was asked.
        operation: &'static str,
        /// What the network or the server said.
        reason: String,
    },
    /// The call took longer than its deadline; a write may or may not have happened.
    #[error("{operation} did not finish within {} ms; try again later or raise the deadline", deadline.as_millis())]
    DeadlineExceeded {
        /// What was asked.
        operation: &'static str,
        /// The deadline of the call.
        deadline: Duration,
    },
    /// The server broke the protocol; it is at fault, trying again is of no use.
    #[error("{operation} got an answer that breaks the protocol: {reason}; the server is at fault")]
    Misbehaved {
        /// What was asked.
        operation: &'static str,
        /// What is wrong with the answer.
        reason: String,
    },
    /// Anything else, in this machine's own storage or in a request the server calls wrong.
    #[error("{operation} failed: {reason}")]
    Failed {
        /// What was asked.
        operation: &'static str,
        /// The system's or the server's own words.
        reason: String,
    },
}

impl BucketError {
    /// What the operator can do, where the error knows: it is a part of its text.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Refused { advice, .. } | Self::Untrusted { advice, .. } => Some(advice.clone()),
            Self::WrongRegion { region, endpoint, .. } => Some(format!("add `&region={region}`{endpoint}")),
            Self::NoBucket { .. } => Some("create the bucket, or correct its name".to_owned()),
            Self::InvalidCredentials { what, .. } => Some(format!("set the {what} again")),
            Self::Full { .. } => Some("free space on the server".to_owned()),
            Self::Unreachable { .. } | Self::DeadlineExceeded { .. } => {
                Some("check the endpoint, that its server runs, and the network".to_owned())
            }
            _ => None,
        }
    }

    /// Sorts an I/O error of the local disk. `key` is the object in question.
    pub(crate) fn from_io(operation: &'static str, key: &str, error: &io::Error) -> Self {
        let reason = error.to_string();
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound { key: key.to_owned() },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Refused { operation, reason, advice: "give this user the right to write there".to_owned() }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full { operation, reason }
            }
            // A key and a longer key below it cannot both be files of a folder.
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::DirectoryNotEmpty => {
                Self::InvalidKey { key: key.to_owned(), reason: "another key is a folder of this one, or the reverse" }
            }
            _ => Self::Failed { operation, reason },
        }
    }
}

impl AtFault for BucketError {
    fn fault(&self) -> Fault {
        match self {
            Self::Unreachable { .. } | Self::DeadlineExceeded { .. } => Fault::Passing,
            Self::NotFound { .. }
            | Self::InvalidLocation { .. }
            | Self::TooLarge { .. }
            | Self::WrongContent { .. }
            | Self::Misbehaved { .. } => Fault::Peer,
            Self::Refused { .. }
            | Self::InvalidCredentials { .. }
            | Self::WrongRegion { .. }
            | Self::NoBucket { .. }
            | Self::Untrusted { .. }
            | Self::Full { .. }
            | Self::Failed { .. } => Fault::Operator,
            Self::InvalidKey { .. } | Self::RangeOutside { .. } => Fault::Ours,
        }
    }
}

/// Cuts a hostile text to what fits in a log line.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut short: String = text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_its_own_error_and_is_not_retried() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = BucketError::from_io("put", "a", &full);
        assert!(matches!(error, BucketError::Full { .. }));
        assert!(!error.is_retryable());
    }

    #[test]
    fn hostile_text_is_cut_and_made_printable() {
        let short = shorten(&"\u{1b}é".repeat(1000));
        assert!(short.chars().count() <= 201);
        assert!(!short.contains('\u{1b}'));
    }
}
