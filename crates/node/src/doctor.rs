//! What a node needs of its machine and its services, checked before a role runs: disk, clock, ledger, bucket, device.

use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use templar_bucket::{Bucket, BucketError, BucketLocation, BucketOptions, Credentials, Reach};
use templar_chain::{Chain, ChainError, RpcChain, RpcOptions};
use templar_engine::{
    Batch, Buffer, CpuBackend, DeviceName, EngineError, Isa, OpenRequest, initial_parameters, preset,
};

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Nothing to do.
    Ok,
    /// A node may run, and something needs attention.
    Warn,
    /// A node cannot run.
    Fail,
}

/// The finding of one check.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// What was checked.
    pub check: &'static str,
    /// The result.
    pub health: Health,
    /// What was found.
    pub what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    /// A check without a fault.
    pub fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, health: Health::Ok, what: what.into(), fix: None }
    }

    /// A fault that a node can run with.
    pub fn warn(check: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, health: Health::Warn, what: what.into(), fix: Some(fix.into()) }
    }

    /// A fault that stops a node.
    pub fn fail(check: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, health: Health::Fail, what: what.into(), fix: Some(fix.into()) }
    }
}

/// Under this a node can hardly keep a run: a checkpoint, its optimiser and some windows of objects.
const LITTLE_BYTES: u64 = 10 << 30;

/// A clock that is off by more than this misses deadlines of short windows.
const CLOCK_TOLERANCE_MS: u64 = 2_000;

/// Deadline of each service: a check must not hang.
const DEADLINE: Duration = Duration::from_secs(5);

/// What is checked of a ledger's profile.
#[derive(Deserialize)]
struct LedgerFacts {
    name: String,
    block_time_ms: u64,
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// Whether the data folder can be written, and how much space it has.
pub fn disk(folder: &Path) -> Vec<Finding> {
    let name = folder.display();
    let written = std::fs::create_dir_all(folder).and_then(|()| {
        let probe = folder.join(format!(".doctor-{}", std::process::id()));
        let written = std::fs::write(&probe, b"probe");
        let removed = std::fs::remove_file(&probe);
        written.and(removed)
    });
    let rights = match written {
        Ok(()) => Finding::ok("data folder", format!("{name} can be written")),
        Err(error) => {
            let fix = "give this user the right to write there, or choose another folder with --data";
            Finding::fail("data folder", format!("{name} cannot be written: {error}"), fix)
        }
    };
    // Where the folder could not be made, its nearest parent has the disk that it would be on.
    let existing = folder.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."));
    vec![rights, room(existing)]
}

#[cfg(unix)]
fn room(folder: &Path) -> Finding {
    match rustix::fs::statvfs(folder) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let what = format!("{} free", gigabytes(free));
            let fix = "free space, or choose a larger disk with --data";
            match free {
                0..1_000_000_000 => Finding::fail("disk", what, fix),
                1_000_000_000..LITTLE_BYTES => Finding::warn("disk", what, fix),
                _ => Finding::ok("disk", what),
            }
        }
        Err(error) => Finding::warn("disk", format!("its free space is unknown: {error}"), "check it by hand"),
    }
}

#[cfg(not(unix))]
fn room(_: &Path) -> Finding {
    Finding::warn(
        "disk",
        "its free space is unknown on this system",
        format!("check that {} are free", gigabytes(LITTLE_BYTES)),
    )
}

/// As [`ledger_and_clock`], of the first of these ledgers that answers. Where none does and none was named, a machine
/// lacks nothing: a local network brings its own ledger.
pub async fn any_ledger_and_clock(urls: &[String], is_named: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    for url in urls {
        found = ledger_and_clock(url).await;
        if found.iter().all(|finding| finding.check != "ledger" || finding.health != Health::Fail) {
            return found;
        }
    }
    if is_named {
        return found;
    }
    let what = format!("none runs at {}; a miner or validator needs one: the setting `ledger`", urls.join(" or "));
    vec![Finding::ok("ledger", what), Finding::ok("clock", "not compared: the ledger's clock is the one that counts")]
}

/// Whether the ledger answers and makes blocks, and whether its clock agrees with ours.
pub async fn ledger_and_clock(url: &str) -> Vec<Finding> {
    let options = RpcOptions { attempt_timeout: DEADLINE, call_timeout: DEADLINE, submit_timeout: DEADLINE };
    let asked = async {
        let chain = RpcChain::connect(url, options).await?;
        Ok::<_, ChainError>((chain.head().await?, chain.profile::<LedgerFacts>().await?))
    };
    let (head, profile) = match tokio::time::timeout(DEADLINE * 2, asked).await {
        Ok(Ok(answer)) => answer,
        failed => {
            let why = match failed {
                Ok(Err(error)) => error.to_string(),
                _ => format!("no answer from {url} in time"),
            };
            let fix = "start one with `templar ledger`, or name the right one with --ledger";
            let clock = "not compared: the ledger's clock is the one that counts";
            return vec![Finding::fail("ledger", why, fix), Finding::warn("clock", clock, "reach the ledger first")];
        }
    };
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let (block, name) = (head.number, &profile.name);
    let tolerance_ms = profile.block_time_ms.saturating_mul(3).saturating_add(CLOCK_TOLERANCE_MS);
    let seconds = |milliseconds: u64| format!("{:.1} s", milliseconds as f64 / 1000.0);
    let reached = format!("{url}: block {block} of `{name}`, a block every {}", seconds(profile.block_time_ms));
    let synchronise = "synchronise this machine's clock (NTP), or ask the ledger's operator to";
    if now_ms.saturating_add(CLOCK_TOLERANCE_MS) < head.time_ms {
        let behind = format!("{} behind the ledger", seconds(head.time_ms - now_ms));
        return vec![Finding::ok("ledger", reached), Finding::fail("clock", behind, synchronise)];
    }
    let age_ms = now_ms.saturating_sub(head.time_ms);
    if age_ms > tolerance_ms {
        // A stopped ledger and a clock that runs ahead look alike from here.
        let what = format!("{reached}, but that block is {} old", seconds(age_ms));
        let fix = format!("if the ledger runs, {synchronise}");
        return vec![
            Finding::warn("ledger", what, "check that the ledger's process runs and its disk is not full"),
            Finding::warn("clock", format!("{} ahead of the ledger's newest block", seconds(age_ms)), fix),
        ];
    }
    vec![Finding::ok("ledger", reached), Finding::ok("clock", format!("newest block is {} old", seconds(age_ms)))]
}

/// Whether this node can write its bucket, and everybody can read it. In a network of one machine nobody else reads.
pub async fn bucket(location: &BucketLocation, credentials: Option<Credentials>, is_one_machine: bool) -> Finding {
    let options =
        BucketOptions { deadline: DEADLINE, connect_timeout: DEADLINE, attempts: 1, ..BucketOptions::default() };
    let key = format!("doctor/{}", std::process::id());
    let writer = match Bucket::open_writer_with(location, credentials, options.clone()) {
        Ok(writer) => writer,
        Err(error) => {
            let fix = error.advice().unwrap_or_else(|| "set `bucket_access_key` and `bucket_secret_key`".to_owned());
            return Finding::fail("bucket", format!("{location}: {error}"), fix);
        }
    };
    if let Err(error) = writer.put(&key, "probe".into()).await {
        let fix = error.advice().unwrap_or_else(|| "check the endpoint and the write key".to_owned());
        return Finding::fail("bucket", format!("{location} cannot be written: {error}"), fix);
    }
    let read = match Bucket::open_reader_with(location, options) {
        Ok(reader) => reader.get(&key, 64).await,
        Err(error) => Err(error),
    };
    let removed = writer.delete(&key).await;
    match (read, removed) {
        (Err(error), _) => {
            let fix = match error {
                BucketError::Refused { .. } => "let everybody read the bucket: other nodes fetch from it without a key",
                _ => "check the server: what was just written must be there for everybody",
            };
            Finding::fail("bucket", format!("{location} cannot be read without a key: {error}"), fix)
        }
        (Ok(bytes), _) if bytes != "probe" => {
            let fix = "check whether a cache or another server answers for it";
            Finding::fail("bucket", format!("{location} returns other bytes than were written"), fix)
        }
        (Ok(_), Err(error)) => {
            let fix = "allow the write key to delete: old windows are removed";
            Finding::warn("bucket", format!("{location} does not delete: {error}"), fix)
        }
        (Ok(_), Ok(())) => match location.reach_warning().filter(|_| !is_reached(location, is_one_machine)) {
            Some(warning) => {
                Finding::warn("bucket", format!("{location}: written, read, deleted; but {warning}"), NAME_IT)
            }
            None => Finding::ok("bucket", format!("{location}: written, read by everybody, deleted")),
        },
    }
}

/// What to do about a bucket that other machines cannot reach.
pub const NAME_IT: &str = "name the server by an address that other nodes can reach: `templar bucket key add NAME --endpoint http://my.host:9000`";

/// Whether all nodes of the network reach the bucket.
pub fn is_reached(location: &BucketLocation, is_one_machine: bool) -> bool {
    match location.reach() {
        Reach::Network => true,
        Reach::ThisMachine => is_one_machine,
        Reach::Nowhere => false,
    }
}

/// Trains for a second and states how fast that was.
pub fn device(threads: usize) -> Result<String, EngineError> {
    const VOCABULARY: usize = 1024;
    const SEQUENCES: usize = 4;
    const LENGTH: usize = 128;
    let config = preset("nano", VOCABULARY).expect("`nano` is a preset of the engine");
    let request = OpenRequest::new(config.clone()).with_threads(threads);
    let mut engine = templar_engine::open(&DeviceName::cpu(), &[&CpuBackend], request)?;
    engine.write(Buffer::Parameters, 0, &initial_parameters(&config, [0; 32]))?;
    let tokens = (0..SEQUENCES * (LENGTH + 1)).map(|place| (place * 37 % VOCABULARY) as u32).collect();
    let batches = [Batch::new(tokens, SEQUENCES, LENGTH)];
    // The first step makes the buffers and wakes the threads.
    engine.train_step(&batches, 1e-3)?;
    let started = Instant::now();
    let mut trained = 0;
    while started.elapsed() < Duration::from_secs(1) {
        trained += engine.train_step(&batches, 1e-3)?.tokens;
    }
    let speed = trained as f64 / started.elapsed().as_secs_f64();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let isa = Isa::best();
    Ok(format!("{cores} cores, {threads} threads, {isa}: {} tokens/s training `nano`", speed as u64))
}
