//! Measures storing and reading large objects in a folder and through our server on the loopback interface:
//! `cargo run --release -p templar-bucket --example throughput [FOLDER]`.

use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use templar_bucket::{Bucket, BucketError, BucketLocation, BucketOptions, BucketServer, KeyRing, WriteKey};

const OBJECT_BYTES: usize = 256 << 20;
const SMALL_OBJECTS: usize = 500;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let root = root.join(format!("templar-throughput-{}", std::process::id()));
    let measured = measure_all(&root).await;
    std::fs::remove_dir_all(&root)?;
    measured
}

async fn measure_all(root: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let folder = Bucket::open_writer(&BucketLocation::folder(root.join("folder"))?, None)?;
    measure("folder", &folder).await?;

    let key = WriteKey::new("measurer", "secret-secret", "measured");
    let keys = KeyRing::in_memory([key.clone()])?;
    let server = BucketServer::bind("127.0.0.1:0".parse()?, &root.join("server"), keys).await?;
    let location = server.location("measured")?;
    let single = BucketOptions { multipart_above: u64::MAX, ..BucketOptions::default() };
    measure("server, one request", &Bucket::open_writer_with(&location, Some(key.credentials()), single)?).await?;
    measure("server, in parts", &Bucket::open_writer(&location, Some(key.credentials()))?).await?;
    server.shutdown().await;
    Ok(())
}

async fn measure(name: &str, bucket: &Bucket) -> Result<(), BucketError> {
    let object: Bytes = (0..OBJECT_BYTES).map(|i| (i as u32).wrapping_mul(0x9E37_79B9).to_le_bytes()[3]).collect();
    let mebibytes = OBJECT_BYTES as f64 / f64::from(1 << 20);

    let start = Instant::now();
    bucket.put("large", object.clone()).await?;
    let put = start.elapsed().as_secs_f64();
    let start = Instant::now();
    assert_eq!(bucket.get("large", OBJECT_BYTES as u64).await?.len(), OBJECT_BYTES);
    let get = start.elapsed().as_secs_f64();

    let start = Instant::now();
    for i in 0..SMALL_OBJECTS {
        bucket.put(&format!("small/{i:04}"), object.slice(i..i + 1000)).await?;
    }
    let small_put = start.elapsed().as_secs_f64() / SMALL_OBJECTS as f64;
    let start = Instant::now();
    for i in 0..SMALL_OBJECTS {
        bucket.get(&format!("small/{i:04}"), 1000).await?;
    }
    let small_get = start.elapsed().as_secs_f64() / SMALL_OBJECTS as f64;
    println!(
        "{name}: put {:.0} MiB/s, get {:.0} MiB/s; 1 kB objects: put {:.2} ms, get {:.2} ms",
        mebibytes / put,
        mebibytes / get,
        small_put * 1e3,
        small_get * 1e3
    );
    Ok(())
}
