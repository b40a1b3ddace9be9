//! A validator and a window's candidates: it states what it holds, reads what others state, takes the candidates that follow, from
//! mirrors where it lacks one, and mirrors those that it is drawn for.

use crate::context::Context;
use crate::downloads::Downloads;
use crate::gather::{Gathered, sort};
use crate::holders::in_own_order;
use crate::lanes::{Candidate, LaneLimits, Lanes};
use crate::window_work::{ValidatorWork, WindowWork};
use crate::{NodeError, payload, settling};
use parity_scale_codec::Encode;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;
use templar_base::{PublicKey, StateHash, Uid, Window};
use templar_bucket::{LargeSource, PART_BYTES};
use templar_chain::Topic;
use templar_gauntlet::{LoneChecks, Submission, lacking_weight};
use templar_round::{Event, FailedEffect, Held, ObjectKey, Reveal, SealedRecord, seal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Candidates that are put into the own bucket at a time: each is in memory until it is there.
const MIRRORED_AT_ONCE: usize = 4;

/// What a validator has in hand for the windows at hand.
type Work = Arc<WindowWork<ValidatorWork>>;

fn gathered(work: &Work, window: Window) -> Result<Arc<Gathered>, NodeError> {
    work.read(window, |work| work.gathered.clone()).ok_or(NodeError::NothingGathered { window })
}

/// States on the ledger what is held of the pool.
pub(crate) async fn write_held(context: Arc<Context>, work: Work, window: Window, start: StateHash) {
    let write = async {
        let held = held(&context, gathered(&work, window)?, start).await?;
        let written = context.network.commit(Topic::Held, window.0, held.encode()).await;
        // What was stated before a restart counts.
        match written {
            Err(_) if context.network.has_committed(Topic::Held, window.0).await? => Ok(()),
            written => written.map(|_| ()),
        }
    };
    match write.await {
        Ok(()) => context.send(Event::HeldWritten { window }).await,
        Err(error) => context.fail(window, FailedEffect::WriteHeld, &error).await,
    }
}

async fn held(context: &Arc<Context>, gathered: Arc<Gathered>, start_state: StateHash) -> Result<Held, NodeError> {
    let window = gathered.window;
    let ratings = context.ratings.at_start_of(window).await?;
    let rules = context.rules(window).await?;
    let run = context.run.id;
    let check = move || {
        let (genesis, inner_steps, ratings) = (&rules.genesis, rules.inner_steps as u32, &ratings);
        let checks = LoneChecks { genesis, inner_steps, run, window, start_state, ratings };
        let is_held = |uid: Uid| gathered.entry(uid).is_some_and(|entry| checks.check(entry).is_ok());
        Held::of(&gathered.pool(), is_held)
    };
    Ok(context.heavy.run(check).await)
}

/// Reads what electors hold.
pub(crate) async fn read_held(context: Arc<Context>, window: Window) {
    let read = async {
        settling::wait_for_electors(&context, window).await?;
        let (run, record) = (&context.run, &context.network.record);
        let electors = record.electors(run, window).await?;
        let read = record.held(run, window, &electors).await?.ok_or(NodeError::RatingsUnknown { window })?;
        let beacon = record.beacon(run.phases.draw(window)).await?;
        let (at, pool, held) = (read.at, read.pool.to_vec(), read.held);
        Ok::<_, NodeError>(Event::HeldRead { window, at, beacon, pool, electors, held })
    };
    match read.await {
        Ok(event) => context.send(event).await,
        Err(error) => context.fail(window, FailedEffect::ReadHeld, &error).await,
    }
}

/// Makes the candidates what is judged. Those that are missing are fetched from their mirrors until it is told to close.
pub(crate) async fn take(context: Arc<Context>, work: Work, window: Window, mirrors: BTreeMap<Uid, Vec<PublicKey>>) {
    let (close, closed) = watch::channel(false);
    work.change(window, |work| work.close = Some(close));
    let taken = async {
        let gathered = gathered(&work, window)?;
        let ratings = context.ratings.at_start_of(window).await?;
        let fetched = fetch(&context, &gathered, &mirrors, closed).await;
        let candidates: BTreeSet<Uid> = mirrors.into_keys().collect();
        let taken = Arc::new(gathered.with_candidates(candidates.clone(), fetched));
        work.change(window, |work| work.gathered = Some(Arc::clone(&taken)));
        Ok::<_, NodeError>(lacking_weight(&taken.entries, &candidates, &ratings))
    };
    match taken.await {
        Ok((lacking, all)) => context.send(Event::CandidatesTaken { window, lacking, all }).await,
        Err(error) => context.fail(window, FailedEffect::Gather, &error).await,
    }
}

/// What came of the candidates that are missing, and their keys.
pub(crate) type FetchedCandidates = BTreeMap<Uid, (Submission, Reveal)>;

async fn fetch(
    context: &Arc<Context>,
    gathered: &Gathered,
    mirrors: &BTreeMap<Uid, Vec<PublicKey>>,
    closed: watch::Receiver<bool>,
) -> FetchedCandidates {
    let (window, own) = (gathered.window, context.network.hotkey.public());
    let of = |record: &SealedRecord| Some((*record, in_own_order(mirrors.get(&record.uid)?.clone(), own, window)));
    let missing: Vec<(SealedRecord, Vec<PublicKey>)> =
        gathered.records.iter().filter(|record| !gathered.has(record.uid)).filter_map(of).collect();
    let bytes = |(record, _): &(SealedRecord, Vec<PublicKey>)| u64::from(record.commitment.bytes);
    let job = |job| Candidate { host: None, rating: None, lot: 0, bytes: bytes(job) };
    let lanes = Lanes::new(LaneLimits::default(), missing.iter().map(job).collect());
    let fetch = |job: usize| {
        let (context, (record, mirrors)) = (Arc::clone(context), missing[job].clone());
        async move { payload::fetch_mirrored(&context, window, (&record, &mirrors)).await.map_err(sort) }
    };
    let left = || context.blocks.time_until(context.run.phases.judge(window), Instant::now());
    let mut opening = JoinSet::new();
    let take = |job: usize, fetched: payload::Fetched| {
        let (context, record, reveal) = (Arc::clone(context), missing[job].0, fetched.reveal().clone());
        opening.spawn(async move { (record.uid, (payload::open(&context, window, record, fetched).await, reveal)) });
    };
    Downloads::new(lanes).run(fetch, take, left, closed).await;
    opening.join_all().await.into_iter().collect()
}

/// Puts the candidates that this node is drawn for into its bucket, with their keys, for whoever lacks them. They go with the
/// window. It may last longer than the judging: who lacks a payload that is merged looks for it there, too.
pub(crate) async fn mirror(context: Arc<Context>, work: Work, window: Window, mirrors: BTreeMap<Uid, Vec<PublicKey>>) {
    let own = context.network.hotkey.public();
    let uids: Vec<Uid> = mirrors.iter().filter(|(_, by)| by.contains(&own)).map(|(uid, _)| *uid).collect();
    // Without what was gathered taking the candidates fails, too, and says so.
    let Ok(gathered) = gathered(&work, window) else { return };
    for some in uids.chunks(MIRRORED_AT_ONCE) {
        let mut tasks = JoinSet::new();
        for uid in some {
            tasks.spawn(mirror_one(Arc::clone(&context), Arc::clone(&gathered), *uid));
        }
        for mirrored in tasks.join_all().await {
            if let Err(error) = mirrored {
                context.journal.warn(format!("window {window}: a candidate is not mirrored: {error}"));
            }
        }
    }
}

async fn mirror_one(context: Arc<Context>, gathered: Arc<Gathered>, uid: Uid) -> Result<(), NodeError> {
    let (run, window) = (context.run.id, gathered.window);
    let lacking = NodeError::NoPayload { uid, window };
    let Some(reveal) = gathered.keys.get(&uid).cloned() else { return Err(lacking) };
    let key = reveal.to_bytes();
    // A key is used once and with one nonce, so that sealing again makes the object that was committed, and nobody has to keep it.
    let seal_again = move || {
        let record = gathered.records.iter().find(|record| record.uid == uid)?;
        let Submission::Payload { payload, .. } = &gathered.entry(uid)?.submission else { return None };
        let sealed = seal(payload.bytes(), reveal.key(), run, record.hotkey, window);
        (sealed.commitment == record.commitment).then_some(sealed.object)
    };
    let object = context.heavy.run(seal_again).await.ok_or(lacking)?;
    let bucket = &context.network.bucket;
    let name = ObjectKey::Mirror(window, uid).to_string();
    bucket.put_large(&name, LargeSource::Memory(object.into()), PART_BYTES).await?;
    bucket.put(&ObjectKey::MirrorKey(window, uid).to_string(), key.into()).await?;
    Ok(())
}
