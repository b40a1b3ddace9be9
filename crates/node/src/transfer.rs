//! Objects whose hash is agreed, from whoever has them.

use crate::{NodeError, PublicRecord};
use bytes::Bytes;
use std::path::Path;
use templar_base::{ContentHash, PublicKey};
use templar_bucket::{Bucket, BucketError, Complaint, LargeObject, download, download_to_file};
use templar_round::ObjectKey;

/// An object that came, and what an operator should know of those who were to have it.
pub(crate) struct Fetched<T> {
    pub content: T,
    pub complaints: Vec<String>,
}

/// Where an object lies, and what it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub key: ObjectKey,
    pub hash: ContentHash,
    pub max_bytes: u64,
}

/// Whether a bucket gave something else than what was agreed, which is not the network's fault.
pub(crate) fn is_lie(error: &BucketError) -> bool {
    let has_other = matches!(error, BucketError::WrongContent { .. } | BucketError::TooLarge { .. });
    has_other || matches!(error, BucketError::Misbehaved { .. })
}

/// Fetches an object into memory from all these peers at once.
pub(crate) async fn fetch(
    record: &PublicRecord,
    wanted: Wanted,
    from: &[PublicKey],
) -> Result<Fetched<Bytes>, NodeError> {
    let (owners, sources) = readers(record, from).await?;
    let key = wanted.key.to_string();
    let delivery = download(&sources, &wanted.object(&key)).await?;
    Ok(Fetched { content: delivery.content, complaints: told(&owners, &key, delivery.complaints) })
}

/// Fetches an object into a file from all these peers at once; a broken-off call is gone on with.
pub(crate) async fn fetch_to_file(
    record: &PublicRecord,
    wanted: Wanted,
    from: &[PublicKey],
    path: &Path,
) -> Result<Fetched<u64>, NodeError> {
    let (owners, sources) = readers(record, from).await?;
    let key = wanted.key.to_string();
    let delivery = download_to_file(&sources, &wanted.object(&key), path).await?;
    Ok(Fetched { content: delivery.content, complaints: told(&owners, &key, delivery.complaints) })
}

impl Wanted {
    fn object<'a>(&self, key: &'a str) -> LargeObject<'a> {
        LargeObject { key, hash: *self.hash.as_bytes(), max_bytes: self.max_bytes }
    }
}

/// The peers whose buckets are known, and those buckets. Fails where none is.
async fn readers(record: &PublicRecord, from: &[PublicKey]) -> Result<(Vec<PublicKey>, Vec<Bucket>), NodeError> {
    let (mut owners, mut sources, mut last) = (Vec::new(), Vec::new(), None);
    for hotkey in from {
        match record.reader(*hotkey).await {
            Ok(bucket) => {
                owners.push(*hotkey);
                sources.push(bucket);
            }
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) if sources.is_empty() => Err(error),
        _ => Ok((owners, sources)),
    }
}

/// What did not go well, but for objects that some have not yet or no longer.
fn told(owners: &[PublicKey], key: &str, complaints: Vec<Complaint>) -> Vec<String> {
    let is_told = |complaint: &Complaint| !matches!(complaint.error, BucketError::NotFound { .. });
    let complaints = complaints.into_iter().filter(is_told);
    complaints
        .map(|complaint| format!("{key} from the bucket of {}: {}", owners[complaint.source].short(), complaint.error))
        .collect()
}
