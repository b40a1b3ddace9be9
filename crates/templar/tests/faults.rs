//! A whole network of real processes over a network that fails, and beside buckets that lie: all requests of all nodes go
//! through a proxy that this test owns.

// Each test needs another part of it.
#[allow(dead_code)]
#[path = "support/up.rs"]
mod up;

use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};
use templar_bucket::{BucketServer, KeyRing};
use templar_testing::{Fault, FaultProxy};
use up::{PATIENCE, Up, journals, kill_process};

const MINERS: u64 = 4;
const NODES: u64 = MINERS + 2;

/// The server and the proxy that stand where the network's own bucket server stood.
struct Between {
    proxy: FaultProxy,
    _server: BucketServer,
}

/// Takes the place of the network's bucket server. Its process is started again by its parent and again, and ends each
/// time because port and folder are taken.
async fn take_over(up: &Up) -> Between {
    let settings: Value = serde_json::from_slice(&std::fs::read(up.data.join("network.json")).unwrap()).unwrap();
    let port = u16::try_from(settings["bucket_port"].as_u64().unwrap()).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let begun = Instant::now();
    let server = loop {
        if let Some(process) = up.process("bucket") {
            kill_process(process);
        }
        let keys = KeyRing::from_file(up.data.join("bucket-keys.json")).unwrap();
        match BucketServer::bind(any_port, &up.data.join("bucket"), keys).await {
            Ok(server) => break server,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    // A successor that listens already ends by itself, as the folder is taken.
    while std::net::TcpListener::bind(address).is_err() {
        assert!(begun.elapsed() < PATIENCE, "port {port} does not become free");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let proxy = FaultProxy::start_at(address, server.local_addr()).await;
    Between { proxy, _server: server }
}

/// The bucket of a node of `templar up`.
fn bucket_of(up: &Path, name: &str) -> String {
    let file = up.join("wallets").join(name).join("hotkeys").join("default");
    let wallet: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let key = wallet["publicKey"].as_str().unwrap().trim_start_matches("0x");
    format!("templar-{}", &key[..24])
}

/// The standings that the agreed verdicts gave a miner, as its journal tells them, by window.
fn standings(up: &Path, miner: &str) -> Vec<(u64, String)> {
    let entries = journals(up).remove(miner).unwrap_or_default();
    let verdicts = entries.iter().filter(|entry| entry["event"] == "verdict");
    verdicts.map(|entry| (entry["window"].as_u64().unwrap(), entry["standing"].as_str().unwrap().to_owned())).collect()
}

/// Whether a miner passed the door in a window after `window`.
fn is_accepted_after(up: &Path, miner: &str, window: u64) -> bool {
    standings(up, miner).iter().any(|(at, standing)| *at > window && !standing.starts_with("refused"))
}

/// Whether a miner was refused in a window after `window`.
fn is_refused_after(up: &Path, miner: &str, window: u64) -> bool {
    standings(up, miner).iter().any(|(at, standing)| *at > window && standing.starts_with("refused"))
}

/// Whether a node said something like this, in its journal or its log.
fn has_said(up: &Path, node: &str, words: &str) -> bool {
    let entries = journals(up).remove(node).unwrap_or_default();
    let log = std::fs::read_to_string(up.join("logs").join(format!("{node}.log"))).unwrap_or_default();
    log.contains(words) || entries.iter().any(|entry| entry.to_string().contains(words))
}

/// What is waited for, and whether it holds in an `up` folder.
type Wanted<'a> = (&'a str, &'a dyn Fn(&Path) -> bool);

/// Lets windows pass until all of `wanted` hold.
fn wait_for(up: &mut Up, wanted: &[Wanted]) {
    for _ in 0..12 {
        if wanted.iter().all(|(_, holds)| holds(&up.data)) {
            return;
        }
        up.window();
    }
    let missing: Vec<&str> = wanted.iter().filter(|(_, holds)| !holds(&up.data)).map(|(what, _)| *what).collect();
    panic!("not within twelve windows: {missing:?}: {:?}; {}", up.windows, up.logs());
}

fn number_of(window: &Value) -> u64 {
    window["window"].as_u64().unwrap()
}

/// One bucket fails, two give something else than their owners stored, one is slow, and a validator's gives what is old.
fn set_lies(between: &Between, up: &Up) {
    let faults = [
        ("miner-0", "", Fault::Status(500)),
        ("miner-1", "/payload", Fault::EndlessBytes),
        ("miner-2", "", Fault::WrongBytes),
        ("miner-3", "", Fault::Slow(1 << 20)),
        ("validator-0", "", Fault::OldBytes),
    ];
    let buckets = faults.map(|(name, what, fault)| (format!("/{}/", bucket_of(&up.data, name)), what, fault));
    between.proxy.set_by(move |path| {
        let of_path = buckets.iter().find(|(bucket, what, _)| path.starts_with(bucket.as_str()) && path.contains(what));
        of_path.map_or(Fault::None, |(.., fault)| *fault)
    });
}

/// Half of the requests break off: before anything is answered, or after a part of what was to be sent.
fn set_cuts(between: &Between) {
    let mut count = 0;
    between.proxy.set_by(move |_| {
        count += 1;
        match count % 4 {
            0 => Fault::CutRequest(100),
            2 => Fault::CutAnswer(300),
            _ => Fault::None,
        }
    });
}

/// Nobody was refused for anything but what its own bucket did: payloads that never came in any window, and bytes that
/// were not the miner's where its bucket lied, in windows up to `last`.
fn check_that_only_faults_were_refused(up: &Up, last: u64) {
    for number in 0..MINERS {
        let miner = format!("miner-{number}");
        for (window, standing) in standings(&up.data, &miner) {
            let is_late = standing.contains("not in the bucket in time");
            let is_lie = standing.contains("does not open") && (1..=2).contains(&number) && window <= last;
            let is_fair = !standing.starts_with("refused") || is_late || is_lie;
            assert!(is_fair, "{miner} in window {window}: {standing}; {}", up.logs());
        }
    }
}

#[test]
fn a_network_stays_in_sync_over_faults_and_lies_and_punishes_nobody_for_long() {
    let scratch = tempfile::tempdir().unwrap();
    let mut up = Up::start(scratch.path(), &["--miners", &MINERS.to_string(), "--validators", "2"]);
    up.window();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let between = runtime.block_on(take_over(&up));
    set_lies(&between, &up);
    let begun = number_of(&up.window());
    wait_for(
        &mut up,
        &[
            ("the bucket that fails", &|up| {
                has_said(up, "miner-0", "500 Internal Server Error") && has_said(up, "miner-0", "not in the bucket")
            }),
            ("the bucket without end", &|up| is_refused_after(up, "miner-1", begun)),
            ("what it is refused for", &|up| has_said(up, "miner-1", "comes without its length")),
            ("the bucket with wrong bytes", &|up| has_said(up, "miner-2", "does not open")),
            ("the slow bucket's miner", &|up| is_accepted_after(up, "miner-3", begun)),
            ("the bucket with old bytes", &|up| {
                (0..MINERS)
                    .any(|number| has_said(up, &format!("miner-{number}"), "is not the one with the agreed hash"))
            }),
        ],
    );
    let lied = number_of(&up.window_in_sync(NODES));

    set_cuts(&between);
    up.window();
    between.proxy.set(Fault::Refuse);
    std::thread::sleep(Duration::from_secs(5));
    // All is well again, and who was refused for its bucket's sake is taken as before.
    between.proxy.set(Fault::None);
    let healed = number_of(&up.window());
    let miners: Vec<String> = (0..MINERS).map(|number| format!("miner-{number}")).collect();
    wait_for(
        &mut up,
        &[("everybody's return", &|up| {
            miners.iter().all(|miner| is_accepted_after(up, miner, healed.saturating_sub(1)))
        })],
    );
    up.window_in_sync(NODES);
    up.check_states();
    // What was gathered while the buckets lied may have been judged a window later.
    check_that_only_faults_were_refused(&up, lied + 1);
    up.stop();
}
