//! How fast the client of a connection moves the bytes of the request at hand.
//!
//! Only the time counts in which the client keeps the server waiting: a slow disk is no fault of the client's.

use std::cmp::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// The progress of a connection's request. Shared by the connection and by whoever may cut it off.
#[derive(Debug, Default)]
pub(super) struct Progress {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    has_request: bool,
    bytes: u64,
    waited: Duration,
    /// While the client keeps the server waiting.
    since: Option<Instant>,
    is_cut: bool,
    waker: Option<Waker>,
}

/// A request's bytes, and how long its client kept the server waiting for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pace {
    pub(super) has_request: bool,
    pub(super) bytes: u64,
    pub(super) waited: Duration,
}

impl Pace {
    /// Bytes per second of waiting.
    pub(super) fn speed(&self) -> f64 {
        self.bytes as f64 / self.waited.as_secs_f64().max(1e-9)
    }

    /// Connections without a request first, then by rising speed.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        self.has_request.cmp(&other.has_request).then(self.speed().total_cmp(&other.speed()))
    }
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins.
    pub(super) fn begin(&self) {
        let mut state = self.lock();
        (state.has_request, state.bytes, state.waited, state.since) = (true, 0, Duration::ZERO, None);
    }

    /// The request is answered or dropped.
    pub(super) fn end(&self) {
        self.lock().has_request = false;
    }

    /// The client moved bytes.
    pub(super) fn moved(&self, bytes: usize) {
        let mut state = self.lock();
        if let Some(since) = state.since.take() {
            state.waited += since.elapsed();
        }
        state.bytes += bytes as u64;
    }

    /// The client keeps the server waiting; whether the connection was cut off.
    pub(super) fn waits(&self, context: &Context<'_>) -> bool {
        self.lock().since.get_or_insert_with(Instant::now);
        self.is_cut_or_wakes(context)
    }

    /// Whether the connection was cut off; if it is later, the task is woken.
    pub(super) fn is_cut_or_wakes(&self, context: &Context<'_>) -> bool {
        let mut state = self.lock();
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            state.waker = Some(context.waker().clone());
        }
        state.is_cut
    }

    /// Ends the connection at its next wait for the client.
    pub(super) fn cut(&self) {
        let waker = {
            let mut state = self.lock();
            state.is_cut = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.lock().is_cut
    }

    pub(super) fn pace(&self) -> Pace {
        let state = self.lock();
        let waited = state.waited + state.since.map_or(Duration::ZERO, |since| since.elapsed());
        Pace { has_request: state.has_request, bytes: state.bytes, waited }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_counts_in_which_the_client_is_waited_for() {
        let progress = Progress::default();
        let context = Context::from_waker(Waker::noop());
        progress.begin();
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(progress.pace().waited, Duration::ZERO, "the server's own work");
        assert!(!progress.waits(&context));
        std::thread::sleep(Duration::from_millis(5));
        let waiting = progress.pace().waited;
        assert!(waiting >= Duration::from_millis(5));
        progress.moved(7);
        progress.moved(3);
        assert!(progress.pace().waited >= waiting && progress.pace().bytes == 10);
        progress.begin();
        assert_eq!(progress.pace(), Pace { has_request: true, ..Pace::default() });
        progress.cut();
        assert!(progress.waits(&context));
    }
}
