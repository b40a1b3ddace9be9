//! Transfers over networks that fail and from servers that lie.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use templar_bucket::{
    Bucket, BucketError, BucketLocation, BucketOptions, BucketServer, KeyRing, LargeObject, LargeSource, PutOutcome,
    WriteKey, download, download_to_file,
};
use templar_testing::{Fault, FaultProxy};

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const PART_BYTES: u64 = 1 << 16;
const KEY: &str = "window/0000000007/aggregate";

fn options() -> BucketOptions {
    BucketOptions {
        deadline: Duration::from_secs(20),
        attempts: 6,
        first_pause: Duration::from_millis(2),
        multipart_above: 6 << 20,
        part_bytes: 5 << 20,
        parallel_parts: 3,
        ..BucketOptions::default()
    }
}

/// A bucket of our server behind a proxy.
struct Far {
    proxy: FaultProxy,
    writer: Bucket,
    reader: Bucket,
    _server: BucketServer,
    _folder: tempfile::TempDir,
}

impl Far {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = WriteKey::new("miner-1", "secret-secret", "bucket-1");
        let keys = KeyRing::in_memory([key.clone()]).unwrap();
        let server = BucketServer::bind(ANY_PORT, folder.path(), keys).await.unwrap();
        let proxy = FaultProxy::start(server.local_addr()).await;
        let location = BucketLocation::s3("bucket-1", &format!("http://{}", proxy.address()), None).unwrap();
        let writer = Bucket::open_writer_with(&location, Some(key.credentials()), options()).unwrap();
        let reader = Bucket::open_reader_with(&location, options()).unwrap();
        Self { proxy, writer, reader, _server: server, _folder: folder }
    }

    async fn put(&self, whole: &Bytes) -> [u8; 32] {
        self.writer.put_large(KEY, LargeSource::Memory(whole.clone()), PART_BYTES).await.unwrap()
    }

    /// How many parts were asked for or sent since this was asked last.
    fn parts(&self, method: &str) -> usize {
        let requests = self.proxy.take_requests();
        let is_part = |path: &str| is_part(path);
        requests.iter().filter(|(own, path)| own == method && is_part(path)).count()
    }
}

fn is_part(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.len() == 5 && name.bytes().all(|byte| byte.is_ascii_digit()))
}

fn content(parts: usize) -> Bytes {
    (0..parts * PART_BYTES as usize - 99).map(|place| (place * 31 + (place >> 8) * 7 + (place >> 16)) as u8).collect()
}

fn object(hash: [u8; 32]) -> LargeObject<'static> {
    LargeObject { key: KEY, hash, max_bytes: 1 << 24 }
}

#[tokio::test]
async fn conflicts_of_conditional_writes_and_failures_for_a_while_are_tried_again() {
    let far = Far::new().await;
    far.proxy.set_for(Fault::Status(409), 2, |_| true);
    assert_eq!(far.writer.put_if_absent("a", "ours".into()).await.unwrap(), PutOutcome::Created);
    assert_eq!(far.proxy.take_requests().len(), 3);
    far.proxy.set_for(Fault::Status(500), 4, |_| true);
    assert_eq!(far.reader.get("a", 10).await.unwrap(), "ours");
    // A budget of six tries is for the whole call.
    far.proxy.set_for(Fault::Status(503), 6, |_| true);
    assert!(matches!(far.reader.get("a", 10).await, Err(BucketError::Unreachable { .. })));
    assert_eq!(far.reader.get("a", 10).await.unwrap(), "ours");
}

#[tokio::test]
async fn an_object_that_was_cut_on_its_way_is_not_there() {
    let far = Far::new().await;
    far.proxy.set_for(Fault::CutRequest(1000), 6, |_| true);
    assert!(matches!(far.writer.put("a", content(1)).await, Err(BucketError::Unreachable { .. })));
    assert!(matches!(far.reader.get("a", 1 << 20).await, Err(BucketError::NotFound { .. })));
    far.proxy.set_for(Fault::CutRequest(1000), 3, |_| true);
    far.writer.put("a", content(1)).await.unwrap();
    far.proxy.set_for(Fault::CutAnswer(3000), 3, |_| true);
    assert_eq!(far.reader.get("a", 1 << 20).await.unwrap(), content(1));
}

#[tokio::test]
async fn parts_of_a_multipart_upload_share_one_budget_of_retries() {
    let far = Far::new().await;
    let whole: Bytes = vec![7; 18 << 20].into();
    let is_part = |path: &str| path.contains("partNumber");
    far.proxy.set_for(Fault::Status(500), 5, is_part);
    far.writer.put("large", whole.clone()).await.unwrap();
    assert_eq!(far.reader.get("large", 1 << 25).await.unwrap(), whole);
    far.proxy.set_for(Fault::Status(500), usize::MAX, is_part);
    far.proxy.take_requests();
    assert!(matches!(far.writer.put("other", whole).await, Err(BucketError::Unreachable { .. })));
    assert!(matches!(far.reader.head("other").await, Err(BucketError::NotFound { .. })));
}

#[tokio::test]
async fn a_broken_upload_is_gone_on_with_and_nobody_sees_it_before_its_end() {
    let (far, whole) = (Far::new().await, content(12));
    far.proxy.set_for(Fault::Status(403), 1, |path| path.ends_with("/00006"));
    let source = LargeSource::Memory(whole.clone());
    let broken = far.writer.put_large(KEY, source.clone(), PART_BYTES).await;
    assert!(matches!(broken, Err(BucketError::Refused { .. })), "{broken:?}");
    let hash = *blake3::hash(&whole).as_bytes();
    assert!(matches!(
        download(std::slice::from_ref(&far.reader), &object(hash)).await,
        Err(BucketError::NotFound { .. })
    ));
    let sent = far.parts("PUT");
    assert!((4..12).contains(&sent), "{sent} parts were sent");
    assert_eq!(far.put(&whole).await, hash);
    let sent_again = far.parts("PUT");
    assert!(sent_again < 9 && sent + sent_again <= 15, "{sent} and {sent_again} parts were sent");
    assert_eq!(download(std::slice::from_ref(&far.reader), &object(hash)).await.unwrap().content, whole);
}

#[tokio::test]
async fn a_broken_download_is_gone_on_with() {
    let (far, whole) = (Far::new().await, content(12));
    let hash = far.put(&whole).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("object");
    far.proxy.take_requests();
    far.proxy.set_for(Fault::Status(404), 1, |path| path.ends_with("/00008"));
    let sources = [far.reader.clone()];
    assert!(download_to_file(&sources, &object(hash), &path).await.is_err());
    assert!(!path.exists());
    let fetched = far.parts("GET");
    // What is at rest may have been harmed too: that part is fetched again.
    let partial = folder.path().join("object.partial");
    let mut bytes = std::fs::read(&partial).unwrap();
    bytes[2 * PART_BYTES as usize + 5] ^= 1;
    std::fs::write(&partial, bytes).unwrap();
    let delivery = download_to_file(&sources, &object(hash), &path).await.unwrap();
    assert_eq!((delivery.content, delivery.complaints.len()), (whole.len() as u64, 0));
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    assert!(!partial.exists());
    let fetched_again = far.parts("GET");
    assert!((1..12).contains(&fetched_again) && fetched + fetched_again <= 16, "{fetched} and {fetched_again} parts");
}

#[tokio::test]
async fn parts_come_from_several_buckets_and_those_that_lie_or_fail_are_named() {
    let whole = content(12);
    let hash = *blake3::hash(&whole).as_bytes();
    for (first, second) in [
        (Fault::WrongBytes, Fault::CutAnswer(500)),
        (Fault::EndlessBytes, Fault::Refuse),
        (Fault::Status(500), Fault::WrongBytes),
        (Fault::None, Fault::None),
    ] {
        let fars = [Far::new().await, Far::new().await, Far::new().await];
        for far in &fars {
            far.put(&whole).await;
            far.proxy.take_requests();
        }
        let sources: Vec<Bucket> = fars.iter().map(|far| far.reader.clone()).collect();
        fars[0].proxy.set_for(first, usize::MAX, is_part);
        fars[1].proxy.set_for(second, usize::MAX, is_part);
        let delivery = download(&sources, &object(hash)).await.unwrap();
        assert_eq!(delivery.content, whole);
        let named = |source: usize| delivery.complaints.iter().any(|complaint| complaint.source == source);
        let faulty = [first, second].map(|fault| fault != Fault::None);
        assert_eq!([named(0), named(1), named(2)], [faulty[0], faulty[1], false], "{:?}", delivery.complaints);
        for far in &fars {
            assert!(far.parts("GET") > 0, "a source was not asked");
        }
    }
}

#[tokio::test]
async fn where_everybody_lies_the_lie_is_told() {
    let (far, whole) = (Far::new().await, content(3));
    let hash = far.put(&whole).await;
    far.proxy.set(Fault::WrongBytes);
    let lied = download(&[far.reader.clone(), far.reader.clone()], &object(hash)).await.unwrap_err();
    assert!(matches!(lied, BucketError::WrongContent { .. }), "{lied}");
    far.proxy.set(Fault::None);
    far.writer.put("other", "an old object".into()).await.unwrap();
    let old = LargeObject { key: "other", hash, max_bytes: 1 << 20 };
    assert!(matches!(download(std::slice::from_ref(&far.reader), &old).await, Err(BucketError::WrongContent { .. })));
    let small = LargeObject { key: "other", hash, max_bytes: 3 };
    assert!(matches!(download(&[far.reader], &small).await, Err(BucketError::TooLarge { .. })));
    assert!(matches!(download(&[], &old).await, Err(BucketError::NotFound { .. })));
}

#[tokio::test]
async fn a_slow_bucket_is_waited_for_when_nobody_else_has_the_object() {
    let (far, whole) = (Far::new().await, content(3));
    let hash = far.put(&whole).await;
    far.proxy.set(Fault::Slow(400_000));
    assert_eq!(download(&[far.reader], &object(hash)).await.unwrap().content, whole);
}
