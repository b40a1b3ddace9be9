//! How long the server waits for a slow client.
//!
//! A limit on each single wait would not do: a client that moves one byte just before each limit could hold its slot
//! for as long as it likes. So waiting uses up a budget, and bytes that move fill it again.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use super::progress::Progress;

/// The slowest lasting rate that keeps the budget from shrinking while nobody else waits; then more is asked
/// ([`Slots`](super::slots::Slots)).
const BYTES_PER_SECOND: f64 = 8192.0;

/// A budget of waiting.
#[derive(Debug)]
pub(super) struct StallBudget {
    limit: Duration,
    left: Duration,
    progress: Arc<Progress>,
    /// While a wait lasts: since when, and the clock that ends it.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl StallBudget {
    /// A full budget. What happens is noted in `progress`, through which the client can be cut off sooner.
    pub(super) fn new(limit: Duration, progress: Arc<Progress>) -> Self {
        Self { limit, left: limit, progress, waiting: None }
    }

    /// The client moved `bytes`.
    pub(super) fn progressed(&mut self, bytes: usize) {
        if let Some((since, _)) = self.waiting.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        self.progress.moved(bytes);
        let earned = Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND);
        self.left = self.left.saturating_add(earned).min(self.limit);
    }

    /// The client makes us wait; ready when the budget is used up, or others need its place more.
    pub(super) fn poll_used_up(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.progress.waits(context) {
            return Poll::Ready(());
        }
        let left = self.left;
        let (_, clock) = self.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
        clock.as_mut().poll(context)
    }
}

/// The client sends its body too slowly, or broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body comes too slowly")]
    TooSlow,
    #[error("the body broke off: {0}")]
    Broken(#[from] hyper::Error),
}

/// A request's body that fails when it comes too slowly.
#[derive(Debug)]
pub(super) struct TimedBody {
    body: Incoming,
    budget: StallBudget,
}

impl TimedBody {
    pub(super) fn new(body: Incoming, limit: Duration, progress: Arc<Progress>) -> Self {
        Self { body, budget: StallBudget::new(limit, progress) }
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                if let Some(Ok(frame)) = &frame {
                    self.budget.progressed(frame.data_ref().map_or(0, Bytes::len));
                }
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Broken)))
            }
            Poll::Pending => {
                ready!(self.budget.poll_used_up(cx));
                Poll::Ready(Some(Err(BodyError::TooSlow)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn moving_single_bytes_does_not_fill_the_budget() {
        let limit = Duration::from_secs(30);
        let mut budget = StallBudget::new(limit, Arc::default());
        budget.left = Duration::from_secs(1);
        budget.progressed(1);
        assert!(budget.left < Duration::from_secs(2));
        budget.progressed(usize::MAX >> 20);
        assert_eq!(budget.left, limit);
        budget.left = Duration::ZERO;
        std::future::poll_fn(|context| budget.poll_used_up(context)).await;
    }
}
