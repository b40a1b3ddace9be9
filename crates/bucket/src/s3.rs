//! The store on an S3-compatible server, over `object_store`'s client.

use std::error::Error as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Method, StatusCode};
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{
    BackoffConfig, GetOptions, GetRange, GetResult, MultipartId, ObjectStore, ObjectStoreExt, PutOptions, RetryConfig,
};
use tokio::time::sleep;

use crate::answer::ServerFailure;
use crate::connector::{AnswerTooLong, Connector};
use crate::error::shorten;
use crate::identity::Identity;
use crate::object::{check_size, clip};
use crate::retry::RetryBudget;
use crate::store::Store;
use crate::tls;
use crate::{BucketError, BucketOptions, Credentials, ObjectEntry, ObjectFacts, PutMode, PutOutcome};

/// The name of a put in errors.
const PUT: &str = "put";

/// One bucket of an S3-compatible server.
#[derive(Debug)]
pub(crate) struct S3Store {
    client: AmazonS3,
    options: BucketOptions,
}

/// A multipart upload under way; the server would keep its parts for ever if nobody ended it.
struct Upload {
    client: AmazonS3,
    path: Path,
    id: MultipartId,
    is_done: bool,
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (false, Ok(runtime)) = (self.is_done, tokio::runtime::Handle::try_current()) {
            let (client, path, id) = (self.client.clone(), self.path.clone(), self.id.clone());
            // What is left where this fails too, the rules for a bucket's upkeep remove: see docs/buckets.md.
            drop(runtime.spawn(async move { client.abort_multipart(&path, &id).await }));
        }
    }
}

/// A bucket of a server.
pub(crate) struct Server<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) endpoint: &'a str,
    pub(crate) region: &'a str,
}

impl S3Store {
    pub(crate) fn open(server: &Server<'_>, identity: Identity, options: &BucketOptions) -> Result<Self, BucketError> {
        let Server { bucket, endpoint, region } = *server;
        let connector = Connector::new(endpoint, options).map_err(|reason| BucketError::Untrusted {
            operation: "opening the bucket",
            reason,
            advice: "correct the variable, or leave it out to use the system's certificates".to_owned(),
        })?;
        let builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_endpoint(endpoint)
            .with_region(region)
            .with_allow_http(endpoint.starts_with("http://"))
            .with_virtual_hosted_style_request(false)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // One DELETE an object; the bulk form is not spoken by every server.
            .with_disable_bulk_delete(true)
            // Retries are ours, under one deadline for the whole call.
            .with_retry(RetryConfig { max_retries: 0, backoff: BackoffConfig::default(), ..RetryConfig::default() })
            .with_http_connector(connector);
        let builder = identity.apply(builder);
        let client = builder.build().map_err(|error| BucketError::Failed {
            operation: "opening the bucket",
            reason: shorten(&error.to_string()),
        })?;
        Ok(Self { client, options: options.clone() })
    }

    /// Sends an object in parts, several at a time; a part that fails is sent again as long as the transfer's one budget
    /// of retries lasts.
    async fn put_parts(&self, key: &str, path: &Path, bytes: Bytes) -> Result<(), BucketError> {
        let failed = |error| sort(PUT, key, error);
        let id = self.client.create_multipart(path).await.map_err(failed)?;
        let mut upload = Upload { client: self.client.clone(), path: path.clone(), id, is_done: false };
        let part_bytes = self.options.part_bytes.max(1);
        let budget = RetryBudget::new(&self.options);
        let sending = (0..bytes.len().div_ceil(part_bytes)).map(|number| {
            let start = number * part_bytes;
            let part = bytes.slice(start..bytes.len().min(start + part_bytes));
            self.put_part(&upload, number, part, &budget)
        });
        let parts: Vec<PartId> =
            stream::iter(sending).buffered(self.options.parallel_parts.max(1)).try_collect().await?;
        self.client.complete_multipart(path, &upload.id, parts).await.map_err(failed)?;
        upload.is_done = true;
        Ok(())
    }

    async fn put_part(
        &self,
        upload: &Upload,
        number: usize,
        part: Bytes,
        budget: &RetryBudget,
    ) -> Result<PartId, BucketError> {
        loop {
            let sent = self.client.put_part(&upload.path, &upload.id, number, part.clone().into()).await;
            let error = match sent {
                Ok(part) => return Ok(part),
                Err(error) => sort(PUT, upload.path.as_ref(), error),
            };
            let Some(pause) = budget.next_pause(&error) else { return Err(error) };
            sleep(pause).await;
        }
    }
}

/// Opens a bucket of a server; its writer signs with `credentials`, or with those that are found.
pub(crate) fn open(
    server: &Server<'_>,
    credentials: Option<Credentials>,
    writable: bool,
    options: &BucketOptions,
) -> Result<Arc<dyn Store>, BucketError> {
    let identity = match writable {
        true => Identity::of_writer(credentials, server.endpoint)?,
        false => Identity::Anybody,
    };
    Ok(Arc::new(S3Store::open(server, identity, options)?))
}

#[async_trait]
impl Store for S3Store {
    async fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<PutOutcome, BucketError> {
        let (operation, path) = (mode.operation(), path_of(key)?);
        if mode == PutMode::Replace && bytes.len() as u64 > self.options.multipart_above {
            self.put_parts(key, &path, bytes).await?;
            return Ok(PutOutcome::Created);
        }
        let s3_mode = match mode {
            PutMode::Replace => object_store::PutMode::Overwrite,
            PutMode::Create => object_store::PutMode::Create,
        };
        match self.client.put_opts(&path, bytes.into(), PutOptions::from(s3_mode)).await {
            Ok(_) => Ok(PutOutcome::Created),
            Err(object_store::Error::AlreadyExists { .. }) if mode == PutMode::Create => Ok(PutOutcome::AlreadyExists),
            Err(error) => Err(sort(operation, key, error)),
        }
    }

    async fn get(&self, key: &str, max_bytes: u64) -> Result<Bytes, BucketError> {
        const OPERATION: &str = "get";
        let path = path_of(key)?;
        let answer = self.client.get(&path).await.map_err(|error| sort(OPERATION, key, error))?;
        let size = answer.meta.size;
        check_size(key, size, max_bytes)?;
        collect(OPERATION, key, answer, size).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, BucketError> {
        const OPERATION: &str = "get range";
        let path = path_of(key)?;
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let answer = match self.client.get_opts(&path, options).await {
            Ok(answer) => answer,
            Err(error) if status_of(&error) == Some(StatusCode::RANGE_NOT_SATISFIABLE) => {
                return Err(BucketError::RangeOutside { key: key.to_owned(), start: range.start, end: range.end });
            }
            Err(error) => return Err(sort(OPERATION, key, error)),
        };
        let wanted = clip(key, range, answer.meta.size)?;
        if answer.range != wanted {
            let reason = format!("bytes {:?} instead of {wanted:?}", answer.range);
            return Err(BucketError::Misbehaved { operation: OPERATION, reason });
        }
        collect(OPERATION, key, answer, wanted.end - wanted.start).await
    }

    async fn head(&self, key: &str) -> Result<ObjectFacts, BucketError> {
        const OPERATION: &str = "head";
        let meta = self.client.head(&path_of(key)?).await.map_err(|error| sort(OPERATION, key, error))?;
        Ok(ObjectFacts { size: meta.size, modified: meta.last_modified.into() })
    }

    async fn presigned_read(&self, key: &str, valid_for: Duration) -> Result<String, BucketError> {
        const OPERATION: &str = "signing a URL";
        let signed = self.client.signed_url(Method::GET, &path_of(key)?, valid_for).await;
        signed.map(String::from).map_err(|error| sort(OPERATION, key, error))
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<(Vec<ObjectEntry>, bool), BucketError> {
        const OPERATION: &str = "list";
        let folder = match prefix.strip_suffix('/') {
            Some(folder) => Some(path_of(folder)?),
            None => None,
        };
        let mut entries = match after {
            "" => self.client.list(folder.as_ref()),
            after => self.client.list_with_offset(folder.as_ref(), &path_of(after)?),
        };
        let mut found: Vec<ObjectEntry> = Vec::new();
        while let Some(entry) = entries.next().await {
            let meta = entry.map_err(|error| sort(OPERATION, prefix, error))?;
            let key = meta.location.to_string();
            let last = found.last().map_or(after, |entry| entry.key.as_str());
            if !key.starts_with(prefix) || key.as_str() <= last {
                let reason = format!("key {:?} is outside of the prefix or out of order", shorten(&key));
                return Err(BucketError::Misbehaved { operation: OPERATION, reason });
            }
            // Objects that nobody can ask us for, such as those of another program in the same bucket.
            if crate::check_key(&key).is_err() {
                continue;
            }
            if found.len() == limit {
                return Ok((found, true));
            }
            found.push(ObjectEntry { key, size: meta.size });
        }
        Ok((found, false))
    }

    async fn delete(&self, key: &str) -> Result<(), BucketError> {
        const OPERATION: &str = "delete";
        match self.client.delete(&path_of(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(sort(OPERATION, key, error)),
        }
    }
}

fn path_of(key: &str) -> Result<Path, BucketError> {
    Path::parse(key).map_err(|_| BucketError::InvalidKey { key: shorten(key), reason: "S3 cannot name it" })
}

/// Reads a body of exactly `expected` bytes. Memory grows with what arrives, not with what was announced.
async fn collect(operation: &'static str, key: &str, answer: GetResult, expected: u64) -> Result<Bytes, BucketError> {
    const FIRST_CAPACITY: u64 = 1 << 20;
    let mut body = answer.into_stream();
    let mut bytes = BytesMut::with_capacity(expected.min(FIRST_CAPACITY) as usize);
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| sort(operation, key, error))?;
        if (bytes.len() + piece.len()) as u64 > expected {
            let reason = format!("more than the {expected} bytes announced for {key:?}");
            return Err(BucketError::Misbehaved { operation, reason });
        }
        bytes.extend_from_slice(&piece);
    }
    if bytes.len() as u64 != expected {
        let reason = format!("{} bytes instead of the {expected} announced for {key:?}", bytes.len());
        return Err(BucketError::Unreachable { operation, reason });
    }
    Ok(bytes.freeze())
}

/// Looks for an error of this type in a chain of causes.
fn cause<E: std::error::Error + 'static>(error: &object_store::Error) -> Option<&E> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn status_of(error: &object_store::Error) -> Option<StatusCode> {
    cause::<ServerFailure>(error).map(|failure| failure.status)
}

/// Sorts an error of the client into one that says whose fault it is.
fn sort(operation: &'static str, key: &str, error: object_store::Error) -> BucketError {
    use object_store::Error;
    if let Error::NotFound { .. } = &error {
        return BucketError::NotFound { key: key.to_owned() };
    }
    if let Some(failure) = cause::<ServerFailure>(&error) {
        return failure.sort(operation, key);
    }
    if cause::<AnswerTooLong>(&error).is_some() {
        return BucketError::Misbehaved { operation, reason: AnswerTooLong.to_string() };
    }
    if let Some(network) = cause::<HttpError>(&error) {
        let mut reason = network.to_string();
        let mut next = network.source();
        while let Some(deeper) = next {
            reason = format!("{reason}: {deeper}");
            next = deeper.source();
        }
        let advice = tls::advice(&reason);
        let reason = shorten(&reason);
        if let Some(advice) = advice {
            return BucketError::Untrusted { operation, reason, advice: advice.to_owned() };
        }
        return match network.kind() {
            HttpErrorKind::Decode | HttpErrorKind::Unknown => BucketError::Misbehaved { operation, reason },
            _ => BucketError::Unreachable { operation, reason },
        };
    }
    BucketError::Failed { operation, reason: shorten(&error.to_string()) }
}
