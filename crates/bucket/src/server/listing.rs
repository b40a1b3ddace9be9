//! Listings: of a bucket, in both versions that clients speak, and of the buckets of a key.

use std::time::SystemTime;

use s3s::dto::{
    Bucket, CommonPrefix, ETag, ListBucketsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object, Owner,
};
use s3s::{S3Result, s3_error};

use super::index::{Facts, Page};
use super::storage::Storage;

/// Most keys of a page, as in S3.
const MAX_PAGE: i32 = 1000;

/// What is listed of a bucket.
struct Wanted<'a> {
    bucket: &'a str,
    prefix: &'a str,
    delimiter: Option<&'a str>,
    max_keys: i32,
    after: &'a str,
}

impl Storage {
    /// The one bucket that the key opens.
    pub(super) fn buckets_of(&self, access_key: &str) -> ListBucketsOutput {
        let of_key = self.keys.list().into_iter().filter(|(known, _)| known == access_key);
        let bucket = |(_, name): (String, String)| {
            let modified = std::fs::metadata(self.root.join(&name)).and_then(|metadata| metadata.modified());
            let created = modified.unwrap_or(SystemTime::UNIX_EPOCH);
            Bucket { name: Some(name), creation_date: Some(created.into()), ..Bucket::default() }
        };
        let owner = Owner { id: Some(access_key.to_owned()), display_name: Some(access_key.to_owned()) };
        ListBucketsOutput {
            buckets: Some(of_key.map(bucket).collect()),
            owner: Some(owner),
            ..ListBucketsOutput::default()
        }
    }

    fn page(&self, wanted: &Wanted<'_>) -> S3Result<Page> {
        self.bucket(wanted.bucket)?;
        if !self.exists(wanted.bucket) {
            return Err(s3_error!(NoSuchBucket, "there is no such bucket"));
        }
        let grouped = match wanted.delimiter {
            None | Some("") => false,
            Some("/") => true,
            Some(_) => return Err(s3_error!(NotImplemented, "the only delimiter offered is the slash")),
        };
        Ok(self.index.page(wanted.bucket, wanted.prefix, wanted.after, wanted.max_keys as usize, grouped))
    }

    pub(super) fn list_v2(&self, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
        let max_keys = page_size(input.max_keys)?;
        let start = input.start_after.as_deref().unwrap_or_default();
        let page = self.page(&Wanted {
            bucket: &input.bucket,
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: input.delimiter.as_deref(),
            max_keys,
            // A token is the last key of the page before, so that it means the same after a restart.
            after: input.continuation_token.as_deref().unwrap_or_default().max(start),
        })?;
        let (contents, groups) = (contents(page.objects), groups(page.groups));
        Ok(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix,
            delimiter: input.delimiter,
            start_after: input.start_after,
            continuation_token: input.continuation_token,
            max_keys: Some(max_keys),
            key_count: i32::try_from(contents.len() + groups.len()).ok(),
            is_truncated: Some(page.more),
            next_continuation_token: page.more.then_some(page.last),
            common_prefixes: Some(groups),
            contents: Some(contents),
            ..ListObjectsV2Output::default()
        })
    }

    pub(super) fn list_v1(&self, input: ListObjectsInput) -> S3Result<ListObjectsOutput> {
        let max_keys = page_size(input.max_keys)?;
        let page = self.page(&Wanted {
            bucket: &input.bucket,
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: input.delimiter.as_deref(),
            max_keys,
            after: input.marker.as_deref().unwrap_or_default(),
        })?;
        Ok(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(input.prefix.unwrap_or_default()),
            marker: Some(input.marker.unwrap_or_default()),
            delimiter: input.delimiter,
            max_keys: Some(max_keys),
            is_truncated: Some(page.more),
            next_marker: page.more.then_some(page.last),
            contents: Some(contents(page.objects)),
            common_prefixes: Some(groups(page.groups)),
            ..ListObjectsOutput::default()
        })
    }
}

/// The size of a page; clients ask for more than a page holds, and get one.
fn page_size(wanted: Option<i32>) -> S3Result<i32> {
    match wanted.unwrap_or(MAX_PAGE) {
        negative if negative < 0 => Err(s3_error!(InvalidArgument, "max-keys is a number from 0")),
        wanted => Ok(wanted.min(MAX_PAGE)),
    }
}

fn contents(objects: Vec<(String, Facts)>) -> Vec<Object> {
    let listed = objects.into_iter().map(|(key, facts)| Object {
        key: Some(key),
        size: i64::try_from(facts.size).ok(),
        last_modified: Some(facts.modified.into()),
        e_tag: Some(ETag::Strong(facts.etag())),
        ..Object::default()
    });
    listed.collect()
}

fn groups(groups: Vec<String>) -> Vec<CommonPrefix> {
    groups.into_iter().map(|group| CommonPrefix { prefix: Some(group) }).collect()
}
