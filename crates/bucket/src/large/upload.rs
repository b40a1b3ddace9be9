//! Sending a large object: what is there already is not sent again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::sleep;

use super::index::{PartIndex, is_part_size};
use super::{folder_of, index_key, part_key};
use crate::blocking::blocking;
use crate::retry::RetryBudget;
use crate::{Bucket, BucketError};

const OPERATION: &str = "put by parts";
/// Names asked for at once when a broken-off upload is gone on with.
const PAGE: usize = 1000;

/// Where the bytes of a large object come from.
#[derive(Debug, Clone)]
pub enum LargeSource {
    /// They are here.
    Memory(Bytes),
    /// A file, of which a few parts are in memory at a time.
    File(PathBuf),
}

impl LargeSource {
    fn size(&self) -> io::Result<u64> {
        match self {
            Self::Memory(bytes) => Ok(bytes.len() as u64),
            Self::File(path) => std::fs::metadata(path).map(|metadata| metadata.len()),
        }
    }

    fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        match self {
            Self::Memory(bytes) => Ok(bytes.slice(range.start as usize..range.end as usize)),
            Self::File(path) => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(range.start))?;
                let mut bytes = vec![0; (range.end - range.start) as usize];
                file.read_exact(&mut bytes)?;
                Ok(bytes.into())
            }
        }
    }

    /// Reads everything once; gives the index, or none for an object of one part, and the hash.
    fn index(&self, part_bytes: u64) -> io::Result<(Option<PartIndex>, [u8; 32])> {
        let size = self.size()?;
        if size <= part_bytes {
            return Ok((None, *blake3::hash(&self.read(0..size)?).as_bytes()));
        }
        let mut index = PartIndex::new(size, part_bytes);
        for part in 0..index.parts() {
            index.push(&self.read(index.range(part))?);
        }
        let root = index.root();
        Ok((Some(index), root))
    }
}

fn local(error: &io::Error) -> BucketError {
    BucketError::Failed { operation: OPERATION, reason: format!("the content cannot be read: {error}") }
}

impl Bucket {
    /// Stores an object by parts of `part_bytes` (a power of two from 64 KiB to 64 MiB, mostly [`crate::PART_BYTES`])
    /// and gives its BLAKE3, by which [`crate::download`] finds it. One of at most one part is stored as by
    /// [`Bucket::put`].
    ///
    /// At most [`crate::BucketOptions::parallel_parts`] parts are under way, and in memory, at once; all together have
    /// the retries of one call. After a failure the same call goes on from the parts that are there.
    pub async fn put_large(&self, key: &str, source: LargeSource, part_bytes: u64) -> Result<[u8; 32], BucketError> {
        if !is_part_size(part_bytes) {
            let reason = format!("{part_bytes} is no size for parts: a power of two from 65536 to 67108864 is");
            return Err(BucketError::Failed { operation: OPERATION, reason });
        }
        let indexed = source.clone();
        let (index, hash) =
            blocking(OPERATION, move || indexed.index(part_bytes).map_err(|error| local(&error))).await?;
        let Some(index) = index else {
            let bytes = blocking(OPERATION, move || {
                source.size().and_then(|size| source.read(0..size)).map_err(|error| local(&error))
            });
            self.put(key, bytes.await?).await?;
            return Ok(hash);
        };
        let folder = folder_of(key, &hash);
        let there = self.parts_there(&folder).await?;
        let missing = (0..index.parts()).filter(|part| {
            let range = index.range(*part);
            there.get(&part_key(&folder, *part)) != Some(&(range.end - range.start))
        });
        let budget = RetryBudget::new(self.options());
        let sending = missing.map(|part| self.put_part(&folder, &source, &index, part, &budget));
        let parallel = self.options().parallel_parts.max(1);
        stream::iter(sending).buffer_unordered(parallel).try_for_each(|()| async { Ok(()) }).await?;
        self.put(&index_key(&folder), index.to_bytes().into()).await?;
        Ok(hash)
    }

    /// Sizes of the parts that an earlier try left. The folder's name has the object's hash, so that they are the same.
    async fn parts_there(&self, folder: &str) -> Result<BTreeMap<String, u64>, BucketError> {
        let (mut there, mut after) = (BTreeMap::new(), None);
        loop {
            let page = match self.list(folder, after.as_deref(), PAGE).await {
                Ok(page) => page,
                // A bucket that nobody wrote to yet.
                Err(BucketError::NotFound { .. }) => return Ok(there),
                Err(error) => return Err(error),
            };
            there.extend(page.objects.into_iter().map(|object| (object.key, object.size)));
            match page.next_after {
                Some(next) => after = Some(next),
                None => return Ok(there),
            }
        }
    }

    async fn put_part(
        &self,
        folder: &str,
        source: &LargeSource,
        index: &PartIndex,
        part: usize,
        budget: &RetryBudget,
    ) -> Result<(), BucketError> {
        let (own, range) = (source.clone(), index.range(part));
        let bytes = blocking(OPERATION, move || own.read(range).map_err(|error| local(&error))).await?;
        if !index.holds(part, &bytes) {
            let reason = "the file changed while it was sent; send it again when it is at rest".to_owned();
            return Err(BucketError::Failed { operation: OPERATION, reason });
        }
        loop {
            let Err(error) = self.put_once(&part_key(folder, part), bytes.clone()).await else { return Ok(()) };
            let Some(pause) = budget.next_pause(&error) else { return Err(error) };
            tracing::debug!(part, %error, "sending a part again");
            sleep(pause).await;
        }
    }
}
