//! Copying within the server, and deleting many objects at once.

use std::fs::File;
use std::io;
use std::sync::Arc;

use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource, DeleteObjectsInput,
    DeleteObjectsOutput, DeletedObject, ETag, ETagCondition, Error, Range, UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{S3ErrorCode, S3Result, s3_error};
use templar_disk::{Draft, read_exact_at};

use super::attributes::Attributes;
use super::index::Facts;
use super::quota::Room;
use super::storage::{Storage, attributes_of, blocking, check_object_key, sort};
use super::uploads::{MAX_PARTS, Part};
use crate::PutMode;
use crate::object_folder::stage_in;

/// Most objects that one request deletes, as in S3.
const MAX_DELETES: usize = 1000;
/// Bytes that are copied at once.
const BLOCK_BYTES: u64 = 1 << 20;

/// An object that is copied from.
struct Origin {
    file: File,
    facts: Facts,
    bucket: String,
    key: String,
}

/// Conditions by tag are kept; by time, which has a second's grain, they are not offered.
fn refuse_times(has_times: bool) -> S3Result<()> {
    match has_times {
        true => Err(s3_error!(NotImplemented, "conditions by time for copying are not offered; use the source's tag")),
        false => Ok(()),
    }
}

impl Storage {
    /// Everybody may read, so that a key may copy from any bucket into its own.
    async fn origin(
        &self,
        source: CopySource,
        if_match: Option<&ETagCondition>,
        if_none_match: Option<&ETagCondition>,
    ) -> S3Result<Origin> {
        let CopySource::Bucket { bucket, key, version_id: None } = source else {
            return Err(s3_error!(
                NotImplemented,
                "a copy is made of the object of a bucket and key, without versions"
            ));
        };
        let opened = self.open(&bucket, &key, if_match, if_none_match).await;
        let (file, metadata) = opened.map_err(|error| match error.code() {
            S3ErrorCode::NotModified => s3_error!(PreconditionFailed, "the source has that tag"),
            _ => error,
        })?;
        Ok(Origin { file, facts: Facts::of(&metadata), bucket: bucket.into(), key: key.into() })
    }

    pub(super) async fn copy(&self, input: CopyObjectInput) -> S3Result<CopyObjectOutput> {
        check_object_key(&input.key)?;
        self.bucket(&input.bucket)?;
        let given: Attributes = attributes_of!(input);
        refuse_times(input.copy_source_if_modified_since.is_some() || input.copy_source_if_unmodified_since.is_some())?;
        let (if_match, if_none_match) = (input.copy_source_if_match.as_ref(), input.copy_source_if_none_match.as_ref());
        let origin = self.origin(input.copy_source, if_match, if_none_match).await?;
        let attributes = match input.metadata_directive.as_ref().map(|directive| directive.as_str()) {
            Some("REPLACE") => given,
            _ => self.attributes.of(&origin.bucket, &origin.key, &origin.facts.etag()),
        };
        let (staged, _room) = self.stage_range(&input.bucket, origin.file, 0..origin.facts.size).await?;
        let etag = self.publish((input.bucket, input.key), staged, PutMode::Replace, attributes).await?;
        let result = CopyObjectResult {
            e_tag: Some(ETag::Strong(etag)),
            last_modified: Some(std::time::SystemTime::now().into()),
            ..CopyObjectResult::default()
        };
        Ok(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() })
    }

    pub(super) async fn copy_part(&self, input: UploadPartCopyInput) -> S3Result<UploadPartCopyOutput> {
        if !(1..=MAX_PARTS).contains(&input.part_number) {
            return Err(s3_error!(InvalidArgument, "part numbers go from 1 to 10000"));
        }
        self.uploads.check(&input.upload_id, &input.bucket, &input.key)?;
        refuse_times(input.copy_source_if_modified_since.is_some() || input.copy_source_if_unmodified_since.is_some())?;
        let (if_match, if_none_match) = (input.copy_source_if_match.as_ref(), input.copy_source_if_none_match.as_ref());
        let origin = self.origin(input.copy_source, if_match, if_none_match).await?;
        let range = match &input.copy_source_range {
            None => 0..origin.facts.size,
            Some(text) => match Range::parse(text) {
                Ok(range) => range.check(origin.facts.size)?,
                Err(_) => return Err(s3_error!(InvalidArgument, "a range is written bytes=FIRST-LAST")),
            },
        };
        let (staged, room) = self.stage_range(&input.bucket, origin.file, range).await?;
        let etag = Facts::of(&std::fs::metadata(staged.path()).map_err(sort)?).etag();
        let part = Part { path: Arc::new(staged.close()), room: Arc::new(room), etag: etag.clone() };
        self.uploads.add(&input.upload_id, &input.bucket, &input.key, input.part_number, part)?;
        let result = CopyPartResult {
            e_tag: Some(ETag::Strong(etag)),
            last_modified: Some(std::time::SystemTime::now().into()),
            ..CopyPartResult::default()
        };
        Ok(UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() })
    }

    /// A staging file with a part of another one, and the room that it takes in its bucket.
    async fn stage_range(&self, bucket: &str, file: File, range: std::ops::Range<u64>) -> S3Result<(Draft, Room)> {
        let (start, length) = (range.start, range.end - range.start);
        if length > self.max_object_bytes {
            return Err(s3_error!(EntityTooLarge, "the object is over this server's limit"));
        }
        let room = self.quota.room(bucket, length)?;
        let staging = self.staging.clone();
        let copy = move || -> io::Result<Draft> {
            let mut staged = stage_in(&staging)?;
            let mut block = vec![0; BLOCK_BYTES.min(length) as usize];
            let mut done = 0;
            while done < length {
                let block = &mut block[..BLOCK_BYTES.min(length - done) as usize];
                read_exact_at(&file, block, start + done)?;
                staged.write(block)?;
                done += block.len() as u64;
            }
            Ok(staged)
        };
        Ok((blocking(copy).await.map_err(sort)?, room))
    }

    /// Removes the named objects, and tells of each that cannot be removed.
    pub(super) async fn remove_many(&self, input: DeleteObjectsInput) -> S3Result<DeleteObjectsOutput> {
        if input.delete.objects.len() > MAX_DELETES {
            return Err(s3_error!(MalformedXML, "one request deletes at most 1000 objects"));
        }
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in input.delete.objects {
            let key = object.key;
            let removed = match object.version_id.is_some() || object.e_tag.is_some() {
                true => Err(s3_error!(NotImplemented, "versions and conditions for deleting are not offered")),
                false => self.remove(input.bucket.clone(), key.clone()).await,
            };
            match removed {
                Ok(()) => deleted.push(DeletedObject { key: Some(key), ..DeletedObject::default() }),
                Err(error) => errors.push(Error {
                    key: Some(key),
                    code: Some(error.code().as_str().to_owned()),
                    message: error.message().map(str::to_owned),
                    ..Error::default()
                }),
            }
        }
        if input.delete.quiet == Some(true) {
            deleted.clear();
        }
        Ok(DeleteObjectsOutput {
            deleted: Some(deleted).filter(|deleted| !deleted.is_empty()),
            errors: Some(errors).filter(|errors| !errors.is_empty()),
            ..DeleteObjectsOutput::default()
        })
    }
}
