//! What only the server promises: who may write, what survives, what it refuses, and what a hostile one achieves.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use templar_bucket::{
    Bucket, BucketError, BucketLocation, BucketOptions, BucketServer, Credentials, KeyRing, PutOutcome, ServerError,
    ServerOptions, WriteKey,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn key_of(number: u32) -> WriteKey {
    WriteKey::new(format!("miner-{number}"), format!("secret-of-{number}"), format!("bucket-{number}"))
}

fn options() -> BucketOptions {
    BucketOptions {
        deadline: Duration::from_secs(20),
        attempts: 3,
        first_pause: Duration::from_millis(5),
        multipart_above: 1 << 20,
        part_bytes: 300_000,
        parallel_parts: 1,
        ..BucketOptions::default()
    }
}

fn writer(location: &BucketLocation, credentials: Credentials) -> Bucket {
    Bucket::open_writer_with(location, Some(credentials), options()).unwrap()
}

fn reader(location: &BucketLocation) -> Bucket {
    Bucket::open_reader_with(location, options()).unwrap()
}

/// Sends raw bytes and returns all that comes back.
async fn talk(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// A server that answers every request with the same bytes.
async fn canned(answer: &'static str) -> BucketLocation {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    BucketLocation::s3("bucket-1", &format!("http://{address}"), None).unwrap()
}

#[tokio::test]
async fn writing_needs_the_key_of_this_very_bucket() {
    let folder = tempfile::tempdir().unwrap();
    let keys = KeyRing::in_memory([key_of(1), key_of(2)]).unwrap();
    let server = BucketServer::bind(ANY_PORT, folder.path(), keys).await.unwrap();
    let location = server.location("bucket-1").unwrap();
    writer(&location, key_of(1).credentials()).put("a", "mine".into()).await.unwrap();

    let strangers = [
        key_of(2).credentials(),
        Credentials::new("miner-1", "secret-of-2"),
        Credentials::new("nobody", "secret-of-1"),
    ];
    for credentials in strangers {
        let stranger = writer(&location, credentials);
        assert!(matches!(stranger.put("a", "theirs".into()).await, Err(BucketError::Refused { .. })));
        assert!(matches!(stranger.put_if_absent("b", "theirs".into()).await, Err(BucketError::Refused { .. })));
        assert!(matches!(stranger.delete("a").await, Err(BucketError::Refused { .. })));
        let large = vec![0u8; 2 << 20].into();
        assert!(matches!(stranger.put("large", large).await, Err(BucketError::Refused { .. })));
    }
    assert_eq!(reader(&location).get("a", 10).await.unwrap(), "mine");

    let anonymous_put = "PUT /bucket-1/b HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx";
    assert!(talk(server.local_addr(), anonymous_put).await.starts_with("HTTP/1.1 403"));
    let anonymous_delete = "DELETE /bucket-1/a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert!(talk(server.local_addr(), anonymous_delete).await.starts_with("HTTP/1.1 403"));
    let all_buckets = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert!(talk(server.local_addr(), all_buckets).await.starts_with("HTTP/1.1 403"));
}

#[tokio::test]
async fn a_key_registered_while_the_server_runs_counts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let root = folder.path().join("root");
    let server = BucketServer::bind(ANY_PORT, &root, KeyRing::from_file(&file).unwrap()).await.unwrap();
    let location = server.location("bucket-7").unwrap();
    let late = writer(&location, key_of(7).credentials());
    assert!(matches!(late.put("a", "x".into()).await, Err(BucketError::Refused { .. })));
    assert!(matches!(reader(&location).list("", None, 1).await, Err(BucketError::NotFound { .. })));
    KeyRing::from_file(&file).unwrap().register(key_of(7)).unwrap();
    assert!(reader(&location).list("", None, 1).await.unwrap().objects.is_empty());
    late.put("a", "x".into()).await.unwrap();
}

#[tokio::test]
async fn a_restart_keeps_objects_and_drops_leftovers() {
    let folder = tempfile::tempdir().unwrap();
    let keys = || KeyRing::in_memory([key_of(1)]).unwrap();
    let server = BucketServer::bind(ANY_PORT, folder.path(), keys()).await.unwrap();
    let first = writer(&server.location("bucket-1").unwrap(), key_of(1).credentials());
    first.put("a", "kept".into()).await.unwrap();
    server.shutdown().await;
    assert!(matches!(first.get("a", 10).await, Err(BucketError::Unreachable { .. })));

    let leftover = folder.path().join(".server-staging").join("99-1");
    std::fs::write(&leftover, b"half").unwrap();
    let server = BucketServer::bind(ANY_PORT, folder.path(), keys()).await.unwrap();
    assert!(!leftover.exists());
    let again = reader(&server.location("bucket-1").unwrap());
    assert_eq!(again.get("a", 10).await.unwrap(), "kept");
}

#[tokio::test]
async fn two_servers_share_neither_a_folder_nor_a_port() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let keys = || KeyRing::in_memory([]).unwrap();
    let server = BucketServer::bind(ANY_PORT, folder.path(), keys()).await.unwrap();
    let same_folder = BucketServer::bind(ANY_PORT, folder.path(), keys()).await;
    assert!(matches!(same_folder, Err(ServerError::FolderInUse { .. })));
    let same_port = BucketServer::bind(server.local_addr(), other.path(), keys()).await;
    assert!(matches!(same_port, Err(ServerError::AddressInUse { .. })));
}

#[tokio::test]
async fn an_object_over_the_servers_limit_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let limits = ServerOptions { max_object_bytes: 1000, ..ServerOptions::default() };
    let keys = KeyRing::in_memory([key_of(1)]).unwrap();
    let server = BucketServer::bind_with(ANY_PORT, folder.path(), keys, limits).await.unwrap();
    let bucket = writer(&server.location("bucket-1").unwrap(), key_of(1).credentials());
    assert!(matches!(bucket.put("a", vec![0; 1001].into()).await, Err(BucketError::Failed { .. })));
    assert!(matches!(bucket.put("a", vec![0; 2 << 20].into()).await, Err(BucketError::Failed { .. })));
    assert!(bucket.list("", None, 10).await.unwrap().objects.is_empty());
    assert_eq!(std::fs::read_dir(folder.path().join(".server-staging")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_full_server_asks_to_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let slot_timeout = Duration::from_millis(50);
    let limits = ServerOptions { max_requests: 0, slot_timeout, ..ServerOptions::default() };
    let server =
        BucketServer::bind_with(ANY_PORT, folder.path(), KeyRing::in_memory([]).unwrap(), limits).await.unwrap();
    let error = reader(&server.location("bucket-1").unwrap()).get("a", 10).await.unwrap_err();
    assert!(matches!(error, BucketError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let limits = ServerOptions { header_timeout: Duration::from_millis(50), ..ServerOptions::default() };
    let server =
        BucketServer::bind_with(ANY_PORT, folder.path(), KeyRing::in_memory([]).unwrap(), limits).await.unwrap();
    // Returns only because the server closes the connection.
    talk(server.local_addr(), "GET /bucket-1/a HTT").await;
}

#[tokio::test]
async fn keys_that_climb_out_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), b"top secret").unwrap();
    let root = folder.path().join("root");
    let keys = KeyRing::in_memory([key_of(1)]).unwrap();
    let server = BucketServer::bind(ANY_PORT, &root, keys).await.unwrap();
    for path in [
        "/bucket-1/../../secret",
        "/bucket-1/%2e%2e/%2e%2e/secret",
        "/bucket-1//etc/passwd",
        "/.server-staging/x",
        "/../secret",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = talk(server.local_addr(), &request).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
        assert!(!answer.contains("top secret") && !answer.contains("root:"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn slashes_group_a_listing() {
    let folder = tempfile::tempdir().unwrap();
    let server = BucketServer::bind(ANY_PORT, folder.path(), KeyRing::in_memory([key_of(1)]).unwrap()).await.unwrap();
    let bucket = writer(&server.location("bucket-1").unwrap(), key_of(1).credentials());
    for key in ["a", "b/1", "b/2/x", "b0", "c/1"] {
        bucket.put(key, "x".into()).await.unwrap();
    }
    let mut token = String::new();
    let mut seen = Vec::new();
    loop {
        let request = format!(
            "GET /bucket-1?list-type=2&delimiter=%2F&max-keys=2{token} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        );
        let answer = talk(server.local_addr(), &request).await;
        let texts = |tag: &str| -> Vec<String> {
            let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
            answer.split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap().to_owned()).collect()
        };
        seen.extend(texts("Key"));
        seen.extend(texts("CommonPrefixes").iter().map(|group| group.replace("<Prefix>", "").replace("</Prefix>", "")));
        match texts("NextContinuationToken").first() {
            Some(next) => token = format!("&continuation-token={}", next.replace('/', "%2F").replace('~', "%7E")),
            None => break,
        }
    }
    seen.sort();
    assert_eq!(seen, ["a", "b/", "b0", "c/"]);
}

#[tokio::test]
async fn a_server_that_announces_too_much_is_refused_before_its_body() {
    let location = canned(
        "HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\nlast-modified: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n",
    )
    .await;
    let error = reader(&location).get("a", 1000).await.unwrap_err();
    assert!(matches!(error, BucketError::TooLarge { size: 999_999_999_999, .. }), "{error}");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let location = canned("HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let error = reader(&location).get("a", 1000).await.unwrap_err();
    assert!(matches!(error, BucketError::Misbehaved { .. }), "{error}");
}

#[tokio::test]
async fn garbage_and_broken_bodies_end_in_typed_errors() {
    for answer in [
        "garbage\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\nconnection: close\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nno length",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n4\r\nlies\r\n0\r\n\r\n",
        "HTTP/1.1 418 Teapot\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    ] {
        let location = canned(answer).await;
        let bucket = reader(&location);
        assert!(bucket.get("a", 1000).await.is_err(), "{answer}");
        assert!(bucket.get_range("a", 0..4).await.is_err(), "{answer}");
        assert!(bucket.list("", None, 10).await.is_err(), "{answer}");
    }
}

#[tokio::test]
async fn an_object_without_a_length_breaks_the_protocol() {
    let location = canned("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\netag: \"x\"\r\nlast-modified: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n4\r\nlies\r\n").await;
    let error = reader(&location).get("a", 1000).await.unwrap_err();
    assert!(matches!(error, BucketError::Misbehaved { .. }), "{error}");
    assert!(error.to_string().contains("without its length"), "{error}");
}

#[tokio::test]
async fn a_silent_server_meets_the_deadline() {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let location = BucketLocation::s3("bucket-1", &format!("http://{}", listener.local_addr().unwrap()), None).unwrap();
    let options = BucketOptions { deadline: Duration::from_millis(100), ..options() };
    let error = Bucket::open_reader_with(&location, options).unwrap().get("a", 10).await.unwrap_err();
    assert!(matches!(error, BucketError::DeadlineExceeded { .. }), "{error}");
}

#[tokio::test]
async fn a_listing_out_of_order_is_refused() {
    let location = canned(concat!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
        "<ListBucketResult><IsTruncated>false</IsTruncated>",
        "<Contents><Key>b</Key><Size>1</Size><LastModified>2020-01-01T00:00:00.000Z</LastModified></Contents>",
        "<Contents><Key>a</Key><Size>1</Size><LastModified>2020-01-01T00:00:00.000Z</LastModified></Contents>",
        "</ListBucketResult>"
    ))
    .await;
    let error = reader(&location).list("", None, 10).await.unwrap_err();
    assert!(matches!(error, BucketError::Misbehaved { .. }), "{error}");
}

/// Passes connections on to `target`, but drops the answers to the first `lost` of them.
async fn lossy(target: SocketAddr, lost: usize) -> BucketLocation {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut number = 0;
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            number += 1;
            let drops_answer = number <= lost;
            tokio::spawn(async move {
                let mut server = TcpStream::connect(target).await.unwrap();
                if !drops_answer {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    return;
                }
                let (mut from_client, _to_client) = client.split();
                let (mut from_server, mut to_server) = server.split();
                let mut answer = [0; 1];
                tokio::select! {
                    _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                    _ = from_server.read(&mut answer) => {}
                }
            });
        }
    });
    BucketLocation::s3("bucket-1", &format!("http://{address}"), None).unwrap()
}

#[tokio::test]
async fn a_creation_whose_answer_is_lost_is_not_mistaken_for_a_lost_race() {
    let folder = tempfile::tempdir().unwrap();
    let server = BucketServer::bind(ANY_PORT, folder.path(), KeyRing::in_memory([key_of(1)]).unwrap()).await.unwrap();
    let bucket = writer(&lossy(server.local_addr(), 1).await, key_of(1).credentials());
    assert_eq!(bucket.put_if_absent("a", "ours".into()).await.unwrap(), PutOutcome::Created);
    let bucket = writer(&lossy(server.local_addr(), 1).await, key_of(1).credentials());
    assert_eq!(bucket.put_if_absent("a", "theirs".into()).await.unwrap(), PutOutcome::AlreadyExists);
    let bucket = reader(&lossy(server.local_addr(), 2).await);
    assert_eq!(bucket.get("a", 10).await.unwrap(), "ours");
    let bucket = reader(&lossy(server.local_addr(), 3).await);
    assert!(matches!(bucket.get("a", 10).await, Err(BucketError::Unreachable { .. })));
}

#[tokio::test]
async fn a_body_that_dribbles_is_cut_off_before_anybody_is_asked_for_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let limits = ServerOptions { stall_timeout: Duration::from_millis(100), ..ServerOptions::default() };
    let keys = KeyRing::in_memory([key_of(1)]).unwrap();
    let server = BucketServer::bind_with(ANY_PORT, folder.path(), keys, limits).await.unwrap();
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let form = "POST /bucket-1 HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=x\r\n\
        content-length: 10000\r\n\r\n";
    stream.write_all(form.as_bytes()).await.unwrap();
    let (mut from_server, mut to_server) = stream.split();
    let dribble = async {
        while to_server.write_all(b"-").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let mut answer = [0; 1];
    // Ends only because the server answers or closes.
    tokio::select! {
        () = dribble => {}
        _ = from_server.read(&mut answer) => {}
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_gives_its_slot_back() {
    let folder = tempfile::tempdir().unwrap();
    let limits =
        ServerOptions { stall_timeout: Duration::from_millis(100), max_requests: 1, ..ServerOptions::default() };
    let keys = KeyRing::in_memory([key_of(1)]).unwrap();
    let server = BucketServer::bind_with(ANY_PORT, folder.path(), keys, limits).await.unwrap();
    let location = server.location("bucket-1").unwrap();
    // More than the buffers of a loopback connection take.
    writer(&location, key_of(1).credentials()).put("large", vec![0; 48 << 20].into()).await.unwrap();
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream.write_all(b"GET /bucket-1/large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    stream.readable().await.unwrap();
    // Ends only because the slot becomes free.
    while reader(&location).head("large").await.is_err() {}
    drop(stream);
}

#[tokio::test]
async fn a_full_disk_behind_a_server_is_told_apart() {
    let location = canned("HTTP/1.1 507 Insufficient Storage\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let bucket = writer(&location, key_of(1).credentials());
    assert!(matches!(bucket.put("a", "x".into()).await, Err(BucketError::Full { .. })));
}
