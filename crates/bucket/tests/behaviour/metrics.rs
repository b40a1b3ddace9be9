//! What the server tells Prometheus.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use templar_bucket::{Bucket, BucketServer, KeyRing, ServerOptions, WriteKey};
use templar_testing::samples_of;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn the_metrics_follow_requests_bytes_objects_and_quotas() {
    let folder = tempfile::tempdir().unwrap();
    let key = WriteKey::new("writer", "secret-of-writer", "bucket-1");
    let keys = KeyRing::in_memory([key.clone()]).unwrap();
    let options = ServerOptions { max_bucket_bytes: 10_000, ..ServerOptions::default() };
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = BucketServer::bind_with(any_port, folder.path(), keys, options).await.unwrap();
    let (metrics, location) = (server.metrics(), server.location("bucket-1").unwrap());
    let read = || samples_of(&metrics.text());
    let before = read();
    assert_eq!((before["templar_bucket_objects"], before["templar_bucket_quota_bytes"]), (0.0, 10_000.0));
    assert!(!before.keys().any(|name| name.starts_with("templar_bucket_requests_total")), "{before:#?}");

    let bucket = Bucket::open_writer(&location, Some(key.credentials())).unwrap();
    bucket.put("a", vec![1; 4_000].into()).await.unwrap();
    bucket.put("b", vec![2; 500].into()).await.unwrap();
    bucket.get("a", 10_000).await.unwrap();
    bucket.get("missing", 10_000).await.unwrap_err();
    bucket.delete("b").await.unwrap();
    bucket.put("large", vec![3; 6_001].into()).await.unwrap_err();
    // A method and a query of a stranger's are words of the program all the same.
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let line = "BREW /bucket-1/pot?secret=hush HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(line.as_bytes()).await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await.unwrap();

    let after: BTreeMap<String, f64> = read();
    let value = |name: &str| *after.get(name).unwrap_or_else(|| panic!("{name} in {after:#?}"));
    for (name, wanted) in [
        ("templar_bucket_requests_total{operation=\"put\",status=\"200\"}", 2.0),
        ("templar_bucket_requests_total{operation=\"put\",status=\"507\"}", 1.0),
        ("templar_bucket_requests_total{operation=\"get\",status=\"200\"}", 1.0),
        ("templar_bucket_requests_total{operation=\"get\",status=\"404\"}", 1.0),
        ("templar_bucket_requests_total{operation=\"delete\",status=\"204\"}", 1.0),
        ("templar_bucket_buckets", 1.0),
        ("templar_bucket_objects", 1.0),
        ("templar_bucket_stored_bytes", 4_000.0),
        ("templar_bucket_largest_bytes", 4_000.0),
        ("templar_bucket_reserved_bytes", 0.0),
        ("templar_bucket_quota_rejections_total", 1.0),
        ("templar_bucket_uploads", 0.0),
        ("templar_bucket_running_requests", 0.0),
        ("templar_bucket_waiting_requests", 0.0),
        ("templar_bucket_rejected_connections_total", 0.0),
    ] {
        assert_eq!(value(name), wanted, "{name}");
    }
    assert!(value("templar_bucket_bytes_total{direction=\"received\"}") > 4_500.0);
    assert!(value("templar_bucket_bytes_total{direction=\"sent\"}") > 4_000.0);
    assert!(value("templar_bucket_connections") >= 1.0);
    assert!(after.keys().any(|name| name.contains("operation=\"other\"")), "{after:#?}");
    assert!(!after.keys().any(|name| name.contains("BREW") || name.contains("hush") || name.contains("secret")));
    server.shutdown().await;
}
