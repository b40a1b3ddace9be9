//! Gathering a window's payloads: all at once, until they are here or the time for it is over.

use crate::context::Context;
use crate::{NodeError, payload};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use templar_base::{BlockNumber, PublicKey, Uid, Window};
use templar_gauntlet::{Book, DoorFailure, Entry, Submission};
use templar_gradient::Payload;
use templar_record::{RecordError, is_lie};
use templar_round::SealedRecord;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Downloads at a time; a payload is held in memory while it is judged, so this bounds bandwidth, not memory.
const PARALLEL: usize = 32;
/// Downloads at a time from buckets that were slow or lied: they cannot keep others from being fetched.
const PARALLEL_LATER: usize = 8;
const PAUSE: Duration = Duration::from_millis(200);
/// Pause after wrong bytes, which cost as much as right ones.
const PAUSE_AFTER_LIE: Duration = Duration::from_secs(2);
/// What a bucket may take at first, besides the bytes, and how fast these are to come.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
const SLOWEST_BYTES_PER_SECOND: u32 = 512 << 10;

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
        context: &Arc<Context>,
        window: Window,
        records: Vec<SealedRecord>,
        malformed: Vec<(Uid, PublicKey, BlockNumber)>,
    ) -> Arc<Gathered> {
        let (close, closed) = watch::channel(false);
        *self.close.lock().unwrap_or_else(PoisonError::into_inner) = Some(close);
        let lanes = Arc::new([Semaphore::new(PARALLEL), Semaphore::new(PARALLEL_LATER)]);
        let mut tasks = JoinSet::new();
        for record in records {
            let (context, lanes) = (Arc::clone(context), Arc::clone(&lanes));
            let closed = closed.clone();
            tasks.spawn(async move {
                let submission = until_closed(&context, window, &record, &lanes, closed).await;
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

/// Fetches one payload, again and again until `closed`. What is not there by then is missing; where its bucket gave
/// something else in its place, that is said.
async fn until_closed(
    context: &Context,
    window: Window,
    record: &SealedRecord,
    lanes: &[Semaphore; 2],
    mut closed: watch::Receiver<bool>,
) -> Submission {
    let hurried = ANSWER_PATIENCE + Duration::from_secs(u64::from(record.commitment.bytes / SLOWEST_BYTES_PER_SECOND));
    let (run, data, public) = (&context.run, &context.data, &context.network.record);
    let mut lie = None;
    let keep_trying = async {
        let mut waits = false;
        loop {
            let Ok(permit) = lanes[usize::from(waits)].acquire().await else { std::future::pending().await };
            let patience = if waits { Duration::MAX } else { hurried };
            let fetched = tokio::time::timeout(patience, payload::fetch(run, data, public, window, record)).await;
            drop(permit);
            let pause = match fetched {
                Ok(Ok(submission)) => return submission,
                Ok(Err(error)) if serves_other_bytes(&error) => {
                    (waits, lie) = (true, Some(error.to_string()));
                    PAUSE_AFTER_LIE
                }
                Ok(Err(_)) => PAUSE,
                Err(_) => {
                    waits = true;
                    PAUSE
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    let submission = tokio::select! {
        submission = keep_trying => Some(submission),
        _ = closed.wait_for(|closed| *closed) => None,
    };
    let failure = || lie.map_or(DoorFailure::Missing, |reason| DoorFailure::Unopened { reason });
    submission.unwrap_or_else(|| Submission::Refused(failure()))
}

/// Whether a miner's bucket has something else than the miner committed to.
fn serves_other_bytes(error: &NodeError) -> bool {
    match error {
        NodeError::Record(RecordError::Seal(_)) => true,
        NodeError::Record(RecordError::Bucket(error)) => is_lie(error),
        _ => false,
    }
}
