//! A server under load: clients that hold on to what they get keep nobody else out, and disks and buckets have an end.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use templar_bucket::{Bucket, BucketError, BucketOptions, BucketServer, KeyRing, ServerOptions, WriteKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// More than the buffers of a loopback connection take.
const LARGE: usize = 24 << 20;

fn key() -> WriteKey {
    WriteKey::new("miner-1", "secret-of-1", "bucket-1")
}

async fn serve(folder: &Path, options: ServerOptions) -> BucketServer {
    let keys = KeyRing::in_memory([key()]).unwrap();
    BucketServer::bind_with(ANY_PORT, folder, keys, options).await.unwrap()
}

fn options() -> BucketOptions {
    BucketOptions {
        deadline: Duration::from_secs(20),
        attempts: 3,
        first_pause: Duration::from_millis(5),
        ..BucketOptions::default()
    }
}

fn writer(server: &BucketServer) -> Bucket {
    let location = server.location("bucket-1").unwrap();
    Bucket::open_writer_with(&location, Some(key().credentials()), options()).unwrap()
}

fn reader(server: &BucketServer) -> Bucket {
    let location = server.location("bucket-1").unwrap();
    Bucket::open_reader_with(&location, options()).unwrap()
}

async fn connect_from(last: u8, server: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
    socket.connect(server).await.ok()
}

/// Asks for the large object from an address of its own and takes it at some 100 KiB a second, for ever; whenever it
/// is cut off, it comes back.
async fn read_slowly(last: u8, server: SocketAddr) {
    loop {
        if let Some(mut stream) = connect_from(last, server).await {
            let _ = stream.write_all(b"GET /bucket-1/large HTTP/1.1\r\nhost: x\r\n\r\n").await;
            let mut piece = vec![0; 10 << 10];
            while stream.read(&mut piece).await.is_ok_and(|bytes| bytes > 0) {
                sleep(Duration::from_millis(100)).await;
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Slow readers at these addresses, `each` of them at every one, until they hold all that they can get.
async fn slow_readers(server: &BucketServer, addresses: std::ops::Range<u8>, each: usize) -> JoinSet<()> {
    let address = server.local_addr();
    let mut readers = JoinSet::new();
    for last in addresses.flat_map(|last| std::iter::repeat_n(last, each)) {
        readers.spawn(read_slowly(last, address));
    }
    sleep(Duration::from_millis(500)).await;
    readers
}

fn few_slots() -> ServerOptions {
    ServerOptions { max_requests: 8, patience_under_load: Duration::from_millis(300), ..ServerOptions::default() }
}

#[tokio::test]
async fn slow_readers_of_one_address_do_not_keep_another_address_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), few_slots()).await;
    writer(&server).put("large", vec![0; LARGE].into()).await.unwrap();
    writer(&server).put("small", "x".into()).await.unwrap();
    let _readers = slow_readers(&server, 2..3, 32).await;
    for _ in 0..5 {
        assert_eq!(reader(&server).get("small", 10).await.unwrap(), "x");
    }
}

#[tokio::test]
async fn slow_readers_of_many_addresses_do_not_keep_another_one_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), few_slots()).await;
    writer(&server).put("large", vec![0; LARGE].into()).await.unwrap();
    writer(&server).put("small", "x".into()).await.unwrap();
    let _readers = slow_readers(&server, 2..26, 1).await;
    for _ in 0..5 {
        assert_eq!(reader(&server).get("small", 10).await.unwrap(), "x");
    }
}

#[tokio::test]
async fn slow_readers_do_not_keep_the_buckets_own_key_from_writing() {
    let folder = tempfile::tempdir().unwrap();
    let patient = ServerOptions { patience_under_load: Duration::from_secs(60), ..few_slots() };
    let server = serve(folder.path(), patient).await;
    writer(&server).put("large", vec![0; LARGE].into()).await.unwrap();
    // At the very address of the writer.
    let _readers = slow_readers(&server, 1..2, 32).await;
    for number in 0..5 {
        writer(&server).put(&format!("small-{number}"), "x".into()).await.unwrap();
    }
}

#[tokio::test]
async fn many_honest_readers_of_one_address_wait_for_each_other_and_all_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), few_slots()).await;
    writer(&server).put("a", vec![7; 1 << 20].into()).await.unwrap();
    let mut readers = JoinSet::new();
    for _ in 0..60 {
        let reader = reader(&server);
        readers.spawn(async move { reader.get("a", 1 << 20).await });
    }
    while let Some(read) = readers.join_next().await {
        assert_eq!(read.unwrap().unwrap().len(), 1 << 20);
    }
}

#[tokio::test]
async fn idle_connections_of_one_address_do_not_keep_another_address_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), ServerOptions { max_connections: 16, ..ServerOptions::default() }).await;
    writer(&server).put("a", "x".into()).await.unwrap();
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(connect_from(2, server.local_addr()).await);
    }
    assert_eq!(reader(&server).get("a", 10).await.unwrap(), "x");
}

#[tokio::test]
async fn a_bucket_over_its_quota_says_so_and_has_room_again_after_a_delete() {
    let folder = tempfile::tempdir().unwrap();
    let limits = || ServerOptions { max_bucket_bytes: 1000, ..ServerOptions::default() };
    let server = serve(folder.path(), limits()).await;
    let bucket = writer(&server);
    bucket.put("a", vec![0; 600].into()).await.unwrap();
    let full = bucket.put("b", vec![0; 401].into()).await.unwrap_err();
    assert!(matches!(full, BucketError::Full { .. }), "{full}");
    for part in ["QuotaExceeded", "uses 600 bytes of its quota of 1000", "delete objects", "bucket_quota_gb"] {
        assert!(full.to_string().contains(part), "{full}");
    }
    // What is on its way counts: two at once have no more room than one.
    let (one, two) = tokio::join!(bucket.put("b", vec![1; 300].into()), bucket.put("c", vec![1; 300].into()));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    bucket.delete("a").await.unwrap();
    bucket.put("d", vec![0; 700].into()).await.unwrap();
    server.shutdown().await;
    // After a restart the files count.
    let server = serve(folder.path(), limits()).await;
    assert!(matches!(writer(&server).put("e", "x".into()).await, Err(BucketError::Full { .. })));
}

/// A large object in parts of which the last is missing: the client dies before it.
async fn leave_unfinished(server: &BucketServer) {
    let location = server.location("bucket-1").unwrap();
    let options = BucketOptions { multipart_above: 5 << 20, part_bytes: 5 << 20, parallel_parts: 1, ..options() };
    let bucket = Bucket::open_writer_with(&location, Some(key().credentials()), options).unwrap();
    // Its last part is over the quota, and the abort that follows is lost as well where the client is killed.
    let upload = tokio::spawn(async move { bucket.put("large", vec![0; 64 << 20].into()).await });
    sleep(Duration::from_millis(100)).await;
    upload.abort();
    let _ = upload.await;
}

#[tokio::test]
async fn an_upload_that_its_client_left_expires_and_gives_its_room_back() {
    let folder = tempfile::tempdir().unwrap();
    let upload_timeout = Duration::from_millis(1500);
    let options = ServerOptions { upload_timeout, ..ServerOptions::default() };
    let server = serve(folder.path(), options).await;
    let staged = || std::fs::read_dir(folder.path().join(".server-staging")).unwrap().count();
    leave_unfinished(&server).await;
    assert!(staged() > 0);
    tokio::time::timeout(Duration::from_secs(10), async {
        while staged() > 0 {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("parts expire");
}
