//! What the nodes keep in their buckets.

use crate::network::{Plan, Role, World};
use std::collections::BTreeMap;
use templar_base::Window;
use templar_bucket::Bucket;
use templar_round::ObjectKey;

/// An object of the bucket's owner, which is none of the run's.
const OWN: &str = "notes/of-the-owner";

/// All objects of a bucket with their sizes.
async fn objects(bucket: &Bucket) -> BTreeMap<String, u64> {
    let page = bucket.list("", None, usize::MAX).await.unwrap();
    page.objects.into_iter().map(|object| (object.key, object.size)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_grow_to_what_the_genesis_keeps_and_no_further() {
    const KEPT: u64 = 4;
    const LAST: Window = Window(3 * KEPT);
    let mut plan = Plan::new("level", 2, 2);
    plan.genesis = |genesis| {
        (genesis.budget.retention_windows, genesis.budget.checkpoint_windows) = (KEPT, 2);
    };
    let mut world = World::new(plan).await;
    // Parts of large objects, whole or left by a transfer that broke off, go with their windows.
    for node in world.nodes.values() {
        for key in
            [ObjectKey::Payload(Window(1)), ObjectKey::Aggregate(Window(2)), ObjectKey::CheckpointFile(Window(2), 3)]
        {
            node.bucket.put(&format!("{key}.parts/of-a-hash/00000"), vec![1; 1000].into()).await.unwrap();
        }
        node.bucket.put(OWN, vec![1; 10].into()).await.unwrap();
    }
    // By node: the size of its bucket after each window.
    let mut sizes: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for window in 0..=LAST.0 {
        world.run_through(Window(window)).await;
        for (name, node) in &world.nodes {
            sizes.entry(name.clone()).or_default().push(objects(&node.bucket).await.values().sum());
        }
    }
    world.assert_all_equal();
    let story = world.story();
    let (full, later) = (KEPT as usize + 2, 2 * KEPT as usize + 1);
    for (name, sizes) in &sizes {
        let at_first = sizes[full..later].iter().copied().max().unwrap_or_default();
        // On a busy machine a deletion may come after the look; what grows without end is larger at every look.
        let at_last = sizes[later..].iter().copied().min().unwrap_or_default();
        // Payloads and aggregates have not all the same size.
        assert!(at_last <= at_first + at_first / 10, "{name}: {sizes:?}\n{story}");
        assert!(at_first > sizes[0], "{name} keeps nothing: {sizes:?}\n{story}");
    }
    // The last deletion came with the outcome of the last window, as of the next one's start.
    let phases = &world.run.phases;
    let (oldest, strict) = (phases.oldest_kept(LAST), phases.oldest_kept(LAST.next()));
    for (name, node) in &world.nodes {
        let keys: Vec<String> = objects(&node.bucket).await.into_keys().collect();
        for key in &keys {
            let is_kept = *key >= ObjectKey::window_prefix(oldest) || !key.starts_with("window/");
            let is_new = *key >= ObjectKey::checkpoint_prefix(oldest) || !key.starts_with("checkpoint/");
            assert!(is_kept && is_new, "{name} still has {key}\n{story}");
        }
        // Everything of the windows that are kept is there: what miners publish, and what validators do.
        let is_validator = node.role == Role::Validator;
        assert!(!is_validator || keys.iter().any(|key| key.ends_with("/verdict")), "{name} judged nothing\n{story}");
        for window in (strict.0..=LAST.0).map(Window).filter(|window| !node.has_skipped(*window)) {
            let wanted = match is_validator {
                // A window may be agreed on before the last validator has judged it.
                true => vec![ObjectKey::CheckpointManifest(window)],
                false => vec![ObjectKey::Payload(window), ObjectKey::Reveal(window)],
            };
            let is_due =
                |key: &ObjectKey| !matches!(key, ObjectKey::CheckpointManifest(_)) || phases.is_checkpoint(window);
            for key in wanted.into_iter().filter(is_due) {
                assert!(keys.contains(&key.to_string()), "{name} has no {key}: {keys:?}\n{story}");
            }
        }
        assert!(keys.contains(&OWN.to_owned()), "{name} lost what is none of the run's: {keys:?}");
    }
}
