//! Asking those who have an agreed object: whom first, and several objects at a time.

use crate::NodeError;
use std::collections::BTreeMap;
use std::time::Duration;
use templar_base::random::Stream;
use templar_base::{PublicKey, Window};
use tokio::task::JoinSet;

/// Holders come with the most stake first, which is whom to trust to answer. This many of them share the first requests.
const FIRST_ASKED: usize = 8;
/// Objects that are fetched at a time.
const PARALLEL: usize = 8;
/// How long an object may take, besides its bytes, and how fast these are to come.
const ANSWER_TIME: Duration = Duration::from_secs(10);
const SLOWEST_BYTES_PER_SECOND: u64 = 512 << 10;

/// The holders in this node's own order for the window: in the same order, all nodes would read from the same one.
pub(crate) fn in_own_order(mut holders: Vec<PublicKey>, own: PublicKey, window: Window) -> Vec<PublicKey> {
    let mut lots = Stream::new(*own.as_bytes(), "order of holders", window.0);
    let first = holders.len().min(FIRST_ASKED);
    for place in 1..first {
        holders.swap(place, lots.below(place as u64 + 1) as usize);
    }
    holders
}

/// How long an object of this size may take.
pub(crate) fn time_for(bytes: u64) -> Duration {
    ANSWER_TIME + Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND)
}

/// Fetches all of these, some at a time, each within its own time. The first that fails ends it: what needs them needs
/// them all.
pub(crate) async fn fetch_all<K, T, F>(
    wanted: Vec<(K, Duration)>,
    what: &'static str,
    fetch: impl Fn(K) -> F,
) -> Result<BTreeMap<K, T>, NodeError>
where
    K: Copy + Ord + Send + 'static,
    T: Send + 'static,
    F: Future<Output = Result<T, NodeError>> + Send + 'static,
{
    let (mut wanted, mut tasks, mut fetched) = (wanted.into_iter(), JoinSet::new(), BTreeMap::new());
    loop {
        while tasks.len() < PARALLEL
            && let Some((name, time)) = wanted.next()
        {
            let fetch = fetch(name);
            tasks.spawn(async move {
                let late = NodeError::Deadline { what, seconds: time.as_secs() };
                (name, tokio::time::timeout(time, fetch).await.unwrap_or(Err(late)))
            });
        }
        match tasks.join_next().await {
            Some(Ok((name, object))) => fetched.insert(name, object?),
            // Nothing ends these tasks but a panic.
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => return Ok(fetched),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::time::Instant;

    fn key(number: u8) -> PublicKey {
        PublicKey::new([number; 32])
    }

    #[test]
    fn nodes_and_windows_differ_in_whom_they_ask_first_and_ask_everybody() {
        let holders: Vec<PublicKey> = (0..20).map(key).collect();
        let order = |own: u8, window| in_own_order(holders.clone(), key(own), Window(window));
        assert_eq!(order(1, 5), order(1, 5));
        let first: BTreeSet<PublicKey> = (0..100).map(|own| order(own, 5)[0]).collect();
        let over_time: BTreeSet<PublicKey> = (0..100).map(|window| order(1, window)[0]).collect();
        for first in [first, over_time] {
            assert_eq!(first, (0..8).map(key).collect());
        }
        assert_eq!(order(1, 5)[8..], holders[8..], "who has little stake is not asked first");
        assert_eq!(order(1, 5).into_iter().collect::<BTreeSet<_>>(), holders.iter().copied().collect());
        assert!(in_own_order(Vec::new(), key(1), Window(5)).is_empty());
    }

    #[tokio::test]
    async fn objects_come_side_by_side_and_one_that_stalls_has_its_deadline() {
        let long = Duration::from_secs(60);
        let began = Instant::now();
        let sleeping = |name: u64| async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(name)
        };
        let fetched = fetch_all((0..16).map(|name| (name, long)).collect(), "a payload", sleeping).await.unwrap();
        assert_eq!(fetched.into_values().collect::<Vec<_>>(), (0..16).collect::<Vec<_>>());
        assert!(began.elapsed() < Duration::from_secs(2), "one after the other takes 3.2 s");
        let stalling = |name: u64| async move { if name == 3 { std::future::pending().await } else { Ok(name) } };
        let wanted = (0..9).map(|name| (name, Duration::from_millis(50))).collect();
        let late = fetch_all(wanted, "a payload", stalling).await.unwrap_err();
        assert!(matches!(late, NodeError::Deadline { what: "a payload", .. }), "{late}");
    }
}
