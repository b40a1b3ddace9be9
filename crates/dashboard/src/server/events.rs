//! The stream of server-sent events: the ledger's head and each finished window.

use super::clients::Counted;
use crate::api::{head_event, window_event};
use crate::follower::Shared;
use crate::state::Snapshot;
use bytes::Bytes;
use futures_util::Stream;
use hyper::body::Frame;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use templar_base::{BlockNumber, Window};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Without news a comment shows that the stream is alive.
const ALIVE_EVERY: Duration = Duration::from_secs(15);
/// Least time between two pieces of a stream: whoever is slow gets the newest and no queue.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// Finished windows in one piece at most: the newest.
const MOST_WINDOWS: usize = 8;

/// What a stream knows of its reader.
struct Reader {
    shared: Arc<Shared>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    block: Option<BlockNumber>,
    window: Option<Window>,
    is_first: bool,
    /// The stream's place, held as long as it lasts.
    _counted: Counted,
}

/// The events from now on, of which the first are those of the snapshot at hand.
pub(super) fn events(
    shared: Arc<Shared>,
    counted: Counted,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
    let snapshots = shared.subscribe();
    let reader = Reader { shared, snapshots, block: None, window: None, is_first: true, _counted: counted };
    futures_util::stream::unfold(reader, |mut reader| async move {
        let text = reader.next().await?;
        Some((Ok(Frame::data(Bytes::from(text))), reader))
    })
}

impl Reader {
    /// The next piece; none where the dashboard ends.
    async fn next(&mut self) -> Option<String> {
        self.shared.look();
        if std::mem::take(&mut self.is_first) {
            return Some(format!("retry: 3000\n\n{}", self.news()));
        }
        sleep(LEAST_PAUSE).await;
        match timeout(ALIVE_EVERY, self.snapshots.changed()).await {
            Ok(Ok(())) => {
                self.shared.look();
                let news = self.news();
                Some(if news.is_empty() { ": nothing new\n\n".to_owned() } else { news })
            }
            Ok(Err(_)) => None,
            Err(_) => Some(": alive\n\n".to_owned()),
        }
    }

    /// What the snapshot at hand has that was not sent.
    fn news(&mut self) -> String {
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        let newest = snapshot.finished.last_key_value().map(|(window, _)| *window);
        let mut news = String::new();
        // The first piece has the newest window, later ones each that is new.
        let is_new = |window: &Window| self.window.is_none_or(|sent| *window > sent);
        let most = if self.window.is_none() { 1 } else { MOST_WINDOWS };
        let mut windows: Vec<_> =
            snapshot.finished.values().rev().filter(|view| is_new(&view.window)).take(most).collect();
        windows.reverse();
        for view in windows {
            news += &event("window", &window_event(view));
        }
        self.window = self.window.max(newest);
        if let Some(head) = snapshot.head.filter(|head| self.block != Some(head.block)) {
            news += &event("head", &head_event(&head));
            self.block = Some(head.block);
        }
        news
    }
}

/// JSON has no line ends of its own, so that one line holds it.
fn event(name: &str, data: &serde_json::Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}
