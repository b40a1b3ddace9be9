//! What every bucket promises, whatever it is stored in: one suite for all stores.
//!
//! Each rule is a function of a [`Subject`]: an empty bucket of its own, opened by its writer, by a reader and by
//! strangers. [`for_each_bucket_rule!`](crate::for_each_bucket_rule) hands the names of all rules to a macro, which
//! makes a test of each:
//!
//! ```
//! use templar_bucket::{Bucket, BucketLocation};
//! use templar_testing::bucket_contract::{self, Subject, options};
//!
//! macro_rules! on_my_store {
//!     ($($rule:ident)*) => {$(
//!         # #[allow(dead_code)]
//!         async fn $rule() {
//!             let location = BucketLocation::memory(stringify!($rule)).unwrap();
//!             let writer = Bucket::open_writer_with(&location, None, options()).unwrap();
//!             let reader = Bucket::open_reader_with(&location, options()).unwrap();
//!             bucket_contract::$rule(Subject { writer, reader, strangers: Vec::new() }).await;
//!         }
//!     )*};
//! }
//! templar_testing::for_each_bucket_rule!(on_my_store);
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(what_is_put_is_got());
//! ```

use std::time::{Duration, SystemTime};
use templar_base::AtFault;

use templar_bucket::{
    Bucket, BucketError, BucketOptions, Bytes, LargeObject, LargeSource, LocationKind, ObjectEntry, PutOutcome,
    download,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A bucket under test, empty.
pub struct Subject {
    /// Opened with the owner's key.
    pub writer: Bucket,
    /// Opened without a key.
    pub reader: Bucket,
    /// Opened with keys that are wrong, or another bucket's.
    pub strangers: Vec<Bucket>,
}

/// Short deadlines and small parts.
pub fn options() -> BucketOptions {
    BucketOptions {
        deadline: Duration::from_secs(30),
        first_pause: Duration::from_millis(10),
        // Amazon wants 5 MiB for all parts but the last.
        multipart_above: 6 << 20,
        part_bytes: 5 << 20,
        parallel_parts: 3,
        ..BucketOptions::default()
    }
}

/// All keys in a bucket.
pub async fn keys(bucket: &Bucket) -> Vec<String> {
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let page = bucket.list("", after.as_deref(), 1000).await.unwrap();
        keys.extend(page.objects.into_iter().map(|object| object.key));
        match page.next_after {
            Some(next) => after = Some(next),
            None => return keys,
        }
    }
}

/// Makes a bucket ready for the next rule, where all rules share one.
pub async fn empty(bucket: &Bucket) {
    for key in keys(bucket).await {
        bucket.delete(&key).await.unwrap();
    }
}

/// Hands the names of all rules of [`bucket_contract`](crate::bucket_contract) to a macro.
#[macro_export]
macro_rules! for_each_bucket_rule {
    ($with:ident) => {
        $with! {
            what_is_put_is_got
            sixteen_racing_creators_have_one_winner
            readers_never_see_half_an_object
            ranges_are_cut_at_the_end
            a_larger_object_is_refused
            what_is_not_there_is_not_found
            listings_are_sorted_and_paged
            folders_sort_among_objects_by_their_bytes
            a_prefix_means_whole_segments
            deleting_twice_is_no_error
            bad_keys_are_refused
            a_reader_cannot_write
            a_large_object_goes_in_parts
            a_large_object_goes_by_parts_and_comes_back
            everybody_may_read
            wrong_keys_are_refused
            a_signed_url_reads_for_whoever_has_it
            an_object_knows_when_it_was_stored
        }
    };
}
fn content(length: usize, seed: u8) -> Bytes {
    (0..length).map(|i| (i as u8).wrapping_mul(31).wrapping_add((i >> 8) as u8) ^ seed).collect()
}

/// What is put is read back, empty objects included, and an older object is replaced.
pub async fn what_is_put_is_got(subject: Subject) {
    for (key, length) in [("genesis.json", 0), ("window/000001/payload", 1), ("window/000001/reveal=+.x", 700_001)] {
        subject.writer.put(key, content(length, 1)).await.unwrap();
        assert_eq!(subject.reader.get(key, length as u64).await.unwrap(), content(length, 1));
        assert_eq!(subject.reader.head(key).await.unwrap().size, length as u64);
    }
    subject.writer.put("genesis.json", content(9, 2)).await.unwrap();
    assert_eq!(subject.reader.get("genesis.json", 9).await.unwrap(), content(9, 2));
}

/// Of sixteen callers that create the same object, one succeeds, and its bytes are stored.
pub async fn sixteen_racing_creators_have_one_winner(subject: Subject) {
    for round in 0..8 {
        let key = format!("race/{round}");
        let racers: Vec<_> = (0..16u8)
            .map(|racer| {
                let (writer, key) = (subject.writer.clone(), key.clone());
                tokio::spawn(async move { writer.put_if_absent(&key, content(20_000, racer)).await.unwrap() })
            })
            .collect();
        let mut winners = Vec::new();
        for (racer, outcome) in racers.into_iter().enumerate() {
            if outcome.await.unwrap() == PutOutcome::Created {
                winners.push(racer as u8);
            }
        }
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(subject.reader.get(&key, 1 << 20).await.unwrap(), content(20_000, winners[0]));
    }
}

/// A reader sees an older or a newer object whole while it is replaced.
pub async fn readers_never_see_half_an_object(subject: Subject) {
    subject.writer.put("latest", content(300_000, 0)).await.unwrap();
    let writer = subject.writer.clone();
    let writing = tokio::spawn(async move {
        for seed in 1..12 {
            writer.put("latest", content(300_000, seed)).await.unwrap();
        }
    });
    while !writing.is_finished() {
        let seen = subject.reader.get("latest", 1 << 20).await.unwrap();
        assert_eq!(seen, content(300_000, seen[0]));
    }
    writing.await.unwrap();
}

/// A range is cut at the end of the object; an empty one or one behind the end is an error.
pub async fn ranges_are_cut_at_the_end(subject: Subject) {
    let whole = content(2_500_000, 3);
    subject.writer.put("shard", whole.clone()).await.unwrap();
    for range in [0..1, 0..2_500_000, 1_048_575..1_048_577, 2_499_999..9_000_000, 7..2_000_000] {
        let end = range.end.min(2_500_000) as usize;
        assert_eq!(subject.reader.get_range("shard", range.clone()).await.unwrap(), whole[range.start as usize..end]);
    }
    #[allow(clippy::reversed_empty_ranges)]
    for range in [5..5, 6..5, 2_500_000..2_500_001] {
        let error = subject.reader.get_range("shard", range).await.unwrap_err();
        assert!(matches!(error, BucketError::RangeOutside { .. }), "{error}");
    }
}

/// An object over the limit of the caller is rejected with its size.
pub async fn a_larger_object_is_refused(subject: Subject) {
    subject.writer.put("big", content(1000, 1)).await.unwrap();
    let error = subject.reader.get("big", 999).await.unwrap_err();
    assert_eq!(error, BucketError::TooLarge { key: "big".to_owned(), size: 1000, limit: 999 });
    assert!(!error.is_retryable());
}

/// A missing object is not found, also above and below existing keys.
pub async fn what_is_not_there_is_not_found(subject: Subject) {
    subject.writer.put("a/b", content(1, 1)).await.unwrap();
    for key in ["c", "a", "a/c", "a/b/c"] {
        let missing = BucketError::NotFound { key: key.to_owned() };
        assert_eq!(subject.reader.get(key, 10).await.unwrap_err(), missing);
        assert_eq!(subject.reader.head(key).await.unwrap_err(), missing);
        assert_eq!(subject.reader.get_range(key, 0..1).await.unwrap_err(), missing);
    }
}

/// Listings are sorted by the bytes of the keys and come in pages.
pub async fn listings_are_sorted_and_paged(subject: Subject) {
    let parts = "window/0000000002/aggregate.parts/ab";
    let keys = ["window/0000000002/aggregate", "window/0000000002/payload", "window/0000000010/x", "genesis.json", "z"];
    let keys = keys.into_iter().map(str::to_owned).chain((0..4).map(|part| format!("{parts}/{part:05}")));
    check_pages(&subject, keys).await;
}

/// Folder `a` sorts after the object `a-b`, as the slash does after the hyphen.
pub async fn folders_sort_among_objects_by_their_bytes(subject: Subject) {
    check_pages(&subject, ["a-b", "a.b", "a/b", "a/c/d", "a0"].map(str::to_owned)).await;
}

async fn check_pages(subject: &Subject, keys: impl IntoIterator<Item = String>) {
    let mut expected = Vec::new();
    for key in keys {
        subject.writer.put(&key, content(key.len(), 1)).await.unwrap();
        expected.push(ObjectEntry { size: key.len() as u64, key });
    }
    expected.sort_by(|left, right| left.key.cmp(&right.key));
    for limit in [1, 3, expected.len(), 100] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = subject.reader.list("", after.as_deref(), limit).await.unwrap();
            assert!(page.objects.len() <= limit);
            found.extend(page.objects);
            match page.next_after {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(found, expected, "limit {limit}");
    }
}

/// A prefix means whole segments.
pub async fn a_prefix_means_whole_segments(subject: Subject) {
    for key in ["window/1/x", "window/1/y", "window/10/x", "windows"] {
        subject.writer.put(key, content(1, 1)).await.unwrap();
    }
    for prefix in ["window/1", "window/1/"] {
        let page = subject.reader.list(prefix, None, 10).await.unwrap();
        let keys: Vec<_> = page.objects.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["window/1/x", "window/1/y"]);
    }
    let page = subject.reader.list("window/1", Some("window/1/x"), 10).await.unwrap();
    assert_eq!(page.objects.len(), 1);
    assert!(subject.reader.list("nothing", None, 10).await.unwrap().objects.is_empty());
}

/// Deleting a missing object is not an error.
pub async fn deleting_twice_is_no_error(subject: Subject) {
    subject.writer.delete("never/there").await.unwrap();
    subject.writer.put("window/1/x", content(1, 1)).await.unwrap();
    subject.writer.delete("window/1/x").await.unwrap();
    subject.writer.delete("window/1/x").await.unwrap();
    assert!(matches!(subject.reader.head("window/1/x").await, Err(BucketError::NotFound { .. })));
    let again = subject.writer.put_if_absent("window/1/x", content(2, 1)).await.unwrap();
    assert_eq!(again, PutOutcome::Created);
}

/// Keys that not every store can hold are rejected.
pub async fn bad_keys_are_refused(subject: Subject) {
    for key in ["", "/etc/passwd", "../x", "a//b", ".staging/x", "a b"] {
        assert!(matches!(subject.writer.put(key, Bytes::new()).await, Err(BucketError::InvalidKey { .. })));
        assert!(matches!(subject.reader.get(key, 1).await, Err(BucketError::InvalidKey { .. })));
        assert!(matches!(subject.writer.delete(key).await, Err(BucketError::InvalidKey { .. })));
    }
    assert!(matches!(subject.reader.list("../x", None, 1).await, Err(BucketError::InvalidKey { .. })));
}

/// A handle opened for reading cannot write.
pub async fn a_reader_cannot_write(subject: Subject) {
    assert!(matches!(subject.reader.put("x", Bytes::new()).await, Err(BucketError::Refused { .. })));
    assert!(matches!(subject.reader.put_if_absent("x", Bytes::new()).await, Err(BucketError::Refused { .. })));
    assert!(matches!(subject.reader.delete("x").await, Err(BucketError::Refused { .. })));
}

/// An object over the multipart threshold is stored and read back.
pub async fn a_large_object_goes_in_parts(subject: Subject) {
    // Over the threshold of these options, and no multiple of their part size.
    let whole = content(12_000_001, 5);
    subject.writer.put("checkpoint/1/model.safetensors", whole.clone()).await.unwrap();
    assert_eq!(subject.reader.get("checkpoint/1/model.safetensors", 1 << 24).await.unwrap(), whole);
}

/// `put_large` and `download` carry an object through.
pub async fn a_large_object_goes_by_parts_and_comes_back(subject: Subject) {
    const PART_BYTES: u64 = 1 << 16;
    for (key, length) in [("a/small", 9), ("a/one-part", 1 << 16), ("a/large", 5 * (1 << 16) + 77)] {
        let whole = content(length, 6);
        let hash = subject.writer.put_large(key, LargeSource::Memory(whole.clone()), PART_BYTES).await.unwrap();
        assert_eq!(hash, *blake3::hash(&whole).as_bytes());
        let object = LargeObject { key, hash, max_bytes: length as u64 };
        let delivery = download(std::slice::from_ref(&subject.reader), &object).await.unwrap();
        assert_eq!((delivery.content, delivery.complaints.len()), (whole, 0), "{key}");
    }
}

/// All reads work without a key.
pub async fn everybody_may_read(subject: Subject) {
    subject.writer.put("window/1/x", content(100, 1)).await.unwrap();
    assert_eq!(subject.reader.get("window/1/x", 100).await.unwrap(), content(100, 1));
    assert_eq!(subject.reader.get_range("window/1/x", 10..20).await.unwrap(), content(100, 1)[10..20]);
    assert_eq!(subject.reader.head("window/1/x").await.unwrap().size, 100);
    assert_eq!(subject.reader.list("window", None, 10).await.unwrap().objects.len(), 1);
}

/// Writes with wrong keys, or those of another bucket, are rejected and change nothing.
pub async fn wrong_keys_are_refused(subject: Subject) {
    subject.writer.put("a", "mine".into()).await.unwrap();
    for stranger in &subject.strangers {
        assert!(matches!(stranger.put("a", "theirs".into()).await, Err(BucketError::Refused { .. })));
        assert!(matches!(stranger.put_if_absent("b", "theirs".into()).await, Err(BucketError::Refused { .. })));
        assert!(matches!(stranger.delete("a").await, Err(BucketError::Refused { .. })));
        assert!(matches!(stranger.put("c", content(7 << 20, 1)).await, Err(BucketError::Refused { .. })));
    }
    assert_eq!(subject.reader.get("a", 10).await.unwrap(), "mine");
    assert_eq!(subject.reader.list("", None, 10).await.unwrap().objects.len(), 1);
}

/// A signed URL reads without a key, where the store has URLs; a forged one does not.
pub async fn a_signed_url_reads_for_whoever_has_it(subject: Subject) {
    subject.writer.put("a/b", "signed".into()).await.unwrap();
    let signed = subject.writer.presigned_read("a/b", Duration::from_secs(60)).await;
    if subject.writer.location().kind() != LocationKind::S3 {
        assert!(matches!(signed, Err(BucketError::Failed { .. })));
        return;
    }
    let signed = signed.unwrap();
    if signed.starts_with("https://") {
        // A plain socket speaks no TLS; what is signed does not depend on it.
        return;
    }
    assert!(fetch_url(&signed).await.ends_with("signed"), "{signed}");
    // A server that refuses no stranger looks at no signature.
    if !subject.strangers.is_empty() {
        let (url, signature) = signed.rsplit_once("X-Amz-Signature=").unwrap();
        let forged: String = signature.chars().rev().collect();
        let answer = fetch_url(&format!("{url}X-Amz-Signature={forged}")).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
    assert!(matches!(
        subject.reader.presigned_read("a/b", Duration::from_secs(60)).await,
        Err(BucketError::Refused { .. })
    ));
}

/// The answer to a GET of a URL without TLS.
async fn fetch_url(url: &str) -> String {
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// An object has the time when it was stored.
pub async fn an_object_knows_when_it_was_stored(subject: Subject) {
    // Servers tell whole seconds, by their own clock.
    const TOLERANCE: Duration = Duration::from_secs(600);
    let before = SystemTime::now();
    subject.writer.put("a", "x".into()).await.unwrap();
    let modified = subject.reader.head("a").await.unwrap().modified;
    assert!(modified >= before - TOLERANCE && modified <= SystemTime::now() + TOLERANCE, "{modified:?}");
}
