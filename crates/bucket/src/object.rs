//! Objects, as far as a bucket knows them.

use std::ops::Range;
use std::time::SystemTime;

use crate::BucketError;

/// What happens to an existing object of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutMode {
    /// It is replaced.
    Replace,
    /// It stays: of any number of racing callers, one creates the object.
    Create,
}

impl PutMode {
    /// The name of the operation in errors.
    pub(crate) fn operation(self) -> &'static str {
        match self {
            Self::Replace => "put",
            Self::Create => "put if absent",
        }
    }
}

/// What a put found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object is stored, and it is ours.
    Created,
    /// There was an object already; it is unchanged.
    AlreadyExists,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEntry {
    /// Its key.
    pub key: String,
    /// Its size in bytes, as the bucket reports it.
    pub size: u64,
}

/// What a bucket knows of an object, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFacts {
    /// Its size in bytes.
    pub size: u64,
    /// When it was stored, by the bucket's own clock and mostly in whole seconds: for people, never for an order.
    pub modified: SystemTime,
}

/// One page of a listing, sorted by the bytes of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// The objects.
    pub objects: Vec<ObjectEntry>,
    /// What to pass as `after` for the next page; `None` at the end.
    pub next_after: Option<String>,
}

/// Cuts a range at the end of an object of `size` bytes.
pub(crate) fn clip(key: &str, range: Range<u64>, size: u64) -> Result<Range<u64>, BucketError> {
    if range.start >= size || range.is_empty() {
        return Err(BucketError::RangeOutside { key: key.to_owned(), start: range.start, end: range.end });
    }
    Ok(range.start..range.end.min(size))
}

/// Checks an object's size against the limit of the caller.
pub(crate) fn check_size(key: &str, size: u64, limit: u64) -> Result<(), BucketError> {
    match size > limit {
        true => Err(BucketError::TooLarge { key: key.to_owned(), size, limit }),
        false => Ok(()),
    }
}
