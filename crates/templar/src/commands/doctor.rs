//! `templar doctor`.

use crate::config::{Config, DataFlag, LedgerFlag, Setting, ThreadsFlag};
use crate::interrupt;
use crate::output::{Output, Paint, count, size, table};
use crate::progress::Progress;
use anyhow::Context;
use clap::Args;
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use templar_bucket::{Bucket, BucketLocation, BucketOptions, Credentials};
use templar_chain::{Chain, RpcChain, RpcOptions};
use templar_engine::{Batch, Isa, initial_parameters, preset};
use templar_ledger::Profile;

/// Check what a node needs, and say what to do about each fault: clock, disk, ledger, bucket, device.
///
/// Exit code 0 if nothing failed; warnings do not count.
///
/// Example: templar doctor --ledger ws://127.0.0.1:9944
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Doctor {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlag,
    #[command(flatten)]
    ledger: LedgerFlag,
    #[command(flatten)]
    threads: ThreadsFlag,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Health {
    Ok,
    Warn,
    Fail,
}

/// One line of the report.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    health: Health,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, health: Health::Ok, what: what.into(), fix: None }
    }

    fn warn(check: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, health: Health::Warn, what: what.into(), fix: Some(fix.into()) }
    }

    fn fail(check: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, health: Health::Fail, what: what.into(), fix: Some(fix.into()) }
    }
}

/// Under this a node can hardly keep a run: a checkpoint, its optimiser and some windows of objects.
const LITTLE_BYTES: u64 = 10 << 30;

/// A clock that is off by more than this misses deadlines of short windows.
const CLOCK_TOLERANCE_MS: u64 = 2_000;

/// Patience with each service: a doctor is not to hang.
const PATIENCE: Duration = Duration::from_secs(5);

impl Doctor {
    /// Makes all checks and prints them.
    pub fn run(self, config: Config) -> anyhow::Result<()> {
        let config = config.with(&self.data).with(&self.ledger).with(&self.threads);
        let mut progress = Progress::new(config.is_quiet || self.json);
        let runtime = interrupt::runtime(2)?;
        let mut findings = Vec::new();
        progress.say("looking at the disk");
        findings.extend(disk(&config.data_folder()));
        progress.say("asking the ledger");
        findings.extend(runtime.block_on(ledger_and_clock(config.ledger())));
        progress.say("asking the bucket");
        findings.push(match config.bucket() {
            Ok(Some(location)) => runtime.block_on(bucket(&location, config.bucket_credentials())),
            Ok(None) => Finding::ok("bucket", "none is set; a miner or validator needs one: the setting `bucket`"),
            Err(error) => Finding::fail("bucket", error.to_string(), "correct the setting `bucket`"),
        });
        progress.say("measuring the device");
        findings.push(match config.threads().and_then(device) {
            Ok(what) => Finding::ok("device", what),
            Err(error) => Finding::fail("device", format!("{error:#}"), "correct the setting `threads`"),
        });
        for stranger in config.strangers() {
            let names = Setting::ALL.map(Setting::variable).join(", ");
            findings.push(Finding::warn("settings", format!("{stranger} is no setting"), format!("choose of {names}")));
        }
        drop(progress);
        Output::new(self.json).facts(&findings, |paint| report(paint, &findings))?;
        match findings.iter().filter(|finding| finding.health == Health::Fail).count() {
            0 => Ok(()),
            failed => Err(anyhow::anyhow!("{failed} of {} checks failed", findings.len())),
        }
    }
}

fn report(paint: Paint, findings: &[Finding]) -> String {
    // The colour comes last, since its codes have no width.
    let mut rows = Vec::new();
    for finding in findings {
        let health = match finding.health {
            Health::Ok => "ok",
            Health::Warn => "warn",
            Health::Fail => "fail",
        };
        rows.push(vec![health.to_owned(), finding.check.to_owned(), finding.what.clone()]);
        if let Some(fix) = &finding.fix {
            rows.push(vec![String::new(), String::new(), format!("fix: {fix}")]);
        }
    }
    let coloured = |line: &str| match line.split_once(' ') {
        Some(("ok", rest)) => format!("{} {rest}", paint.green("ok")),
        Some(("warn", rest)) => format!("{} {rest}", paint.yellow("warn")),
        Some(("fail", rest)) => format!("{} {rest}", paint.red("fail")),
        _ => line.to_owned(),
    };
    table(paint, None, &rows).lines().map(coloured).collect::<Vec<_>>().join("\n")
}

/// Whether the data folder can be written, and how much room it has.
fn disk(folder: &Path) -> Vec<Finding> {
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
            let what = format!("{} free", size(free));
            let fix = "free space, or choose a larger disk with --data";
            match free {
                0..1_000_000_000 => Finding::fail("disk", what, fix),
                1_000_000_000..LITTLE_BYTES => Finding::warn("disk", what, fix),
                _ => Finding::ok("disk", what),
            }
        }
        Err(error) => Finding::warn("disk", format!("its room is unknown: {error}"), "look at it by hand"),
    }
}

#[cfg(not(unix))]
fn room(_: &Path) -> Finding {
    Finding::warn("disk", "its room is unknown on this system", format!("see that {} are free", size(LITTLE_BYTES)))
}

/// Whether the ledger answers and moves, and whether its clock is ours.
async fn ledger_and_clock(url: &str) -> Vec<Finding> {
    let options = RpcOptions { attempt_timeout: PATIENCE, call_timeout: PATIENCE, submit_timeout: PATIENCE };
    let asked = async {
        let chain = RpcChain::connect(url, options).await?;
        Ok::<_, templar_chain::ChainError>((chain.head().await?, chain.profile::<Profile>().await?))
    };
    let (head, profile) = match tokio::time::timeout(PATIENCE * 2, asked).await {
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
    let patience_ms = profile.block_time_ms.saturating_mul(3).saturating_add(CLOCK_TOLERANCE_MS);
    let seconds = |milliseconds: u64| format!("{:.1} s", milliseconds as f64 / 1000.0);
    let reached = format!("{url}: block {block} of `{name}`, a block each {}", seconds(profile.block_time_ms));
    let synchronise = "synchronise this machine's clock (NTP), or ask the ledger's operator to";
    if now_ms.saturating_add(CLOCK_TOLERANCE_MS) < head.time_ms {
        let behind = format!("{} behind the ledger", seconds(head.time_ms - now_ms));
        return vec![Finding::ok("ledger", reached), Finding::fail("clock", behind, synchronise)];
    }
    let age_ms = now_ms.saturating_sub(head.time_ms);
    if age_ms > patience_ms {
        // A still ledger and a clock that runs ahead look alike from here.
        let what = format!("{reached}, but that block is {} old", seconds(age_ms));
        let fix = format!("if the ledger runs, {synchronise}");
        return vec![
            Finding::warn("ledger", what, "see that the ledger's process runs and its disk is not full"),
            Finding::warn("clock", format!("{} ahead of the ledger's newest block", seconds(age_ms)), fix),
        ];
    }
    vec![Finding::ok("ledger", reached), Finding::ok("clock", format!("newest block is {} old", seconds(age_ms)))]
}

/// Whether we can write our bucket, and everybody can read it.
async fn bucket(location: &BucketLocation, credentials: Option<Credentials>) -> Finding {
    let options =
        BucketOptions { deadline: PATIENCE, connect_timeout: PATIENCE, attempts: 1, ..BucketOptions::default() };
    let key = format!("doctor/{}", std::process::id());
    let writer = match Bucket::open_writer_with(location, credentials, options.clone()) {
        Ok(writer) => writer,
        Err(error) => {
            let fix = "set `bucket_access_key` and `bucket_secret_key`";
            return Finding::fail("bucket", format!("{location}: {error}"), fix);
        }
    };
    if let Err(error) = writer.put(&key, "probe".into()).await {
        let fix = "check the endpoint and the write key; on our own server, `templar bucket key add` makes one";
        return Finding::fail("bucket", format!("{location} cannot be written: {error}"), fix);
    }
    let read = match Bucket::open_reader_with(location, options) {
        Ok(reader) => reader.get(&key, 64).await,
        Err(error) => Err(error),
    };
    let removed = writer.delete(&key).await;
    match (read, removed) {
        (Err(error), _) => {
            let fix = "let everybody read the bucket: other nodes fetch from it without a key";
            Finding::fail("bucket", format!("{location} cannot be read without a key: {error}"), fix)
        }
        (Ok(bytes), _) if bytes != "probe" => {
            let fix = "see whether a cache or another server answers for it";
            Finding::fail("bucket", format!("{location} gives other bytes than were written"), fix)
        }
        (Ok(_), Err(error)) => {
            let fix = "allow the write key to delete: old windows are removed";
            Finding::warn("bucket", format!("{location} does not delete: {error}"), fix)
        }
        (Ok(_), Ok(())) => Finding::ok("bucket", format!("{location}: written, read by everybody, deleted")),
    }
}

/// Trains for a second and says how fast it went.
fn device(threads: usize) -> anyhow::Result<String> {
    const VOCABULARY: usize = 1024;
    const SEQUENCES: usize = 4;
    const LENGTH: usize = 128;
    let config = preset("nano", VOCABULARY)?;
    let mut engine = templar_model::engine_of(&config, &initial_parameters(&config, [0; 32]), threads)?;
    let tokens = (0..SEQUENCES * (LENGTH + 1)).map(|place| (place * 37 % VOCABULARY) as u32).collect();
    let batches = [Batch::new(tokens, SEQUENCES, LENGTH)];
    // The first step makes the buffers and wakes the threads.
    engine.train_step(&batches, 1e-3).context("a training step failed")?;
    let started = Instant::now();
    let mut learnt = 0;
    while started.elapsed() < Duration::from_secs(1) {
        learnt += engine.train_step(&batches, 1e-3).context("a training step failed")?.tokens;
    }
    let speed = learnt as f64 / started.elapsed().as_secs_f64();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let isa = Isa::best();
    Ok(format!("{cores} cores, {threads} threads, {isa}: {} tokens/s training `nano`", count(speed as u64)))
}
