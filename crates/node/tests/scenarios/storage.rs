//! What the nodes keep in their buckets.

use crate::network::{Plan, World};
use std::collections::BTreeMap;
use templar_base::Window;
use templar_bucket::Bucket;
use templar_round::ObjectKey;

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
        let most = |sizes: &[u64]| sizes.iter().copied().max().unwrap_or_default();
        let (at_first, at_last) = (most(&sizes[full..later]), most(&sizes[later..]));
        // Payloads and aggregates have not all the same size.
        assert!(at_last <= at_first + at_first / 10, "{name}: {sizes:?}\n{story}");
        assert!(at_first > sizes[0], "{name} keeps nothing: {sizes:?}\n{story}");
    }
    // The last deletion came with the outcome of the last window.
    let oldest = world.run.phases.oldest_kept(LAST);
    for (name, node) in &world.nodes {
        for key in objects(&node.bucket).await.keys().filter(|key| key.starts_with("window/")) {
            assert!(*key >= ObjectKey::window_prefix(oldest), "{name} still has {key}\n{story}");
        }
    }
}
