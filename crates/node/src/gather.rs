//! Gathering a window's payloads: all at once, until they are here or the time for it is over.

use crate::context::Context;
use crate::window_work::{ValidatorWork, WindowWork};
use crate::{NodeError, payload};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use templar_base::{Uid, Window};
use templar_gauntlet::{Entry, Rejection, Submission};
use templar_gradient::Payload;
use templar_record::{RecordError, is_lie};
use templar_round::{SealedCommitments, SealedRecord};
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
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
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
                Submission::Rejected(_) => None,
            })
            .collect()
    }
}

/// Gathers until everything is here or the gathering is closed.
pub(crate) async fn gather(
    context: &Arc<Context>,
    work: &WindowWork<ValidatorWork>,
    window: Window,
    sealed: SealedCommitments,
) -> Arc<Gathered> {
    let (close, closed) = watch::channel(false);
    // Opened payloads are large: those of other windows are dropped before these come.
    work.change(window, |work| *work = ValidatorWork { close: Some(close), ..ValidatorWork::default() });
    let lanes = Arc::new([Semaphore::new(PARALLEL), Semaphore::new(PARALLEL_LATER)]);
    let mut tasks = JoinSet::new();
    for record in sealed.records {
        let (context, lanes, closed) = (Arc::clone(context), Arc::clone(&lanes), closed.clone());
        tasks.spawn(async move {
            let submission = submission(&context, window, record, &lanes, closed).await;
            Entry { uid: record.uid, hotkey: record.hotkey, block: record.block, submission }
        });
    }
    let malformed = sealed.malformed.into_iter().map(|record| Entry {
        uid: record.uid,
        hotkey: record.hotkey,
        block: record.block,
        submission: Submission::Rejected(Rejection::Commitment),
    });
    let mut entries: Vec<Entry> = malformed.collect();
    entries.extend(tasks.join_all().await);
    entries.sort_by_key(|entry| entry.uid);
    let gathered = Arc::new(Gathered { window, entries });
    work.change(window, |work| work.gathered = Some(Arc::clone(&gathered)));
    gathered
}

/// Stops waiting for the payloads of a window that have not come.
pub(crate) fn close(work: &WindowWork<ValidatorWork>, window: Window) {
    work.read(window, |work| work.close.as_ref().map(|close| close.send_replace(true)));
}

/// One miner's payload, or why there is none. What was here in time is opened even where the gathering is closed by
/// then: a slow processor is not the miner's fault.
async fn submission(
    context: &Arc<Context>,
    window: Window,
    record: SealedRecord,
    lanes: &[Semaphore; 2],
    closed: watch::Receiver<bool>,
) -> Submission {
    match until_closed(context, window, &record, lanes, closed).await {
        Ok(fetched) => payload::open(context, window, record, fetched).await,
        Err(failure) => Submission::Rejected(failure),
    }
}

/// Fetches one payload, again and again until `closed`. What is not there by then is missing; where its bucket gave
/// something else in its place, that is stated.
async fn until_closed(
    context: &Context,
    window: Window,
    record: &SealedRecord,
    lanes: &[Semaphore; 2],
    mut closed: watch::Receiver<bool>,
) -> Result<payload::Fetched, Rejection> {
    let hurried = ANSWER_DEADLINE + Duration::from_secs(u64::from(record.commitment.bytes / SLOWEST_BYTES_PER_SECOND));
    let mut lie = None;
    let keep_trying = async {
        let mut waits = false;
        loop {
            let Ok(permit) = lanes[usize::from(waits)].acquire().await else { std::future::pending().await };
            let deadline = if waits { Duration::MAX } else { hurried };
            let fetched = tokio::time::timeout(deadline, payload::fetch(context, window, record)).await;
            drop(permit);
            let pause = match fetched {
                Ok(Ok(fetched)) => return fetched,
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
    let fetched = tokio::select! {
        fetched = keep_trying => Some(fetched),
        _ = closed.wait_for(|closed| *closed) => None,
    };
    fetched.ok_or_else(|| lie.map_or(Rejection::Missing, |reason| Rejection::Unopened { reason }))
}

/// Whether a miner's bucket has something else than the miner committed to.
fn serves_other_bytes(error: &NodeError) -> bool {
    match error {
        NodeError::Record(RecordError::Seal(_)) => true,
        NodeError::Record(RecordError::Bucket(error)) => is_lie(error),
        _ => false,
    }
}
