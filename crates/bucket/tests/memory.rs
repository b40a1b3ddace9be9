//! A large object passes through a node in the memory of a few parts, however large it is.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use templar_bucket::{
    Bucket, BucketOptions, BucketServer, KeyRing, LargeObject, LargeSource, WriteKey, download_to_file,
};

const OBJECT_BYTES: u64 = 256 << 20;
/// Client and server are in this one process; each holds some copies of four parts of 1 MiB.
const MAX_GROWTH_BYTES: u64 = 64 << 20;

/// The most memory that this process ever had, in bytes.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_object_passes_in_the_memory_of_a_few_parts() {
    let folder = tempfile::tempdir().unwrap();
    let original = folder.path().join("original");
    let mut file = File::create(&original).unwrap();
    let mut block = vec![0u8; 1 << 20];
    for number in 0..OBJECT_BYTES >> 20 {
        block.iter_mut().enumerate().for_each(|(place, byte)| *byte = (place as u64 * 31 + number) as u8);
        file.write_all(&block).unwrap();
    }
    drop((file, block));
    let key = WriteKey::new("miner-1", "secret-secret", "bucket-1");
    let keys = KeyRing::in_memory([key.clone()]).unwrap();
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let server = BucketServer::bind(address, &folder.path().join("server"), keys).await.unwrap();
    let location = server.location("bucket-1").unwrap();
    let options = BucketOptions { parallel_parts: 4, ..BucketOptions::default() };
    let writer = Bucket::open_writer_with(&location, Some(key.credentials()), options.clone()).unwrap();
    let reader = Bucket::open_reader_with(&location, options).unwrap();

    let before = peak_bytes();
    let hash = writer.put_large("model", LargeSource::File(original), 1 << 20).await.unwrap();
    let object = LargeObject { key: "model", hash, max_bytes: OBJECT_BYTES };
    let copy = folder.path().join("copy");
    let delivery = download_to_file(&[reader], &object, &copy).await.unwrap();
    let growth = peak_bytes() - before;
    assert_eq!(delivery.content, OBJECT_BYTES);
    assert!(growth < MAX_GROWTH_BYTES, "{} MiB for an object of {} MiB", growth >> 20, OBJECT_BYTES >> 20);
    println!("{} MiB for an object of {} MiB", growth >> 20, OBJECT_BYTES >> 20);
}
