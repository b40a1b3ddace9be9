//! Multipart uploads under way. They live as long as the server: after a restart the client starts again. One that gets
//! no part for a day is ended: its client is dead.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use s3s::{S3Result, s3_error};
use templar_disk::DraftPath;

use super::attributes::Attributes;
use super::quota::Room;

/// S3's own limit.
pub(super) const MAX_PARTS: i32 = 10_000;

/// One part, waiting on the disk.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) path: Arc<DraftPath>,
    pub(super) room: Arc<Room>,
    pub(super) etag: String,
}

#[derive(Debug)]
struct Upload {
    bucket: String,
    key: String,
    /// For finding the oldest.
    number: u64,
    /// Of the object that it becomes.
    attributes: Attributes,
    parts: BTreeMap<i32, Part>,
    /// When it began or got its last part.
    touched: Instant,
}

/// The uploads under way, by their id. Parts that are dropped here delete their files.
#[derive(Debug)]
pub(super) struct Uploads {
    state: Mutex<State>,
    max_per_bucket: usize,
    max_object_bytes: u64,
}

#[derive(Debug, Default)]
struct State {
    next_number: u64,
    uploads: BTreeMap<String, Upload>,
}

impl Uploads {
    pub(super) fn new(max_per_bucket: usize, max_object_bytes: u64) -> Self {
        Self { state: Mutex::default(), max_per_bucket: max_per_bucket.max(1), max_object_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are under way.
    pub(super) fn count(&self) -> usize {
        self.lock().uploads.len()
    }

    /// Begins an upload and returns its id. Ends the oldest of the bucket if there are too many: a client that died
    /// never ends its own.
    pub(super) fn begin(&self, bucket: &str, key: &str, attributes: Attributes) -> String {
        let mut state = self.lock();
        let of_bucket = state.uploads.iter().filter(|(_, upload)| upload.bucket == bucket);
        if of_bucket.clone().count() >= self.max_per_bucket {
            let oldest = of_bucket.min_by_key(|(_, upload)| upload.number).map(|(id, _)| id.clone());
            if let Some(oldest) = oldest {
                state.uploads.remove(&oldest);
            }
        }
        let number = state.next_number;
        state.next_number += 1;
        // Distinct from those of an earlier life of the server, whose parts are gone.
        let id = format!("{}-{number}", std::process::id());
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let upload = Upload { bucket, key, number, attributes, parts: BTreeMap::new(), touched: Instant::now() };
        state.uploads.insert(id.clone(), upload);
        id
    }

    /// Adds or replaces a part.
    pub(super) fn add(&self, id: &str, bucket: &str, key: &str, number: i32, part: Part) -> S3Result<()> {
        let mut state = self.lock();
        let upload = find(&mut state, id, bucket, key)?;
        let others = upload.parts.iter().filter(|(other, _)| **other != number).map(|(_, part)| part.room.bytes());
        if others.sum::<u64>().saturating_add(part.room.bytes()) > self.max_object_bytes {
            return Err(s3_error!(EntityTooLarge, "the parts together are over this server's limit for an object"));
        }
        upload.parts.insert(number, part);
        upload.touched = Instant::now();
        Ok(())
    }

    /// Fails early for a part that has nowhere to go.
    pub(super) fn check(&self, id: &str, bucket: &str, key: &str) -> S3Result<()> {
        find(&mut self.lock(), id, bucket, key).map(|_| ())
    }

    /// The named parts in order, each with the tag that the client saw; and the attributes of the object.
    pub(super) fn parts(
        &self,
        id: &str,
        bucket: &str,
        key: &str,
        wanted: &[(i32, Option<String>)],
    ) -> S3Result<(Vec<Part>, Attributes)> {
        let mut state = self.lock();
        let upload = find(&mut state, id, bucket, key)?;
        if wanted.is_empty() {
            return Err(s3_error!(InvalidRequest, "an upload ends with at least one part"));
        }
        if wanted.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            return Err(s3_error!(InvalidPartOrder, "part numbers must rise"));
        }
        let mut parts = Vec::with_capacity(wanted.len());
        for (number, etag) in wanted {
            match upload.parts.get(number) {
                Some(part) if etag.as_ref().is_none_or(|etag| *etag == part.etag) => parts.push(part.clone()),
                _ => return Err(s3_error!(InvalidPart, "a part is missing or has another tag")),
            }
        }
        Ok((parts, upload.attributes.clone()))
    }

    /// Ends the uploads that got nothing for this long. It deletes files: do not call it on an async thread.
    pub(super) fn expire(&self, timeout: Duration) {
        // Files are deleted without the lock.
        let expired: Vec<Upload> = {
            let mut state = self.lock();
            let is_over = |_: &String, upload: &mut Upload| upload.touched.elapsed() >= timeout;
            state.uploads.extract_if(.., is_over).map(|(_, upload)| upload).collect()
        };
        for upload in expired {
            tracing::info!(bucket = upload.bucket, key = upload.key, "an unfinished upload expired");
        }
    }

    /// Forgets an upload and deletes its parts.
    pub(super) fn end(&self, id: &str, bucket: &str, key: &str) -> S3Result<()> {
        let mut state = self.lock();
        find(&mut state, id, bucket, key)?;
        state.uploads.remove(id);
        Ok(())
    }
}

fn find<'a>(state: &'a mut State, id: &str, bucket: &str, key: &str) -> S3Result<&'a mut Upload> {
    match state.uploads.get_mut(id) {
        Some(upload) if upload.bucket == bucket && upload.key == key => Ok(upload),
        _ => Err(s3_error!(NoSuchUpload, "there is no such upload, or it expired; restart it")),
    }
}
