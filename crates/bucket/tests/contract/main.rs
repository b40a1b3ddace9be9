//! One suite for every backend: folder, memory, our own server, and SeaweedFS as somebody else's.

mod rules;

use std::net::SocketAddr;

use rules::{Place, for_each_rule, options};
use templar_bucket::seaweedfs::{self, SeaweedFs};
use templar_bucket::{Bucket, BucketLocation, BucketServer, Credentials, KeyRing, WriteKey};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn open(location: &BucketLocation, key: Option<Credentials>, strangers: Vec<Credentials>) -> Place {
    let writer = |key| Bucket::open_writer_with(location, key, options()).unwrap();
    Place {
        writer: writer(key),
        reader: Bucket::open_reader_with(location, options()).unwrap(),
        strangers: strangers.into_iter().map(|stranger| writer(Some(stranger))).collect(),
    }
}

fn folder() -> (Place, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (open(&BucketLocation::folder(folder.path().join("bucket")).unwrap(), None, Vec::new()), folder)
}

fn memory(name: &str) -> (Place, ()) {
    (open(&BucketLocation::memory(name).unwrap(), None, Vec::new()), ())
}

async fn server() -> (Place, (BucketServer, tempfile::TempDir)) {
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
    let place = open(&server.location("bucket-1").unwrap(), Some(key.credentials()), strangers);
    (place, (server, folder))
}

/// Makes a test of each rule for each backend.
macro_rules! contract {
    ($($rule:ident)*) => {
        mod on_a_folder {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() { let (place, _keep) = super::folder(); super::rules::$rule(place).await; })*
        }
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() { let (place, _keep) = super::memory(stringify!($rule)); super::rules::$rule(place).await; })*
        }
        mod on_our_server {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() { let (place, _keep) = super::server().await; super::rules::$rule(place).await; })*
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
                let place = open(&server.location("contract"), Some(SeaweedFs::credentials()), strangers);
                let writer = place.writer.clone();
                // SeaweedFS lists folder by folder: all below `a` before `a-b`. No keys of ours depend on it.
                if stringify!($rule) != "folders_sort_among_objects_by_their_bytes" {
                    rules::$rule(place).await;
                }
                // To make buckets takes it long.
                rules::empty(&writer).await;
            )*
        }
    };
}

for_each_rule!(contract);
