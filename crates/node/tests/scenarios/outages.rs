//! Buckets that are away, or too slow, for a while.

use crate::network::{Plan, World};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use templar_base::Window;
use templar_bucket::{Bucket, BucketLocation, BucketServer, KeyRing, WriteKey};
use templar_node::JournalEntry;
use templar_testing::{Fault, FaultProxy};

/// Says on the ledger that a node's bucket is this one.
fn point(world: &World, name: &str, bucket: &Bucket) {
    world.chain.announce(&world.nodes[name].hotkey, bucket);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn miners_whose_buckets_are_away_miss_those_windows_only() {
    const LAST: Window = Window(8);
    let mut world = World::new(Plan::new("away", 2, 3)).await;
    let miners = ["miner-0", "miner-1", "miner-2"];
    let empty = world.bucket("empty");
    let phases = world.run.phases.clone();
    world.run_through(Window(1)).await;
    // One bucket is away while windows 2 and 3 are gathered.
    point(&world, miners[0], &empty);
    world.run_to(phases.seal(Window(4))).await;
    point(&world, miners[0], &world.nodes[miners[0]].bucket);
    // All are away while window 5 is gathered.
    world.run_to(phases.seal(Window(5))).await;
    for miner in miners {
        point(&world, miner, &empty);
    }
    world.run_to(phases.seal(Window(6))).await;
    for miner in miners {
        point(&world, miner, &world.nodes[miner].bucket);
    }
    world.run_through(LAST).await;
    let outcomes = world.assert_all_equal();
    let story = world.story();
    assert_eq!(outcomes.len() as u64, LAST.0 + 1, "{story}");
    let first = world.nodes[miners[0]].uid;
    for (window, (selected, _)) in &outcomes {
        match window.0 {
            2 | 3 => assert!(!selected.is_empty() && !selected.contains(&first), "{window}: {selected:?}\n{story}"),
            5 => assert!(selected.is_empty(), "{window}: {selected:?}\n{story}"),
            _ => assert!(!selected.is_empty(), "{window}: {selected:?}\n{story}"),
        }
    }
    // Any window after the outages will do: one late in so small a training may hold more noise than progress.
    let again = outcomes.iter().any(|(window, (selected, _))| *window > Window(5) && selected.contains(&first));
    assert!(again, "the miner whose bucket was away is not selected again\n{story}");
    for (name, node) in &world.nodes {
        assert_eq!(node.next, LAST.next(), "{name}\n{story}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn miners_build_the_aggregate_themselves_when_no_validator_serves_it() {
    const LAST: Window = Window(6);
    let mut world = World::new(Plan::new("bare", 2, 3)).await;
    let empty = world.bucket("empty");
    world.run_to(world.run.phases.start(Window(0))).await;
    for name in ["validator-0", "validator-1"] {
        point(&world, name, &empty);
    }
    world.run_through(Window(2)).await;
    for name in ["validator-0", "validator-1"] {
        point(&world, name, &world.nodes[name].bucket);
    }
    world.run_through(LAST).await;
    let outcomes = world.assert_all_equal();
    let story = world.story();
    world.assert_no_quorum_lost(&outcomes);
    for (name, node) in &world.nodes {
        assert_eq!(node.next, LAST.next(), "{name}\n{story}");
    }
    // Buckets that moved are found again after one failure.
    for (name, node) in world.nodes.iter().filter(|(name, _)| name.starts_with("miner")) {
        let warned = |window: u64| {
            let begin = format!("window {window}: object");
            let warning = |entry: &&JournalEntry| matches!(entry, JournalEntry::Warning { message } if message.starts_with(&begin));
            node.entries.iter().filter(warning).count()
        };
        assert!((0..3).map(warned).sum::<usize>() > 0, "{name}: the buckets were not away\n{story}");
        assert!((3..=LAST.0).map(warned).sum::<usize>() <= 1, "{name} still looks in the old buckets\n{story}");
    }
}

/// A bucket of a server of its own, behind a proxy.
async fn bucket_behind_proxy(folder: &std::path::Path) -> (BucketServer, FaultProxy, Bucket) {
    let key = WriteKey::new("miner", "secret-of-the-miner", "slow");
    let keys = KeyRing::in_memory([key.clone()]).unwrap();
    let server = BucketServer::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), folder, keys).await.unwrap();
    let proxy = FaultProxy::start(server.local_addr()).await;
    let location = BucketLocation::s3("slow", &format!("http://{}", proxy.address()), None).unwrap();
    let bucket = Bucket::open_writer(&location, Some(key.credentials())).unwrap();
    (server, proxy, bucket)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_miner_whose_bucket_is_too_slow_gives_those_windows_up_one_by_one_and_comes_back() {
    const LAST: Window = Window(9);
    let scratch = tempfile::tempdir().unwrap();
    let (_server, proxy, bucket) = bucket_behind_proxy(scratch.path()).await;
    let mut world = World::new(Plan::new("slow", 2, 3)).await;
    world.run_through(Window(1)).await;
    world.kill("miner-0").await;
    world.nodes.get_mut("miner-0").unwrap().bucket = bucket;
    world.start("miner-0").await;
    // A miner that missed window 2 for its restart seals window 3 early.
    world.run_to(world.run.phases.end(Window(2))).await;

    // A payload takes many windows at this rate.
    proxy.set_by(|path| if path.ends_with("/payload") { Fault::Slow(50) } else { Fault::None });
    proxy.take_requests();
    world.nodes.get_mut("miner-0").unwrap().is_hindered = true;
    world.run_through(Window(6)).await;
    let uploads = proxy.take_requests();
    let uploads: Vec<_> =
        uploads.iter().filter(|(method, path)| method == "PUT" && path.ends_with("/payload")).collect();
    let windows: BTreeSet<_> = uploads.iter().map(|(_, path)| path).collect();
    let story = world.story();
    assert!(windows.len() >= 2 && windows.len() == uploads.len(), "not one upload a window: {uploads:?}\n{story}");
    let slow = &world.nodes["miner-0"];
    let skipped: Vec<Window> = slow.skipped().into_iter().map(|(window, _)| window).collect();
    assert!((3..6).all(|window| skipped.contains(&Window(window))), "{skipped:?}\n{story}");
    assert!(slow.warnings().any(|warning| warning.contains("too slow for this run")), "{story}");

    proxy.set(Fault::None);
    world.nodes.get_mut("miner-0").unwrap().is_hindered = false;
    world.run_through(LAST).await;
    let outcomes = world.assert_all_equal();
    world.assert_no_quorum_lost(&outcomes);
    let uid = world.nodes["miner-0"].uid;
    let standing = world.standing(LAST, uid).await;
    assert!(standing.is_some_and(|standing| standing.is_accepted()), "{}", world.story());
}
