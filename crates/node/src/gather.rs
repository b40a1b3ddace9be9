//! Gathering a window's payloads from the buckets of strangers, until they are here or the time for it is over.

use crate::candidates::FetchedCandidates;
use crate::context::Context;
use crate::downloads::{Downloads, Missing};
use crate::lanes::{Candidate, Failure, LaneLimits, Lanes};
use crate::window_work::{ValidatorWork, WindowWork};
use crate::{NodeError, payload};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;
use templar_base::random::Stream;
use templar_base::{Uid, Window};
use templar_bucket::BucketError;
use templar_gauntlet::{Entry, Ratings, Rejection, Submission};
use templar_gradient::Payload;
use templar_record::{RecordError, is_lie};
use templar_round::{Reveal, SealedCommitments, SealedRecord};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What was gathered for one window.
#[derive(Debug, Clone)]
pub(crate) struct Gathered {
    pub window: Window,
    /// By uid: the pool, and those whose commitment is malformed.
    pub entries: Vec<Entry>,
    /// What was committed by the pool, by uid.
    pub records: Vec<SealedRecord>,
    /// The keys to the payloads that are here.
    pub keys: BTreeMap<Uid, Reveal>,
    /// Whose payloads are judged, once that is agreed on; all where the run does not agree on that.
    pub candidates: Option<BTreeSet<Uid>>,
}

impl Gathered {
    /// The uids of the pool, ascending.
    pub(crate) fn pool(&self) -> Vec<Uid> {
        self.records.iter().map(|record| record.uid).collect()
    }

    /// What came of a miner's payload; none where it is not in the pool.
    pub(crate) fn entry(&self, uid: Uid) -> Option<&Entry> {
        self.entries.binary_search_by_key(&uid, |entry| entry.uid).ok().map(|place| &self.entries[place])
    }

    /// Whether a miner's payload is here.
    pub(crate) fn has(&self, uid: Uid) -> bool {
        self.entry(uid).is_some_and(|entry| matches!(entry.submission, Submission::Payload { .. }))
    }

    /// Whether a payload is judged.
    pub(crate) fn is_candidate(&self, uid: Uid) -> bool {
        self.candidates.as_ref().is_none_or(|candidates| candidates.contains(&uid))
    }

    /// The same with what was fetched from mirrors, of which these are judged.
    pub(crate) fn with_candidates(&self, candidates: BTreeSet<Uid>, fetched: FetchedCandidates) -> Self {
        let mut taken = Self { candidates: Some(candidates), ..self.clone() };
        for (uid, (submission, reveal)) in fetched {
            if let Ok(place) = taken.entries.binary_search_by_key(&uid, |entry| entry.uid) {
                taken.entries[place].submission = submission;
                taken.keys.insert(uid, reveal);
            }
        }
        taken
    }

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
    let mut records = sealed.records;
    records.sort_by_key(|record| record.uid);
    let (submissions, keys) = submissions(context, window, &records, ratings, closed).await;
    entries.extend(records.iter().zip(submissions).map(|(record, submission)| entry(*record, submission)));
    entries.sort_by_key(|entry| entry.uid);
    let gathered = Arc::new(Gathered { window, entries, records, keys, candidates: None });
    work.change(window, |work| work.gathered = Some(Arc::clone(&gathered)));
    gathered
}

/// Stops waiting for the payloads of a window that have not come.
pub(crate) fn close(work: &WindowWork<ValidatorWork>, window: Window) {
    work.read(window, |work| work.close.as_ref().map(|close| close.send_replace(true)));
}

/// Each miner's payload, or why there is none; and the keys of those that came. What was here in time is opened even where
/// the gathering is closed by then: a slow processor is not the miner's fault.
async fn submissions(
    context: &Arc<Context>,
    window: Window,
    records: &[SealedRecord],
    ratings: &Ratings,
    closed: watch::Receiver<bool>,
) -> (Vec<Submission>, BTreeMap<Uid, Reveal>) {
    let lanes = Lanes::new(LaneLimits::default(), candidates(context, window, records, ratings));
    let fetch = |job: usize| {
        let (context, record) = (Arc::clone(context), records[job]);
        async move { payload::fetch(&context, window, &record).await.map_err(sort) }
    };
    let deadline = context.run.phases.reveal(window);
    let left = || context.blocks.time_until(deadline, Instant::now());
    let (mut opening, mut keys) = (JoinSet::new(), BTreeMap::new());
    let take = |job: usize, fetched: payload::Fetched| {
        let (context, record) = (Arc::clone(context), records[job]);
        keys.insert(record.uid, fetched.reveal().clone());
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
    (submissions.into_values().collect(), keys)
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
pub(crate) fn sort(error: NodeError) -> (Failure, String) {
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
