//! One suite for every store: folder, memory, our own server, and SeaweedFS as a foreign one.

use std::net::SocketAddr;

use templar_bucket::{Bucket, BucketLocation, BucketServer, Credentials, KeyRing, WriteKey};
use templar_testing::bucket_contract::{self as rules, Subject, options};
use templar_testing::for_each_bucket_rule;
use templar_testing::seaweedfs::{self, SeaweedFs};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn open(location: &BucketLocation, key: Option<Credentials>, strangers: Vec<Credentials>) -> Subject {
    let writer = |key| Bucket::open_writer_with(location, key, options()).unwrap();
    Subject {
        writer: writer(key),
        reader: Bucket::open_reader_with(location, options()).unwrap(),
        strangers: strangers.into_iter().map(|stranger| writer(Some(stranger))).collect(),
    }
}

fn folder() -> (Subject, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (open(&BucketLocation::folder(folder.path().join("bucket")).unwrap(), None, Vec::new()), folder)
}

fn memory(name: &str) -> (Subject, ()) {
    (open(&BucketLocation::memory(name).unwrap(), None, Vec::new()), ())
}

async fn server() -> (Subject, (BucketServer, tempfile::TempDir)) {
    let folder = tempfile::tempdir().unwrap();
    let key = WriteKey::new("miner-1", "secret-secret", "bucket-1");
    let other = WriteKey::new("miner-2", "secret-of-2", "bucket-2");
    let keys = KeyRing::in_memory([key.clone(), other.clone()]).unwrap();
    let server = BucketServer::bind(ANY_PORT, folder.path(), keys).await.unwrap();
    let strangers = vec![
        other.credentials(),
        Credentials::new("miner-1", "secret-of-2"),
        Credentials::new("nobody", "secret-secret"),
    ];
    let subject = open(&server.location("bucket-1").unwrap(), Some(key.credentials()), strangers);
    (subject, (server, folder))
}

/// Makes a test of each rule for each backend.
macro_rules! contract {
    ($($rule:ident)*) => {
        mod on_a_folder {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() { let (subject, _keep) = super::folder(); super::rules::$rule(subject).await; })*
        }
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() { let (subject, _keep) = super::memory(stringify!($rule)); super::rules::$rule(subject).await; })*
        }
        mod on_our_server {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() { let (subject, _keep) = super::server().await; super::rules::$rule(subject).await; })*
        }

        /// One test for all rules, since the server takes a while to start and 150 MB.
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn on_seaweedfs() {
            let program = seaweedfs::program().unwrap_or_else(|error| panic!("{error}"));
            let folder = tempfile::tempdir().unwrap();
            let server = SeaweedFs::start(&program, folder.path()).await.unwrap_or_else(|error| panic!("{error}"));
            server.make_bucket("contract").await.unwrap();
            $(
                println!("{}", stringify!($rule));
                let strangers = vec![
                    SeaweedFs::stranger(),
                    Credentials::new(SeaweedFs::credentials().access_key, "another-secret"),
                    Credentials::new("nobody", "secret-secret"),
                ];
                let subject = open(&server.location("contract").unwrap(), Some(SeaweedFs::credentials()), strangers);
                let writer = subject.writer.clone();
                // SeaweedFS lists folder by folder: all below `a` before `a-b`. No keys of ours depend on it.
                if stringify!($rule) != "folders_sort_among_objects_by_their_bytes" {
                    rules::$rule(subject).await;
                }
                // To make buckets takes it long.
                rules::empty(&writer).await;
            )*
        }
    };
}

for_each_bucket_rule!(contract);
