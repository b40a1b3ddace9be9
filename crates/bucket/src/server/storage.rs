//! The operations of the server, over one [`ObjectFolder`] a bucket.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http::StatusCode;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CopyObjectInput, CopyObjectOutput, CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, ETag,
    ETagCondition, GetBucketLocationInput, GetBucketLocationOutput, GetObjectInput, GetObjectOutput, HeadBucketInput,
    HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListBucketsInput, ListBucketsOutput, ListObjectsInput,
    ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, PutObjectInput, PutObjectOutput, StreamingBlob,
    UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use templar_disk::{Draft, read_exact_at};

use super::attributes::{AttributeStore, Attributes};
use super::index::{Facts, Index};
use super::integrity::Integrity;
use super::quota::{Quota, Room};
use super::uploads::{MAX_PARTS, Part, Uploads};
use super::{KeyRing, ServerOptions};
use crate::location::is_bucket_name;
use crate::object_folder::{ObjectFolder, stage_in};
use crate::{PutMode, PutOutcome, check_key};

/// Bytes that go to and from the disk at once. Smaller blocks pay for a thread switch too often: with 4 KiB a read of a
/// large object is about seven times slower.
const BLOCK_BYTES: usize = 1 << 20;

/// All buckets of the server.
#[derive(Debug)]
pub(super) struct Storage {
    pub(super) root: PathBuf,
    pub(super) staging: PathBuf,
    pub(super) keys: KeyRing,
    pub(super) uploads: Arc<Uploads>,
    pub(super) quota: Arc<Quota>,
    pub(super) index: Arc<Index>,
    pub(super) attributes: Arc<AttributeStore>,
    pub(super) max_object_bytes: u64,
}

/// What a client says of an object in a request that makes one. The inputs have the same fields and no common type.
macro_rules! attributes_of {
    ($input:expr) => {{
        let input = &$input;
        let is_unsupported = [
            (input.tagging.is_some(), "tags are not offered"),
            (input.server_side_encryption.is_some(), "encryption by the server is not offered"),
            (input.sse_customer_algorithm.is_some(), "encryption by the server is not offered"),
            (input.website_redirect_location.is_some(), "redirects are not offered"),
            (input.object_lock_mode.is_some(), "object locks are not offered"),
            (input.expires.is_some(), "the header Expires is not kept"),
            (
                input.storage_class.as_ref().is_some_and(|class| class.as_str() != "STANDARD"),
                "the only storage class is STANDARD",
            ),
        ];
        if let Some((_, what)) = is_unsupported.into_iter().find(|(is_asked, _)| *is_asked) {
            return Err(s3_error!(NotImplemented, "{what}"));
        }
        // Of the transfer, not of the object.
        let encoding = input.content_encoding.as_deref().unwrap_or_default().split(',').map(str::trim);
        let encoding =
            encoding.filter(|name| !name.is_empty() && *name != "aws-chunked").collect::<Vec<_>>().join(", ");
        // What a client says where it knows nothing.
        let nothing = ["application/octet-stream", "binary/octet-stream"];
        Attributes {
            content_type: input.content_type.clone().filter(|kind| !nothing.contains(&kind.as_str())),
            cache_control: input.cache_control.clone(),
            content_disposition: input.content_disposition.clone(),
            content_encoding: Some(encoding).filter(|encoding| !encoding.is_empty()),
            content_language: input.content_language.clone(),
            metadata: input.metadata.clone().unwrap_or_default().into_iter().collect(),
        }
        .checked()?
    }};
}
pub(super) use attributes_of;

impl Storage {
    /// The buckets below `root`, whose objects are looked through.
    pub(super) fn load(
        root: PathBuf,
        staging: PathBuf,
        keys: KeyRing,
        uploads: Arc<Uploads>,
        options: &ServerOptions,
    ) -> io::Result<Self> {
        let index = Arc::new(Index::load(&root)?);
        Ok(Self {
            quota: Arc::new(Quota::new(options.max_bucket_bytes, Arc::clone(&index))),
            index,
            attributes: Arc::new(AttributeStore::open(&root)),
            root,
            staging,
            keys,
            uploads,
            max_object_bytes: options.max_object_bytes,
        })
    }

    pub(super) fn bucket(&self, name: &str) -> S3Result<ObjectFolder> {
        if !is_bucket_name(name) {
            return Err(s3_error!(InvalidBucketName, "a bucket name has 3 to 63 lower-case letters, digits, - and ."));
        }
        Ok(ObjectFolder::with_staging(self.root.join(name), self.staging.clone()))
    }

    /// Whether there is such a bucket: somebody wrote to it, or may.
    pub(super) fn exists(&self, name: &str) -> bool {
        self.root.join(name).is_dir() || self.keys.knows_bucket(name)
    }

    fn missing(&self, bucket: &str) -> S3Error {
        match self.exists(bucket) {
            true => s3_error!(NoSuchKey, "there is no such object"),
            false => s3_error!(NoSuchBucket, "there is no such bucket"),
        }
    }

    /// Opens an object, on a blocking thread, after the conditions of the request.
    pub(super) async fn open(
        &self,
        bucket: &str,
        key: &str,
        if_match: Option<&ETagCondition>,
        if_none_match: Option<&ETagCondition>,
    ) -> S3Result<(File, Metadata)> {
        check_object_key(key)?;
        let store = self.bucket(bucket)?;
        let owned_key = key.to_owned();
        let opened = blocking(move || store.open(&owned_key)).await;
        let (file, metadata) = match opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(self.missing(bucket)),
            Err(error) => return Err(sort(error)),
        };
        let etag = Facts::of(&metadata).etag();
        let holds = |condition: &ETagCondition| match condition.as_etag() {
            Some(wanted) => wanted.value() == etag,
            None => true,
        };
        if if_match.is_some_and(|condition| !holds(condition)) {
            return Err(s3_error!(PreconditionFailed, "the object has another tag"));
        }
        if if_none_match.is_some_and(holds) {
            return Err(s3_error!(NotModified));
        }
        Ok((file, metadata))
    }

    /// Names a staged object, on a blocking thread; returns its tag.
    pub(super) async fn publish(
        &self,
        (bucket, key): (String, String),
        mut staged: Draft,
        mode: PutMode,
        attributes: Attributes,
    ) -> S3Result<String> {
        let (store, index) = (self.bucket(&bucket)?, Arc::clone(&self.index));
        let kept = Arc::clone(&self.attributes);
        let published = blocking(move || {
            // Flushed before the lock, so that a slow disk keeps nobody else waiting.
            staged.sync()?;
            let facts = Facts::of(&std::fs::metadata(staged.path())?);
            let etag = index.change(&bucket, &key, || match store.publish(staged, &key, mode)? {
                // Where its attributes cannot be kept, the object is there all the same.
                PutOutcome::Created => {
                    let kept = kept.keep(&bucket, &key, &facts.etag(), &attributes);
                    Ok((kept.map(|()| Some(facts.etag())), Some(facts)))
                }
                // There is a file; where another program put it there, the entry is new.
                PutOutcome::AlreadyExists => Ok((Ok(None), Some(Facts::of(&store.open(&key)?.1)))),
            });
            etag?
        });
        let etag = published.await.map_err(sort)?;
        etag.ok_or_else(|| s3_error!(PreconditionFailed, "the object exists already"))
    }

    /// Removes an object with its attributes; none is no error.
    pub(super) async fn remove(&self, bucket: String, key: String) -> S3Result<()> {
        check_object_key(&key)?;
        let store = self.bucket(&bucket)?;
        if !self.root.join(&bucket).is_dir() {
            return Ok(());
        }
        let (index, kept) = (Arc::clone(&self.index), Arc::clone(&self.attributes));
        let delete = move || {
            index.change(&bucket, &key, || {
                store.delete(&key)?;
                kept.forget(&bucket, &key)?;
                Ok(((), None))
            })
        };
        blocking(delete).await.map_err(sort)
    }

    /// Takes a body into a staging file, a block at a time; with the room that it takes in its bucket.
    async fn receive(
        &self,
        bucket: &str,
        body: Option<StreamingBlob>,
        announced: Option<i64>,
        mut integrity: Integrity,
    ) -> S3Result<(Draft, Room)> {
        let too_large = || s3_error!(EntityTooLarge, "the object is over this server's limit");
        if announced.is_some_and(|length| length.unsigned_abs() > self.max_object_bytes) {
            return Err(too_large());
        }
        let mut room = self.quota.room(bucket, announced.map_or(0, i64::unsigned_abs))?;
        let staging = self.staging.clone();
        let mut staged = blocking(move || stage_in(&staging)).await.map_err(sort)?;
        let (mut size, mut block) = (0u64, Vec::new());
        let mut body = body;
        while let Some(stream) = body.as_mut() {
            let piece = match stream.next().await {
                Some(Ok(piece)) => piece,
                None => break,
                Some(Err(error)) => {
                    tracing::debug!(%error, "an upload broke off");
                    return Err(s3_error!(IncompleteBody, "the body broke off or does not match its signature"));
                }
            };
            size += piece.len() as u64;
            if size > self.max_object_bytes {
                return Err(too_large());
            }
            room.grow_to(size)?;
            integrity.update(&piece);
            block.extend_from_slice(&piece);
            if block.len() >= BLOCK_BYTES {
                (staged, block) = write_block(staged, block).await?;
            }
        }
        if announced.is_some_and(|length| length.unsigned_abs() != size) {
            return Err(s3_error!(IncompleteBody, "the body is shorter than announced"));
        }
        integrity.check()?;
        (staged, _) = write_block(staged, block).await?;
        Ok((staged, room))
    }
}

async fn write_block(mut staged: Draft, mut block: Vec<u8>) -> S3Result<(Draft, Vec<u8>)> {
    blocking(move || {
        staged.write(&block)?;
        block.clear();
        Ok((staged, block))
    })
    .await
    .map_err(sort)
}

/// What a write does with an existing object. Conditions that are not understood are rejected, never ignored: the client
/// relies on them.
fn put_mode(if_match: Option<&ETagCondition>, if_none_match: Option<&ETagCondition>) -> S3Result<PutMode> {
    match (if_match, if_none_match) {
        (None, None) => Ok(PutMode::Replace),
        (None, Some(condition)) if condition.is_any() => Ok(PutMode::Create),
        _ => Err(s3_error!(NotImplemented, "of the conditions for writing, only If-None-Match: * is offered")),
    }
}

pub(super) fn check_object_key(key: &str) -> S3Result<()> {
    check_key(key).map_err(|error| S3Error::with_message(S3ErrorCode::InvalidArgument, error.to_string()))
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Sorts an error of the disk into one that tells the client what to do.
pub(super) fn sort(error: io::Error) -> S3Error {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            let text = "the disk of the server is full; what is stored is safe: free space on it and write again";
            let mut full = s3_error!(InternalError, "{text}");
            full.set_code(S3ErrorCode::Custom("InsufficientStorage".into()));
            full.set_status_code(StatusCode::INSUFFICIENT_STORAGE);
            full
        }
        ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::DirectoryNotEmpty => {
            s3_error!(InvalidArgument, "another key is a folder of this one, or the reverse")
        }
        _ => {
            tracing::warn!(%error, "the disk failed");
            s3_error!(InternalError, "the disk of the server failed")
        }
    }
}

/// The bytes of `range`, a block at a time.
fn blocks_of(file: File, range: Range<u64>) -> StreamingBlob {
    let next = move |(file, range): (File, Range<u64>)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        blocking(move || {
            let length = (range.end - range.start).min(BLOCK_BYTES as u64) as usize;
            let mut block = vec![0; length];
            read_exact_at(&file, &mut block, range.start)?;
            Ok(Some((Bytes::from(block), (file, range.start + length as u64..range.end))))
        })
        .await
    };
    StreamingBlob::wrap(stream::try_unfold((file, range), next))
}

#[async_trait::async_trait]
impl S3 for Storage {
    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let name = req.input.bucket;
        self.bucket(&name)?;
        let folder = self.root.join(&name);
        blocking(move || std::fs::create_dir_all(folder)).await.map_err(sort)?;
        Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{name}")) }))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        match is_bucket_name(&req.input.bucket) && self.exists(&req.input.bucket) {
            true => Ok(S3Response::new(HeadBucketOutput::default())),
            false => Err(s3_error!(NoSuchBucket, "there is no such bucket")),
        }
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let integrity = Integrity::of(&req.headers, req.trailing_headers);
        let input = req.input;
        check_object_key(&input.key)?;
        self.bucket(&input.bucket)?;
        let mode = put_mode(input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let attributes = attributes_of!(input);
        let (staged, _room) = self.receive(&input.bucket, input.body, input.content_length, integrity).await?;
        let etag = self.publish((input.bucket, input.key), staged, mode, attributes).await?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(ETag::Strong(etag)), ..PutObjectOutput::default() }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let (file, metadata) =
            self.open(&input.bucket, &input.key, input.if_match.as_ref(), input.if_none_match.as_ref()).await?;
        let facts = Facts::of(&metadata);
        let size = facts.size;
        let (range, content_range) = match input.range {
            None => (0..size, None),
            Some(range) => {
                let range = range.check(size)?;
                let text = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
                (range, Some(text))
            }
        };
        let attributes = self.attributes.of(&input.bucket, &input.key, &facts.etag());
        let output = GetObjectOutput {
            content_type: attributes.content_type,
            cache_control: attributes.cache_control,
            content_disposition: attributes.content_disposition,
            content_encoding: attributes.content_encoding,
            content_language: attributes.content_language,
            metadata: Some(attributes.metadata.into_iter().collect()),
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(range.end - range.start).ok(),
            content_range,
            body: Some(blocks_of(file, range)),
            e_tag: Some(ETag::Strong(facts.etag())),
            last_modified: Some(facts.modified.into()),
            ..GetObjectOutput::default()
        };
        Ok(S3Response::new(output))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        let (_, metadata) =
            self.open(&input.bucket, &input.key, input.if_match.as_ref(), input.if_none_match.as_ref()).await?;
        let facts = Facts::of(&metadata);
        let attributes = self.attributes.of(&input.bucket, &input.key, &facts.etag());
        let output = HeadObjectOutput {
            content_type: attributes.content_type,
            cache_control: attributes.cache_control,
            content_disposition: attributes.content_disposition,
            content_encoding: attributes.content_encoding,
            content_language: attributes.content_language,
            metadata: Some(attributes.metadata.into_iter().collect()),
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(facts.size).ok(),
            e_tag: Some(ETag::Strong(facts.etag())),
            last_modified: Some(facts.modified.into()),
            ..HeadObjectOutput::default()
        };
        Ok(S3Response::new(output))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = req.input;
        if input.if_match.is_some() {
            return Err(s3_error!(NotImplemented, "conditions for deleting are not offered"));
        }
        self.remove(input.bucket, input.key).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(&self, req: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.remove_many(req.input).await.map(S3Response::new)
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        self.copy(req.input).await.map(S3Response::new)
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        self.copy_part(req.input).await.map(S3Response::new)
    }

    async fn list_buckets(&self, req: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let access_key = req.credentials.map(|credentials| credentials.access_key).unwrap_or_default();
        Ok(S3Response::new(self.buckets_of(&access_key)))
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        match is_bucket_name(&req.input.bucket) && self.exists(&req.input.bucket) {
            // No constraint is S3's word for us-east-1, which is what clients take where none is set.
            true => Ok(S3Response::new(GetBucketLocationOutput::default())),
            false => Err(s3_error!(NoSuchBucket, "there is no such bucket")),
        }
    }

    async fn list_objects(&self, req: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        self.list_v1(req.input).map(S3Response::new)
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.list_v2(req.input).map(S3Response::new)
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = req.input;
        check_object_key(&input.key)?;
        self.bucket(&input.bucket)?;
        let id = self.uploads.begin(&input.bucket, &input.key, attributes_of!(input));
        let output = CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..CreateMultipartUploadOutput::default()
        };
        Ok(S3Response::new(output))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let integrity = Integrity::of(&req.headers, req.trailing_headers);
        let input = req.input;
        if !(1..=MAX_PARTS).contains(&input.part_number) {
            return Err(s3_error!(InvalidArgument, "part numbers go from 1 to 10000"));
        }
        self.uploads.check(&input.upload_id, &input.bucket, &input.key)?;
        let (staged, room) = self.receive(&input.bucket, input.body, input.content_length, integrity).await?;
        let etag = Facts::of(&std::fs::metadata(staged.path()).map_err(sort)?).etag();
        let part = Part { path: Arc::new(staged.close()), room: Arc::new(room), etag: etag.clone() };
        self.uploads.add(&input.upload_id, &input.bucket, &input.key, input.part_number, part)?;
        Ok(S3Response::new(UploadPartOutput { e_tag: Some(ETag::Strong(etag)), ..UploadPartOutput::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        check_object_key(&input.key)?;
        self.bucket(&input.bucket)?;
        let mode = put_mode(input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let listed = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let wanted: Vec<_> = listed
            .into_iter()
            .map(|part| (part.part_number.unwrap_or_default(), part.e_tag.map(|etag| etag.value().to_owned())))
            .collect();
        let (parts, attributes) = self.uploads.parts(&input.upload_id, &input.bucket, &input.key, &wanted)?;
        let staging = self.staging.clone();
        let joined = blocking(move || {
            let mut joined = stage_in(&staging)?;
            for part in &parts {
                if joined.append(part.path.as_path())? != part.room.bytes() {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            }
            Ok(joined)
        });
        let name = (input.bucket.clone(), input.key.clone());
        let etag = self.publish(name, joined.await.map_err(sort)?, mode, attributes).await?;
        // Another request may have ended it meanwhile; the object is there all the same.
        let _ = self.uploads.end(&input.upload_id, &input.bucket, &input.key);
        let output = CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(etag)),
            ..CompleteMultipartUploadOutput::default()
        };
        Ok(S3Response::new(output))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = req.input;
        self.uploads.end(&input.upload_id, &input.bucket, &input.key)?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}
