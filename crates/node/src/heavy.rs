//! Bounded threads for work that would hold up the async ones: opening, decoding, merging, hashing.

use std::sync::Arc;
use tokio::sync::Semaphore;

/// Places for heavy work beside the node's computing thread. What finds no place waits.
#[derive(Debug, Clone)]
pub(crate) struct HeavyThreads {
    places: Arc<Semaphore>,
    all: usize,
}

impl HeavyThreads {
    /// At most this many pieces of work at a time.
    pub(crate) fn new(places: usize) -> Self {
        let all = places.max(1);
        Self { places: Arc::new(Semaphore::new(all)), all }
    }

    /// Places that are taken, and all places.
    pub(crate) fn taken(&self) -> (usize, usize) {
        (self.all.saturating_sub(self.places.available_permits()), self.all)
    }

    /// Does the work on a thread of its own; a panic in it is a panic of the task that waits for it.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        // The semaphore is never closed, and the runtime cancels no work before it ends itself.
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { std::future::pending().await };
        let done = tokio::task::spawn_blocking(move || {
            // Given back when the work is done, also where nobody waits for it any more.
            let _place = place;
            work()
        });
        match done.await {
            Ok(value) => value,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[tokio::test]
    async fn no_more_work_runs_at_a_time_than_there_are_places() {
        let (heavy, running, most) =
            (HeavyThreads::new(2), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..8 {
            let (heavy, running, most) = (heavy.clone(), Arc::clone(&running), Arc::clone(&most));
            tasks.spawn(async move {
                heavy
                    .run(move || {
                        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(5));
                        running.fetch_sub(1, Ordering::SeqCst);
                        number
                    })
                    .await
            });
        }
        let mut done = tasks.join_all().await;
        done.sort();
        assert_eq!(done, (0..8).collect::<Vec<_>>());
        assert!(most.load(Ordering::SeqCst) <= 2);
    }
}
