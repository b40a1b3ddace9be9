//! Objects whose hash is agreed, from whoever has them.

use crate::{PublicRecord, RecordError};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::mem::{Discriminant, discriminant};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use templar_base::{ContentHash, PublicKey};
use templar_bucket::{Bucket, BucketError, Complaint, LargeObject, download, download_to_file};
use templar_round::ObjectKey;

/// An object, and which of the peers that should have had it did not serve it.
#[derive(Debug)]
pub struct Fetched<T> {
    /// The object, checked against its hash.
    pub content: T,
    /// What went wrong at peers, for the operator.
    pub complaints: Vec<PeerComplaint>,
}

/// What a peer's bucket did wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerComplaint {
    /// The peer.
    pub owner: PublicKey,
    /// The object's name.
    pub key: String,
    /// What happened.
    pub error: BucketError,
}

impl std::fmt::Display for PeerComplaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} from the bucket of {}: {}", self.key, self.owner.short(), self.error)
    }
}

/// The last complaint about each peer: a bucket that fails in the same way in every window is worth one warning.
#[derive(Debug, Default)]
pub struct KnownComplaints {
    last: Mutex<BTreeMap<PublicKey, Discriminant<BucketError>>>,
}

impl KnownComplaints {
    /// Whether the peer's bucket did something else before, or nothing.
    pub fn is_news(&self, complaint: &PeerComplaint) -> bool {
        let kind = discriminant(&complaint.error);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.insert(complaint.owner, kind) != Some(kind)
    }
}

/// Where an object is stored, and what it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub key: ObjectKey,
    pub hash: ContentHash,
    pub max_bytes: u64,
}

/// Whether a bucket gave something else than what was agreed, which is not the network's fault.
pub fn is_lie(error: &BucketError) -> bool {
    let has_other = matches!(error, BucketError::WrongContent { .. } | BucketError::TooLarge { .. });
    has_other || matches!(error, BucketError::Misbehaved { .. })
}

/// Fetches an object into memory from all these peers at once.
pub(crate) async fn fetch(
    record: &PublicRecord,
    wanted: Wanted,
    from: &[PublicKey],
) -> Result<Fetched<Bytes>, RecordError> {
    let (owners, sources) = readers(record, from).await?;
    let key = wanted.key.to_string();
    let delivery = download(&sources, &wanted.object(&key)).await?;
    Ok(Fetched { content: delivery.content, complaints: reportable(&owners, &key, delivery.complaints) })
}

/// Fetches an object into a file from all these peers at once; an interrupted download is resumed.
pub(crate) async fn fetch_to_file(
    record: &PublicRecord,
    wanted: Wanted,
    from: &[PublicKey],
    path: &Path,
) -> Result<Fetched<u64>, RecordError> {
    let (owners, sources) = readers(record, from).await?;
    let key = wanted.key.to_string();
    let delivery = download_to_file(&sources, &wanted.object(&key), path).await?;
    Ok(Fetched { content: delivery.content, complaints: reportable(&owners, &key, delivery.complaints) })
}

impl Wanted {
    fn object<'a>(&self, key: &'a str) -> LargeObject<'a> {
        LargeObject { key, hash: *self.hash.as_bytes(), max_bytes: self.max_bytes }
    }
}

/// The peers whose buckets are known, and those buckets. Fails where none is.
async fn readers(record: &PublicRecord, from: &[PublicKey]) -> Result<(Vec<PublicKey>, Vec<Bucket>), RecordError> {
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

/// What did not go well, except for objects that some peers do not have yet or no longer have.
fn reportable(owners: &[PublicKey], key: &str, complaints: Vec<Complaint>) -> Vec<PeerComplaint> {
    let is_reportable = |complaint: &Complaint| !matches!(complaint.error, BucketError::NotFound { .. });
    let of_peer = |Complaint { source, error }| PeerComplaint { owner: owners[source], key: key.to_owned(), error };
    complaints.into_iter().filter(is_reportable).map(of_peer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_does_the_same_again_is_no_news_until_it_does_something_else() {
        let known = KnownComplaints::default();
        let is_news = |owner: u8, window: u64, error: BucketError| {
            let key = format!("window/{window}/aggregate");
            known.is_news(&PeerComplaint { owner: PublicKey::new([owner; 32]), key, error })
        };
        let wrong = |window: u64| BucketError::WrongContent { key: format!("window/{window}/aggregate") };
        let unreachable = || BucketError::Unreachable { operation: "get", reason: "refused".to_owned() };
        assert!(is_news(1, 5, wrong(5)));
        assert!(!is_news(1, 6, wrong(6)));
        assert!(is_news(2, 6, wrong(6)), "another peer");
        assert!(is_news(1, 7, unreachable()), "another fault");
        assert!(is_news(1, 8, wrong(8)));
    }
}
