//! Gathering a window's payloads from the buckets of strangers, until they are here or the time for it is over.

use crate::context::Context;
use crate::downloads::{Downloads, Missing};
use crate::lanes::{Candidate, Failure, LaneLimits, Lanes};
use crate::window_work::{ValidatorWork, WindowWork};
use crate::{NodeError, payload};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use templar_base::random::Stream;
use templar_base::{Uid, Window};
use templar_bucket::BucketError;
use templar_gauntlet::{Entry, Ratings, Rejection, Submission};
use templar_gradient::Payload;
use templar_record::{RecordError, is_lie};
use templar_round::{SealedCommitments, SealedRecord};
use tokio::sync::watch;
use tokio::task::JoinSet;

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
    ratings: &Ratings,
) -> Arc<Gathered> {
    let (close, closed) = watch::channel(false);
    // Opened payloads are large: those of other windows are dropped before these come.
    work.change(window, |work| *work = ValidatorWork { close: Some(close), ..ValidatorWork::default() });
    let entry = |record: SealedRecord, submission: Submission| {
        let SealedRecord { uid, hotkey, block, .. } = record;
        Entry { uid, hotkey, block, submission }
    };
    let malformed = sealed.malformed.into_iter().map(|record| Entry {
        uid: record.uid,
        hotkey: record.hotkey,
        block: record.block,
        submission: Submission::Rejected(Rejection::Commitment),
    });
    let mut entries: Vec<Entry> = malformed.collect();
    let submissions = submissions(context, window, &sealed.records, ratings, closed).await;
    entries.extend(sealed.records.into_iter().zip(submissions).map(|(record, submission)| entry(record, submission)));
    entries.sort_by_key(|entry| entry.uid);
    let gathered = Arc::new(Gathered { window, entries });
    work.change(window, |work| work.gathered = Some(Arc::clone(&gathered)));
    gathered
}

/// Stops waiting for the payloads of a window that have not come.
pub(crate) fn close(work: &WindowWork<ValidatorWork>, window: Window) {
    work.read(window, |work| work.close.as_ref().map(|close| close.send_replace(true)));
}

/// Each miner's payload, or why there is none. What was here in time is opened even where the gathering is closed by
/// then: a slow processor is not the miner's fault.
async fn submissions(
    context: &Arc<Context>,
    window: Window,
    records: &[SealedRecord],
    ratings: &Ratings,
    closed: watch::Receiver<bool>,
) -> Vec<Submission> {
    let lanes = Lanes::new(LaneLimits::default(), candidates(context, window, records, ratings));
    let fetch = |job: usize| {
        let (context, record) = (Arc::clone(context), records[job]);
        async move { payload::fetch(&context, window, &record).await.map_err(sort) }
    };
    let deadline = context.run.phases.reveal(window);
    let left = || context.blocks.time_until(deadline, Instant::now());
    let mut opening = JoinSet::new();
    let take = |job: usize, fetched: payload::Fetched| {
        let (context, record) = (Arc::clone(context), records[job]);
        opening.spawn(async move { (job, payload::open(&context, window, record, fetched).await) });
    };
    let missing = Downloads::new(lanes).run(fetch, take, left, closed).await;
    let mut submissions: BTreeMap<usize, Submission> = opening.join_all().await.into_iter().collect();
    submissions.extend(missing.into_iter().map(|(job, missing)| {
        // Where the bucket had something else in its place, that is stated.
        let rejection = match missing {
            Missing::NotInTime => Rejection::Missing,
            Missing::Lie(reason) => Rejection::Unopened { reason },
        };
        (job, Submission::Rejected(rejection))
    }));
    submissions.into_values().collect()
}

/// Rated miners by their rating; the others in an order that is the validator's own, so that no key can choose its place.
fn candidates(context: &Context, window: Window, records: &[SealedRecord], ratings: &Ratings) -> Vec<Candidate> {
    let own_key = *context.network.hotkey.public().as_bytes();
    let mut lots = Stream::new(own_key, "order of gathering", window.0);
    let candidate = |record: &SealedRecord| {
        let known = ratings.miners.get(&record.uid);
        let rated = known.filter(|known| known.is_proven && known.hotkey == record.hotkey);
        Candidate {
            host: context.network.record.known_host(record.hotkey),
            rating: rated.map(|known| known.rating.value()),
            lot: lots.next_u64(),
            bytes: u64::from(record.commitment.bytes),
        }
    };
    records.iter().map(candidate).collect()
}

/// Sorts a failure into whose it is, with what is to be told of a lie.
fn sort(error: NodeError) -> (Failure, String) {
    let failure = match &error {
        NodeError::Record(RecordError::Seal(_)) => Failure::Lie,
        NodeError::Record(RecordError::Bucket(error)) if is_lie(error) => Failure::Lie,
        NodeError::Record(RecordError::Bucket(BucketError::NotFound { .. })) => Failure::Absent,
        NodeError::Record(RecordError::Bucket(_)) => Failure::Host,
        // The ledger is away, or names no bucket.
        _ => Failure::Absent,
    };
    (failure, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use templar_base::PublicKey;

    #[test]
    fn only_what_a_host_does_is_blamed_on_it() {
        let bucket = |error| sort(NodeError::Record(RecordError::Bucket(error))).0;
        let key = || "window/1/payload".to_owned();
        assert_eq!(bucket(BucketError::NotFound { key: key() }), Failure::Absent);
        assert_eq!(bucket(BucketError::WrongContent { key: key() }), Failure::Lie);
        let refused = BucketError::Unreachable { operation: "get", reason: "refused".to_owned() };
        assert_eq!(bucket(refused), Failure::Host);
        let unknown = RecordError::NoBucketAddress { hotkey: PublicKey::new([1; 32]) };
        assert_eq!(sort(NodeError::Record(unknown)).0, Failure::Absent);
    }
}
