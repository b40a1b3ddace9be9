//! Gathering a window's payloads: all at once, until they are here or the time for it is over.

use crate::{Network, Run, payload};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use templar_base::{BlockNumber, PublicKey, Uid, Window};
use templar_gauntlet::{Book, DoorFailure, Entry, Submission};
use templar_gradient::Payload;
use templar_round::SealedRecord;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Downloads at a time; a payload is held in memory while it is judged, so this bounds bandwidth, not memory.
const PARALLEL: usize = 16;
const PAUSE: Duration = Duration::from_millis(200);

/// What was gathered for one window.
#[derive(Debug, Clone)]
pub(crate) struct Gathered {
    pub window: Window,
    pub entries: Vec<Entry>,
}

impl Gathered {
    /// The payloads that opened, by uid.
    pub(crate) fn payloads(&self) -> BTreeMap<Uid, &Payload> {
        self.entries
            .iter()
            .filter_map(|entry| match &entry.submission {
                Submission::Payload { payload, .. } => Some((entry.uid, payload.as_ref())),
                Submission::Refused(_) => None,
            })
            .collect()
    }

    /// How many payloads came, good or bad, and of how many, as far as that says how well this node is connected.
    ///
    /// Those count that the agreed book knows; all where it knows none. Otherwise anybody could commit to payloads
    /// that do not exist from more slots than there are miners, and every validator would blame itself for ever.
    pub(crate) fn settled_of(&self, book: &Book) -> (usize, usize) {
        let is_known = |entry: &&Entry| book.miners.get(&entry.uid).is_some_and(|known| known.hotkey == entry.hotkey);
        let known: Vec<&Entry> = self.entries.iter().filter(is_known).collect();
        let counted = if known.is_empty() { self.entries.iter().collect() } else { known };
        let missing = |entry: &&&Entry| matches!(entry.submission, Submission::Refused(DoorFailure::Missing));
        (counted.len() - counted.iter().filter(missing).count(), counted.len())
    }
}

/// The gathering of the newest window, shared between the tasks of a validator.
#[derive(Debug, Default)]
pub(crate) struct Gatherer {
    close: Mutex<Option<watch::Sender<bool>>>,
    gathered: Mutex<Option<Arc<Gathered>>>,
}

impl Gatherer {
    /// What was gathered for `window`, if it was.
    pub(crate) fn of(&self, window: Window) -> Option<Arc<Gathered>> {
        let gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        gathered.as_ref().filter(|gathered| gathered.window == window).cloned()
    }

    /// Stops waiting for what has not come.
    pub(crate) fn close(&self) {
        if let Some(close) = self.close.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            close.send_replace(true);
        }
    }

    /// Gathers until everything is here or [`Self::close`] is called. `malformed` are the miners whose commitments do
    /// not parse.
    pub(crate) async fn gather(
        &self,
        run: &Run,
        network: &Arc<Network>,
        window: Window,
        records: Vec<SealedRecord>,
        malformed: Vec<(Uid, PublicKey, BlockNumber)>,
    ) -> Arc<Gathered> {
        let (close, closed) = watch::channel(false);
        *self.close.lock().unwrap_or_else(PoisonError::into_inner) = Some(close);
        let permits = Arc::new(Semaphore::new(PARALLEL));
        let mut tasks = JoinSet::new();
        for record in records {
            let (run, network, permits) = (run.clone(), Arc::clone(network), Arc::clone(&permits));
            let closed = closed.clone();
            tasks.spawn(async move {
                let submission = until_closed(&run, &network, window, &record, &permits, closed).await;
                Entry { uid: record.uid, hotkey: record.hotkey, block: record.block, submission }
            });
        }
        let refused = |(uid, hotkey, block)| Entry {
            uid,
            hotkey,
            block,
            submission: Submission::Refused(DoorFailure::Commitment),
        };
        let mut entries: Vec<Entry> = malformed.into_iter().map(refused).collect();
        entries.extend(tasks.join_all().await);
        entries.sort_by_key(|entry| entry.uid);
        let gathered = Arc::new(Gathered { window, entries });
        *self.gathered.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&gathered));
        gathered
    }
}

async fn until_closed(
    run: &Run,
    network: &Network,
    window: Window,
    record: &SealedRecord,
    permits: &Semaphore,
    mut closed: watch::Receiver<bool>,
) -> Submission {
    let keep_trying = async {
        loop {
            if let Ok(_permit) = permits.acquire().await
                && let Ok(submission) = payload::fetch(run, network, window, record).await
            {
                return submission;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        submission = keep_trying => submission,
        _ = closed.wait_for(|closed| *closed) => Submission::Refused(DoorFailure::Missing),
    }
}
