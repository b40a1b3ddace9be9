//! One suite for every backend: folder, memory, and our own server through the S3 client.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use templar_bucket::{
    Bucket, BucketError, BucketLocation, BucketOptions, BucketServer, KeyRing, ObjectEntry, PutOutcome, WriteKey,
};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// What keeps a bucket alive while it is tested.
struct Place {
    writer: Bucket,
    reader: Bucket,
    _folder: Option<tempfile::TempDir>,
    _server: Option<BucketServer>,
}

fn options() -> BucketOptions {
    BucketOptions {
        deadline: Duration::from_secs(30),
        first_pause: Duration::from_millis(10),
        multipart_above: 1 << 20,
        part_bytes: 300_000,
        ..BucketOptions::default()
    }
}

fn open(location: &BucketLocation, key: Option<&WriteKey>) -> (Bucket, Bucket) {
    let writer = Bucket::open_writer_with(location, key.map(WriteKey::credentials), options()).unwrap();
    let reader = Bucket::open_reader_with(location, options()).unwrap();
    (writer, reader)
}

fn folder() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let location = BucketLocation::folder(folder.path().join("bucket")).unwrap();
    let (writer, reader) = open(&location, None);
    Place { writer, reader, _folder: Some(folder), _server: None }
}

fn memory(name: &str) -> Place {
    let (writer, reader) = open(&BucketLocation::memory(name).unwrap(), None);
    Place { writer, reader, _folder: None, _server: None }
}

async fn server() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let key = WriteKey::new("miner-1", "secret-secret", "bucket-1");
    let keys = KeyRing::in_memory([key.clone()]).unwrap();
    let server = BucketServer::bind(ANY_PORT, folder.path(), keys).await.unwrap();
    let (writer, reader) = open(&server.location("bucket-1").unwrap(), Some(&key));
    Place { writer, reader, _folder: Some(folder), _server: Some(server) }
}

/// Makes a test of each rule for each backend.
macro_rules! contract {
    ($($rule:ident)*) => {
        mod on_a_folder {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() { super::$rule(super::folder()).await; })*
        }
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() { super::$rule(super::memory(stringify!($rule))).await; })*
        }
        mod on_our_server {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() { super::$rule(super::server().await).await; })*
        }
    };
}

contract! {
    what_is_put_is_got
    sixteen_racing_creators_have_one_winner
    readers_never_see_half_an_object
    ranges_are_cut_at_the_end
    a_larger_object_is_refused
    what_is_not_there_is_not_found
    listings_are_sorted_and_paged
    a_prefix_means_whole_segments
    deleting_twice_is_no_error
    bad_keys_are_refused
    a_reader_cannot_write
    a_large_object_goes_in_parts
}

fn content(length: usize, seed: u8) -> Bytes {
    (0..length).map(|i| (i as u8).wrapping_mul(31).wrapping_add((i >> 8) as u8) ^ seed).collect()
}

async fn what_is_put_is_got(place: Place) {
    for (key, length) in [("genesis.json", 0), ("window/000001/payload", 1), ("window/000001/reveal=+.x", 700_001)] {
        place.writer.put(key, content(length, 1)).await.unwrap();
        assert_eq!(place.reader.get(key, length as u64).await.unwrap(), content(length, 1));
        assert_eq!(place.reader.head(key).await.unwrap(), length as u64);
    }
    place.writer.put("genesis.json", content(9, 2)).await.unwrap();
    assert_eq!(place.reader.get("genesis.json", 9).await.unwrap(), content(9, 2));
}

async fn sixteen_racing_creators_have_one_winner(place: Place) {
    for round in 0..8 {
        let key = format!("race/{round}");
        let racers: Vec<_> = (0..16u8)
            .map(|racer| {
                let (writer, key) = (place.writer.clone(), key.clone());
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
        assert_eq!(place.reader.get(&key, 1 << 20).await.unwrap(), content(20_000, winners[0]));
    }
}

async fn readers_never_see_half_an_object(place: Place) {
    place.writer.put("latest", content(300_000, 0)).await.unwrap();
    let writer = place.writer.clone();
    let writing = tokio::spawn(async move {
        for seed in 1..12 {
            writer.put("latest", content(300_000, seed)).await.unwrap();
        }
    });
    while !writing.is_finished() {
        let seen = place.reader.get("latest", 1 << 20).await.unwrap();
        assert_eq!(seen, content(300_000, seen[0]));
    }
    writing.await.unwrap();
}

async fn ranges_are_cut_at_the_end(place: Place) {
    let whole = content(2_500_000, 3);
    place.writer.put("shard", whole.clone()).await.unwrap();
    for range in [0..1, 0..2_500_000, 1_048_575..1_048_577, 2_499_999..9_000_000, 7..2_000_000] {
        let end = range.end.min(2_500_000) as usize;
        assert_eq!(place.reader.get_range("shard", range.clone()).await.unwrap(), whole[range.start as usize..end]);
    }
    #[allow(clippy::reversed_empty_ranges)]
    for range in [5..5, 6..5, 2_500_000..2_500_001] {
        let error = place.reader.get_range("shard", range).await.unwrap_err();
        assert!(matches!(error, BucketError::RangeOutside { .. }), "{error}");
    }
}

async fn a_larger_object_is_refused(place: Place) {
    place.writer.put("big", content(1000, 1)).await.unwrap();
    let error = place.reader.get("big", 999).await.unwrap_err();
    assert_eq!(error, BucketError::TooLarge { key: "big".to_owned(), size: 1000, limit: 999 });
    assert!(!error.is_retryable());
}

async fn what_is_not_there_is_not_found(place: Place) {
    place.writer.put("a/b", content(1, 1)).await.unwrap();
    for key in ["c", "a", "a/c", "a/b/c"] {
        let missing = BucketError::NotFound { key: key.to_owned() };
        assert_eq!(place.reader.get(key, 10).await.unwrap_err(), missing);
        assert_eq!(place.reader.head(key).await.unwrap_err(), missing);
        assert_eq!(place.reader.get_range(key, 0..1).await.unwrap_err(), missing);
    }
}

async fn listings_are_sorted_and_paged(place: Place) {
    let mut expected = Vec::new();
    for key in ["a-b", "a.b", "a/b", "a/c/d", "a0", "window/000002/x", "window/000010/x", "z"] {
        place.writer.put(key, content(key.len(), 1)).await.unwrap();
        expected.push(ObjectEntry { key: key.to_owned(), size: key.len() as u64 });
    }
    expected.sort_by(|left, right| left.key.cmp(&right.key));
    for limit in [1, 3, 8, 100] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = place.reader.list("", after.as_deref(), limit).await.unwrap();
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

async fn a_prefix_means_whole_segments(place: Place) {
    for key in ["window/1/x", "window/1/y", "window/10/x", "windows"] {
        place.writer.put(key, content(1, 1)).await.unwrap();
    }
    for prefix in ["window/1", "window/1/"] {
        let page = place.reader.list(prefix, None, 10).await.unwrap();
        let keys: Vec<_> = page.objects.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["window/1/x", "window/1/y"]);
    }
    let page = place.reader.list("window/1", Some("window/1/x"), 10).await.unwrap();
    assert_eq!(page.objects.len(), 1);
    assert!(place.reader.list("nothing", None, 10).await.unwrap().objects.is_empty());
}

async fn deleting_twice_is_no_error(place: Place) {
    place.writer.delete("never/there").await.unwrap();
    place.writer.put("window/1/x", content(1, 1)).await.unwrap();
    place.writer.delete("window/1/x").await.unwrap();
    place.writer.delete("window/1/x").await.unwrap();
    assert!(matches!(place.reader.head("window/1/x").await, Err(BucketError::NotFound { .. })));
    let again = place.writer.put_if_absent("window/1/x", content(2, 1)).await.unwrap();
    assert_eq!(again, PutOutcome::Created);
}

async fn bad_keys_are_refused(place: Place) {
    for key in ["", "/etc/passwd", "../x", "a//b", ".staging/x", "a b"] {
        assert!(matches!(place.writer.put(key, Bytes::new()).await, Err(BucketError::InvalidKey { .. })));
        assert!(matches!(place.reader.get(key, 1).await, Err(BucketError::InvalidKey { .. })));
        assert!(matches!(place.writer.delete(key).await, Err(BucketError::InvalidKey { .. })));
    }
    assert!(matches!(place.reader.list("../x", None, 1).await, Err(BucketError::InvalidKey { .. })));
}

async fn a_reader_cannot_write(place: Place) {
    assert!(matches!(place.reader.put("x", Bytes::new()).await, Err(BucketError::Refused { .. })));
    assert!(matches!(place.reader.put_if_absent("x", Bytes::new()).await, Err(BucketError::Refused { .. })));
    assert!(matches!(place.reader.delete("x").await, Err(BucketError::Refused { .. })));
}

async fn a_large_object_goes_in_parts(place: Place) {
    // Over the threshold of these options, and no multiple of their part size.
    let whole = content(3_000_001, 5);
    place.writer.put("checkpoint/1/model.safetensors", whole.clone()).await.unwrap();
    assert_eq!(place.reader.get("checkpoint/1/model.safetensors", 1 << 24).await.unwrap(), whole);
}
