//! A validator: the machine of `templar-round`, a judging thread, and the objects of its bucket.

use crate::audit::{AuditStore, Auditing};
use crate::candidates;
use crate::context::{Context, NodeOptions, Opened, open};
use crate::driver::{Actor, base_status, drive};
use crate::earlier;
use crate::follow::{self, Follow, Settled};
use crate::gather::{self, Gathered};
use crate::validator_worker::{JudgeRequest, ValidatorCommand, ValidatorWorker};
use crate::window_work::{OwnVerdict, ValidatorWork, WindowWork};
use crate::worker::{Command, Worker};
use crate::{Data, JournalEntry, MinerLine, Network, NodeError, NodeStatus, checkpoint, evaluating, settling};
use parity_scale_codec::Encode;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;
use templar_base::{Uid, Window};
use templar_bucket::{LargeSource, PART_BYTES};
use templar_chain::{Metagraph, Topic};
use templar_gauntlet::{MinerVerdict, Ratings, Verdict, gathered_share, weights};
use templar_gradient::OuterState;
use templar_record::{Rules, RunState, VERDICT_PURPOSE};
use templar_round::{
    AggregateSource, Applied, Event, FailedEffect, ObjectKey, Role, SealedCommitments, Signed, Validator,
    ValidatorEffect, Vote, VoteSeal,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

struct ValidatorRole {
    machine: Validator,
    worker: Worker<ValidatorCommand>,
    parts: Parts,
}

/// What only a validator has, shared by its tasks.
#[derive(Clone)]
struct Parts {
    work: Arc<WindowWork<ValidatorWork>>,
    /// What its audits came to; none where the run has none.
    audits: Option<Arc<AuditStore>>,
}

/// Runs a validator until `shutdown` holds true.
pub async fn run_validator(
    run: Rules,
    data: Data,
    network: Network,
    options: NodeOptions,
    shutdown: watch::Receiver<bool>,
) -> Result<(), NodeError> {
    let Opened { context, shared, events, heads } = open(run, data, network, &options, Role::Validator).await?;
    let follower = context.follower(&shared, AggregateSource::Payloads);
    let machine = Validator::new(follower, context.run.genesis.economics.weights_every_windows);
    let own = Arc::clone(&context);
    let (computing, results) = context.heavy.run(move || ValidatorWorker::new(own, shared, &options)).await?;
    let worker = Worker::start("validator", move |commands| computing.run(commands))?;
    let is_audited = context.run.genesis.audit.is_on();
    let audits = is_audited.then(|| AuditStore::load(&context.folder)).transpose()?.map(Arc::new);
    let parts = Parts { work: Arc::new(WindowWork::keeping(1)), audits: audits.clone() };
    let mut tasks = JoinSet::new();
    crate::weights::resume(&context, &mut tasks);
    if let Some(results) = results {
        tasks.spawn(evaluating::publish(Arc::clone(&context), results));
    }
    if let Some(store) = audits {
        let (first, auditing) =
            (machine.follower().position().next.minus(1), Auditing { worker: worker.clone(), store });
        tasks.spawn(crate::audit::audit(Arc::clone(&context), auditing.clone(), first));
        tasks.spawn(crate::audit::take_up(Arc::clone(&context), auditing.clone(), first));
        tasks.spawn(crate::audit::watch(Arc::clone(&context), auditing, first));
    }
    let mut role = ValidatorRole { machine, worker, parts };
    drive(heads, events, shutdown, &context, tasks, &mut role).await
}

impl Actor for ValidatorRole {
    type Effect = ValidatorEffect;
    type Command = ValidatorCommand;

    fn step(&mut self, event: &Event) -> Vec<ValidatorEffect> {
        self.machine.step(event)
    }

    fn carry_out(&mut self, context: &Arc<Context>, tasks: &mut JoinSet<()>, effect: ValidatorEffect) {
        let (own, parts) = (Arc::clone(context), self.parts.clone());
        match effect {
            ValidatorEffect::Follow(effect) => follow::carry_out(self, context, tasks, effect),
            ValidatorEffect::ReadSealed { window } => drop(tasks.spawn(read_sealed(own, window))),
            ValidatorEffect::Gather { window, sealed } => {
                tasks.spawn(earlier::fetch_missing(Arc::clone(&own), window));
                tasks.spawn(gather(own, parts, window, sealed));
            }
            ValidatorEffect::WriteHeld { window, start } => {
                drop(tasks.spawn(candidates::write_held(own, parts.work, window, start)));
            }
            ValidatorEffect::ReadHeld { window } => drop(tasks.spawn(candidates::read_held(own, window))),
            ValidatorEffect::TakeCandidates { window, mirrors } => {
                let (work, all) = (Arc::clone(&parts.work), mirrors.clone());
                tasks.spawn(candidates::mirror(Arc::clone(&own), work, window, all));
                tasks.spawn(candidates::take(own, parts.work, window, mirrors));
            }
            ValidatorEffect::CloseGather { window } | ValidatorEffect::CloseTaking { window } => {
                gather::close(&self.parts.work, window);
            }
            ValidatorEffect::Judge { window } => drop(tasks.spawn(judge(own, parts, self.worker.clone(), window))),
            ValidatorEffect::SealVote { window, vote } => drop(tasks.spawn(seal_vote(own, window, vote))),
            ValidatorEffect::ReadVoteSeals { window } => drop(tasks.spawn(read_vote_seals(own, window))),
            ValidatorEffect::Vote { window, vote } => {
                let document = parts.work.read(window, |work| work.verdict.as_ref().map(|own| own.document.clone()));
                tasks.spawn(publish_vote(own, window, vote, document));
            }
            ValidatorEffect::Report { window, applied } => drop(tasks.spawn(report(own, window, applied))),
            ValidatorEffect::SetWeights { window } => drop(tasks.spawn(set_weights(own, window))),
            ValidatorEffect::PublishCheckpoint { window } => {
                let copy = self.worker.ask(move |reply| Command::Role(ValidatorCommand::Copy { window, reply }));
                let ratings = context.ratings.held_at_start_of(window);
                tasks.spawn(publish_checkpoint(own, window, copy, ratings));
            }
            ValidatorEffect::Skip { window, reason } => {
                context.journal.add(&JournalEntry::Skipped { window, reason: reason.to_string() });
            }
        }
    }

    fn worker(&self) -> &Worker<ValidatorCommand> {
        &self.worker
    }

    fn status(&self, context: &Context) -> NodeStatus {
        base_status(context, self.machine.follower(), self.machine.activity())
    }
}

impl Follow for ValidatorRole {
    fn note(&mut self, context: &Arc<Context>, _: &mut JoinSet<()>, Settled { window, agreed, .. }: Settled) {
        if agreed.step.is_none()
            && let Err(error) = earlier::note_null(context.folder.path(), window)
        {
            context.journal.warn(error.to_string());
        }
    }

    fn gathered(&self, window: Window) -> Option<Arc<Gathered>> {
        self.parts.work.read(window, |work| work.gathered.clone())
    }
}

async fn read_sealed(context: Arc<Context>, window: Window) {
    let (record, limit) = (&context.network.record, context.run.layout.max_payload_bytes());
    let read = async {
        // New miners' buckets, and those that moved.
        record.refresh_readers().await?;
        record.sealed(&context.run.phases, window, limit).await
    };
    match read.await {
        Ok(sealed) => context.send(Event::SealedRead { window, sealed }).await,
        Err(error) => context.fail(window, FailedEffect::Gather, &error.into()).await,
    }
}

async fn gather(context: Arc<Context>, parts: Parts, window: Window, sealed: SealedCommitments) {
    let gathered = async {
        let ratings = context.ratings.at_start_of(window).await?;
        let uids: Vec<Uid> = sealed.records.iter().map(|record| record.uid).collect();
        let (record, ranking) = (&context.network.record, ratings.ranking());
        let pool = record.pool_of(&context.run, window, (&ranking, &uids)).await?;
        let mut sealed = sealed;
        sealed.records.retain(|record| pool.binary_search(&record.uid).is_ok());
        let gathered = gather::gather(&context, &parts.work, window, sealed, &ratings).await;
        Ok::<_, NodeError>(gathered_share(&gathered.entries, &ratings))
    };
    match gathered.await {
        Ok((settled, committed)) => context.send(Event::Gathered { window, settled, committed }).await,
        Err(error) => context.fail(window, FailedEffect::Gather, &error).await,
    }
}

async fn judge(context: Arc<Context>, parts: Parts, worker: Worker<ValidatorCommand>, window: Window) {
    match make_verdict(&context, &parts, &worker, window).await {
        Ok(vote) => context.send(Event::Judged { window, vote }).await,
        Err(error) => context.fail(window, FailedEffect::Judge, &error).await,
    }
}

async fn make_verdict(
    context: &Arc<Context>,
    parts: &Parts,
    worker: &Worker<ValidatorCommand>,
    window: Window,
) -> Result<Vote, NodeError> {
    let begun = Instant::now();
    let record = &context.network.record;
    let gathered = parts.work.read(window, |work| work.gathered.clone());
    let gathered = gathered.ok_or(NodeError::NothingGathered { window })?;
    let phases = &context.run.phases;
    if gathered.candidates.is_none() && phases.hold(window).is_some() {
        return Err(NodeError::NothingGathered { window });
    }
    let beacon = record.beacon(phases.draw(window)).await?;
    let metagraph = record.metagraph(phases.end(window)).await?;
    let registered: BTreeMap<_, _> = metagraph.neurons.iter().map(|neuron| (neuron.uid, neuron.hotkey)).collect();
    let ratings = context.ratings.at_start_of(window).await?;
    let rules = context.rules(window).await?;
    let start_beacon = record.beacon(phases.start(window)).await?;
    let silent = silent(context, parts, window, &metagraph);
    let left_out = silent.keys().copied().collect();
    let request =
        Box::new(JudgeRequest { gathered, beacon, start_beacon, silent: left_out, registered, ratings, rules });
    let verdict = worker.ask(move |reply| Command::Role(ValidatorCommand::Judge { request, reply })).await?;
    note(context, &verdict, begun);
    let own = Arc::clone(context);
    let found = Found { frauds: frauds(context, parts, window, &metagraph), silent };
    let (vote, verdict) = context.heavy.run(move || sign(&own, window, verdict, &found)).await?;
    parts.work.change(window, |work| work.verdict = Some(verdict));
    Ok(vote)
}

/// Whose payloads of the last windows this validator's audits, or evidence that it has verified, found to be made otherwise than
/// they say, as far as their slots have not changed hands.
fn frauds(context: &Context, parts: &Parts, window: Window, metagraph: &Metagraph) -> Vec<Uid> {
    let Some(audits) = &parts.audits else { return Vec::new() };
    let mut frauds = BTreeSet::new();
    for past in window.minus(FRAUD_WINDOWS).until(window) {
        let differs = audits.of_window(past).into_iter().filter(|own| own.finding.is_fault());
        frauds.extend(differs.map(|own| own.uid).filter(|uid| is_same(context, metagraph, *uid, past)));
    }
    frauds.into_iter().collect()
}

/// Who owes an answer to the last audit of it in the windows before, as this validator saw, and whether that was the third in a
/// row.
fn silent(context: &Context, parts: &Parts, window: Window, metagraph: &Metagraph) -> BTreeMap<Uid, bool> {
    let Some(audits) = &parts.audits else { return BTreeMap::new() };
    audits.silent(window.minus(FRAUD_WINDOWS).until(window), |uid, past| is_same(context, metagraph, uid, past))
}

/// Whether a slot is the one that it was when a window began.
fn is_same(context: &Context, metagraph: &Metagraph, uid: Uid, since: Window) -> bool {
    let neuron = metagraph.neurons.iter().find(|neuron| neuron.uid == uid);
    neuron.is_some_and(|neuron| neuron.registered_at <= context.run.phases.start(since))
}

/// A vote marks who was found out in this number of windows before.
const FRAUD_WINDOWS: u64 = 8;

/// What audits of the windows before came to.
struct Found {
    frauds: Vec<Uid>,
    /// Who owes an answer, and whether it is the third in a row.
    silent: BTreeMap<Uid, bool>,
}

/// The signed verdict, and the vote that names it.
fn sign(context: &Context, window: Window, verdict: Verdict, found: &Found) -> Result<(Vote, OwnVerdict), NodeError> {
    let signed = Signed::new(verdict, context.run.id, window, VERDICT_PURPOSE, &context.network.hotkey)?;
    let hash = signed.hash()?;
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(NodeError::Random)?;
    let mut findings = signed.body.findings.clone();
    findings.mark_fraud(&found.frauds);
    findings.mark_silent(&found.silent);
    let vote = Vote::new(findings, hash)?.salted(salt);
    Ok((vote, OwnVerdict { document: signed.to_bytes()? }))
}

fn note(context: &Context, verdict: &Verdict, begun: Instant) {
    let line = |miner: &MinerVerdict| MinerLine {
        uid: miner.uid,
        standing: miner.standing.describe(),
        contribution: miner.contribution.as_ref().map(|contribution| contribution.mean.to_f64()),
        standard_error: miner.contribution.as_ref().map(|contribution| contribution.standard_error.to_f64()),
        rating: miner.rating_after.map(|rating| rating.value()),
        tokens: miner.tokens,
    };
    context.journal.add(&JournalEntry::Judged {
        window: verdict.window,
        miners: verdict.miners.iter().map(line).collect(),
        selected: verdict.selected.clone(),
        tokens: verdict.tokens(),
        milliseconds: begun.elapsed().as_millis() as u64,
    });
}

async fn seal_vote(context: Arc<Context>, window: Window, vote: Vote) {
    let seal = VoteSeal::of(context.run.id, window, context.network.hotkey.public(), &vote);
    match context.network.commit(Topic::VoteSeal, window.0, seal.encode()).await {
        Ok(_) => context.send(Event::VoteSealed { window }).await,
        Err(error) => context.fail(window, FailedEffect::Vote, &error).await,
    }
}

async fn read_vote_seals(context: Arc<Context>, window: Window) {
    let read = async {
        settling::wait_for_electors(&context, window).await?;
        let electors = context.network.record.electors(&context.run, window).await?;
        let (at, seals) = context.network.record.vote_seals(window, &electors).await?;
        Ok::<_, NodeError>(Event::VoteSeals { window, at, electors, seals })
    };
    match read.await {
        Ok(event) => context.send(event).await,
        Err(error) => context.fail(window, FailedEffect::ReadVoteSeals, &error).await,
    }
}

async fn publish_vote(context: Arc<Context>, window: Window, vote: Vote, document: Option<Vec<u8>>) {
    let publish = async {
        if let Some(bytes) = document {
            context.network.bucket.put(&ObjectKey::Verdict(window).to_string(), bytes.into()).await?;
        }
        context.network.commit(Topic::Vote, window.0, vote.encode()).await
    };
    match publish.await {
        Ok(_) => context.send(Event::Voted { window }).await,
        Err(error) => context.fail(window, FailedEffect::Vote, &error).await,
    }
}

async fn report(context: Arc<Context>, window: Window, applied: Applied) {
    let publish = async {
        if let Some((hash, aggregate)) = context.aggregate_of(window)
            && applied.aggregate == Some(hash)
        {
            let key = ObjectKey::Aggregate(window).to_string();
            let bytes = context.heavy.run(move || aggregate.encode()).await;
            context.network.bucket.put_large(&key, LargeSource::Memory(bytes.into()), PART_BYTES).await?;
        }
        context.network.commit(Topic::Applied, window.0, applied.encode()).await
    };
    if let Err(error) = publish.await {
        context.journal.warn(format!("the outcome of window {window} is not reported: {error}"));
    }
}

async fn set_weights(context: Arc<Context>, window: Window) {
    let weights = weights(&context.ratings.newest().await, &context.run.genesis.economics, window);
    if weights.is_empty() {
        return;
    }
    crate::weights::submit(context, window, weights).await;
}

async fn publish_checkpoint(
    context: Arc<Context>,
    window: Window,
    copy: impl Future<Output = Result<OuterState, NodeError>>,
    ratings: Option<Ratings>,
) {
    let publish = async {
        let ratings = ratings.ok_or(NodeError::RatingsUnknown { window })?;
        checkpoint::publish(&context, RunState { window, outer: copy.await?, ratings }).await
    };
    match publish.await {
        Ok(bytes) => context.journal.add(&JournalEntry::Checkpoint { window, bytes }),
        Err(error) => context.journal.warn(format!("the checkpoint of window {window} is not published: {error}")),
    }
}
