//! Carries out what [`Lanes`] decides: downloads from strangers, until all are here or the time is over.

use crate::lanes::{Failure, Lanes};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// How often the lanes are looked at where nothing ends.
const TICK: Duration = Duration::from_millis(50);

/// Why an object is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Missing {
    NotInTime,
    /// The bucket had something else in its place.
    Lie(String),
}

/// Downloads under way.
pub(crate) struct Downloads {
    lanes: Lanes,
    running: BTreeMap<usize, AbortHandle>,
    missing: BTreeMap<usize, Missing>,
    began: Instant,
}

impl Downloads {
    pub(crate) fn new(lanes: Lanes) -> Self {
        let missing = (0..lanes.len()).map(|job| (job, Missing::NotInTime)).collect();
        Self { lanes, running: BTreeMap::new(), missing, began: Instant::now() }
    }

    /// Fetches until all is here or `closed` holds true, and gives what is missing then. `left` is what is left of the
    /// phase; `take` gets each object as it comes.
    pub(crate) async fn run<T, F>(
        mut self,
        fetch: impl Fn(usize) -> F,
        mut take: impl FnMut(usize, T),
        left: impl Fn() -> Option<Duration>,
        mut closed: watch::Receiver<bool>,
    ) -> BTreeMap<usize, Missing>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, (Failure, String)>> + Send + 'static,
    {
        // Dropped with this, and the downloads with it.
        let mut tasks = JoinSet::new();
        while !self.lanes.is_done() {
            self.make_room(left());
            while let Some((job, attempt)) = self.lanes.start(self.began.elapsed(), left()) {
                let fetched = fetch(job);
                self.running.insert(job, tasks.spawn(async move { (job, attempt, fetched.await) }));
            }
            let ended = tokio::select! {
                _ = closed.wait_for(|closed| *closed) => break,
                Some(ended) = tasks.join_next() => ended,
                () = tokio::time::sleep(TICK) => continue,
            };
            match ended {
                Ok((job, _, Ok(object))) => {
                    if self.missing.remove(&job).is_some() {
                        self.lanes.fetched(job);
                        take(job, object);
                    }
                    // A second attempt, where the first one ended as it made room.
                    self.running.remove(&job).inspect(AbortHandle::abort);
                }
                Ok((job, attempt, Err((failure, reason)))) => self.note(job, attempt, failure, reason, left()),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // It made room for another.
                Err(_) => {}
            }
        }
        self.missing
    }

    fn make_room(&mut self, left: Option<Duration>) {
        while let Some(job) = self.lanes.make_room(self.began.elapsed(), left) {
            self.running.remove(&job).inspect(AbortHandle::abort);
        }
    }

    fn note(&mut self, job: usize, attempt: u32, failure: Failure, reason: String, left: Option<Duration>) {
        if let Some(missing) = self.missing.get_mut(&job)
            && failure == Failure::Lie
        {
            *missing = Missing::Lie(reason);
        }
        if self.lanes.is_running(job, attempt) {
            self.lanes.failed(job, failure, self.began.elapsed(), left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::{Candidate, LaneLimits};
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use templar_bucket::{Bucket, BucketError, BucketLocation, BucketServer, KeyRing, WriteKey};
    use tokio::net::TcpListener;

    const PHASE: Duration = Duration::from_secs(4);

    fn any_port() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    /// A server that accepts and never answers.
    async fn stalling() -> BucketLocation {
        let listener = TcpListener::bind(any_port()).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                held.push(stream);
            }
        });
        BucketLocation::s3("bucket-1", &format!("http://{address}"), None).unwrap()
    }

    async fn honest(folder: &std::path::Path) -> (BucketServer, BucketLocation) {
        let key = WriteKey::new("miner-1", "secret-of-1", "bucket-1");
        let keys = KeyRing::in_memory([key.clone()]).unwrap();
        let server = BucketServer::bind(any_port(), folder, keys).await.unwrap();
        let location = server.location("bucket-1").unwrap();
        let writer = Bucket::open_writer(&location, Some(key.credentials())).unwrap();
        writer.put("payload", "gradient".into()).await.unwrap();
        (server, location)
    }

    async fn fetch(location: BucketLocation) -> Result<usize, (Failure, String)> {
        let got = Bucket::open_reader(&location).unwrap().get("payload", 100).await;
        got.map(|bytes| bytes.len()).map_err(|error| match &error {
            BucketError::NotFound { .. } => (Failure::Absent, error.to_string()),
            _ => (Failure::Host, error.to_string()),
        })
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn forty_stalling_buckets_do_not_keep_four_honest_ones_from_being_fetched_in_time() {
        let mut locations = Vec::new();
        for _ in 0..40 {
            locations.push(stalling().await);
        }
        let (folders, mut servers) = ([(); 4].map(|()| tempfile::tempdir().unwrap()), Vec::new());
        for folder in &folders {
            let (server, location) = honest(folder.path()).await;
            servers.push(server);
            locations.push(location);
        }
        // In the order that is worst for the honest: nobody is rated, and they are last.
        let candidates = locations.iter().enumerate().map(|(lot, location)| Candidate {
            host: location.host(),
            rating: None,
            lot: lot as u64,
            bytes: 20 << 20,
        });
        let downloads = Downloads::new(Lanes::new(LaneLimits::default(), candidates.collect()));
        let (close, closed) = watch::channel(false);
        let began = Instant::now();
        let left = || Some(PHASE.saturating_sub(began.elapsed()));
        tokio::spawn(async move {
            tokio::time::sleep(PHASE).await;
            close.send_replace(true);
        });
        let mut taken = Vec::new();
        let missing = downloads.run(|job| fetch(locations[job].clone()), |job, _| taken.push(job), left, closed).await;
        taken.sort();
        assert_eq!(taken, [40, 41, 42, 43]);
        assert_eq!(missing.into_keys().collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_fails_is_tried_again_and_a_lie_is_told_where_nothing_better_comes() {
        let candidate = |lot| Candidate { host: None, rating: None, lot, bytes: 1 };
        let attempts = Arc::new(AtomicUsize::new(0));
        let fetch = |job: usize| {
            let attempts = Arc::clone(&attempts);
            async move {
                match job {
                    0 if attempts.fetch_add(1, Ordering::SeqCst) < 2 => Err((Failure::Absent, String::new())),
                    0 => Ok(()),
                    _ => Err((Failure::Lie, "other bytes".to_owned())),
                }
            }
        };
        let downloads = Downloads::new(Lanes::new(LaneLimits::default(), vec![candidate(0), candidate(1)]));
        let (close, closed) = watch::channel(false);
        let close_then = |job: usize, ()| {
            assert_eq!(job, 0);
            close.send_replace(true);
        };
        let missing = downloads.run(fetch, close_then, || None, closed).await;
        assert_eq!(missing, BTreeMap::from([(1, Missing::Lie("other bytes".to_owned()))]));
        assert_eq!(attempts.load(Ordering::SeqCst), 3);
    }
}
