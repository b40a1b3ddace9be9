//! A server that is killed keeps every write that it answered, and has no half objects.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use templar_bucket::{Bucket, BucketLocation, BucketOptions, BucketServer, KeyRing, PutOutcome, WriteKey};

/// Set for the child process that is to be killed: the folder that it serves.
const CHILD_FOLDER: &str = "TEMPLAR_BUCKET_KILL_TEST_FOLDER";
const WRITERS: u64 = 4;

fn key() -> WriteKey {
    WriteKey::new("miner-1", "secret-secret", "bucket-1")
}

async fn serve(folder: &Path) -> BucketServer {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    BucketServer::bind(address, folder, KeyRing::in_memory([key()]).unwrap()).await.unwrap()
}

/// The child's life: it serves. Without a parent it does nothing.
#[tokio::test]
async fn child_serves_until_it_is_killed() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else { return };
    let server = serve(Path::new(&folder)).await;
    println!("\nserving {}", server.local_addr());
    std::future::pending::<()>().await;
}

fn start_child(folder: &Path) -> (Child, BucketLocation) {
    start(Command::new(std::env::current_exe().unwrap()), folder)
}

fn start(mut program: Command, folder: &Path) -> (Child, BucketLocation) {
    let mut child = program
        .args(["--exact", "child_serves_until_it_is_killed", "--nocapture"])
        .env(CHILD_FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.strip_prefix("serving ").map(str::to_owned)).unwrap();
    (child, BucketLocation::s3("bucket-1", &format!("http://{address}"), None).unwrap())
}

/// A child whose system lets no file grow over some megabytes, as a full disk lets none.
#[cfg(unix)]
fn start_child_on_a_small_disk(folder: &Path) -> (Child, BucketLocation) {
    let mut shell = Command::new("sh");
    // The limit is in blocks of 512 or 1024 bytes.
    shell.args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    start(shell, folder)
}

#[cfg(unix)]
#[tokio::test]
async fn a_full_disk_says_so_and_loses_nothing_that_was_stored() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, location) = start_child_on_a_small_disk(folder.path());
    // The server ends a connection whose body it does not take; a client tries again on another one.
    let patient = BucketOptions { attempts: 3, ..options() };
    let bucket = Bucket::open_writer_with(&location, Some(key().credentials()), patient).unwrap();
    bucket.put("a", "before".into()).await.unwrap();
    // In one piece, and in parts.
    for bytes in [5 << 20, 12 << 20] {
        let full = bucket.put("a", vec![0; bytes].into()).await.unwrap_err();
        assert!(matches!(full, templar_bucket::BucketError::Full { .. }), "{full}");
        assert!(full.to_string().contains("the disk of the server is full; what is stored is safe"), "{full}");
        assert_eq!(bucket.get("a", 100).await.unwrap(), "before");
    }
    bucket.put("b", "after".into()).await.unwrap();
    assert_eq!(bucket.list("", None, 10).await.unwrap().objects.len(), 2);
    assert_eq!(std::fs::read_dir(folder.path().join(".server-staging")).unwrap().count(), 0);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn options() -> BucketOptions {
    BucketOptions {
        deadline: Duration::from_secs(10),
        attempts: 1,
        multipart_above: 6 << 20,
        part_bytes: 5 << 20,
        ..BucketOptions::default()
    }
}

/// What the `number`th write of a writer stores: small objects, some of a megabyte, now and then one in parts.
fn content(writer: u64, number: u64) -> Bytes {
    let length = match number % 8 {
        0 => 7 << 20,
        1 | 2 => 1 << 20,
        _ => 300 + number,
    };
    let mut bytes = vec![(writer * 31 + number) as u8; length as usize];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes.into()
}

/// For each key the number of the last write that was answered; none where that was its deletion.
type Answered = Arc<Mutex<BTreeMap<String, Option<u64>>>>;

/// Writes, writes over, and deletes until the server is gone.
async fn write_until_killed(bucket: Bucket, writer: u64, from: u64, answered: Answered) -> u64 {
    let mut number = from;
    loop {
        let key = format!("window/{writer}/{:02}", number % 24);
        // What becomes of the write that is under way at the kill is open.
        let before = answered.lock().unwrap().remove(&key);
        let done = if number.is_multiple_of(5) && before.flatten().is_some() {
            bucket.delete(&key).await.map(|()| None)
        } else if number.is_multiple_of(7) {
            bucket.put_if_absent(&key, content(writer, number)).await.map(|outcome| match outcome {
                PutOutcome::Created => Some(number),
                PutOutcome::AlreadyExists => before.flatten(),
            })
        } else {
            bucket.put(&key, content(writer, number)).await.map(|()| Some(number))
        };
        let Ok(state) = done else { return number + 1 };
        // An object of which nothing is known is no wiser for having been there.
        if state.is_some() || before.is_some() {
            answered.lock().unwrap().insert(key, state);
        }
        number += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_keeps_every_answered_write() {
    let folder = tempfile::tempdir().unwrap();
    let answered = Answered::default();
    let mut from = vec![0; WRITERS as usize];
    for milliseconds in [150, 700, 330, 510] {
        let (mut child, location) = start_child(folder.path());
        let writing: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let bucket = Bucket::open_writer_with(&location, Some(key().credentials()), options()).unwrap();
                tokio::spawn(write_until_killed(bucket, writer, from[writer as usize], Arc::clone(&answered)))
            })
            .collect();
        // When it is killed decides what is under way, not whether the test passes.
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        for (writer, writing) in writing.into_iter().enumerate() {
            from[writer] = writing.await.unwrap();
        }
        let so_far = answered.lock().unwrap().clone();
        check(folder.path(), &so_far).await;
    }
    assert!(answered.lock().unwrap().len() > 10, "hardly anything was written");
}

async fn check(folder: &Path, answered: &BTreeMap<String, Option<u64>>) {
    let server = serve(folder).await;
    assert_eq!(std::fs::read_dir(folder.join(".server-staging")).unwrap().count(), 0);
    let bucket = Bucket::open_reader_with(&server.location("bucket-1").unwrap(), options()).unwrap();
    let listed: BTreeMap<String, u64> =
        bucket.list("", None, 1000).await.unwrap().objects.into_iter().map(|entry| (entry.key, entry.size)).collect();
    for (key, size) in &listed {
        let bytes = bucket.get(key, 1 << 24).await.unwrap();
        let (writer, number) = (key.split('/').nth(1).unwrap(), u64::from_le_bytes(bytes[..8].try_into().unwrap()));
        assert_eq!(bytes, content(writer.parse().unwrap(), number), "{key} is not whole");
        assert_eq!(bytes.len() as u64, *size);
        if let Some(state) = answered.get(key) {
            assert_eq!(*state, Some(number), "{key}");
        }
    }
    for (key, state) in answered {
        assert_eq!(state.is_some(), listed.contains_key(key), "{key}");
    }
    server.shutdown().await;
}
