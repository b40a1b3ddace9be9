//! A validator: the machine of `templar-round`, a judging thread, and the objects of its bucket.

use crate::context::{Context, NodeOptions, Opened, open};
use crate::driver::{Actor, base_status, drive};
use crate::follow::carry_out_shared;
use crate::validator_worker::{JudgeRequest, ValidatorCommand, ValidatorWorker};
use crate::worker::{Command, Worker};
use crate::{Data, JournalEntry, MinerLine, Network, NodeError, NodeStatus, checkpoint};
use parity_scale_codec::Encode;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use templar_base::{ContentHash, PublicKey, Window};
use templar_bucket::{LargeSource, PART_BYTES};
use templar_chain::Topic;
use templar_gauntlet::{Verdict, weights};
use templar_gradient::OuterState;
use templar_record::{Rules, VERDICT_PURPOSE};
use templar_round::{
    AggregateSource, Applied, Effect, Event, FailedEffect, ObjectKey, Role, SealedRecord, Signed, Validator, Vote,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

struct ValidatorRole {
    machine: Validator,
    worker: Worker<ValidatorCommand>,
    /// The verdict that is published with the vote.
    verdict: Arc<Mutex<Option<Vec<u8>>>>,
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
    let computing = ValidatorWorker::new(Arc::clone(&context), shared, options.threads)?;
    let worker = Worker::start("validator", move |commands| computing.run(commands))?;
    let mut role = ValidatorRole { machine, worker, verdict: Arc::default() };
    // Dropped with this function, which ends them.
    let mut revealing = JoinSet::new();
    crate::weights::resume(&context, &mut revealing);
    drive(heads, events, shutdown, &context, &mut role).await
}

impl Actor for ValidatorRole {
    fn step(&mut self, event: &Event) -> Vec<Effect> {
        self.machine.step(event)
    }

    fn carry_out(&mut self, context: &Arc<Context>, tasks: &mut JoinSet<()>, effect: Effect) {
        let Some(effect) = carry_out_shared(context, &self.worker, tasks, effect) else { return };
        let own = Arc::clone(context);
        match effect {
            Effect::AdoptVerdict { window, verdict, from } => self.adopt(own, tasks, window, verdict, from),
            Effect::ReadSealed { window } => drop(tasks.spawn(read_sealed(own, window))),
            Effect::Gather { window, records } => drop(tasks.spawn(gather(own, window, records))),
            Effect::CloseGather { .. } => context.gatherer.close(),
            Effect::Judge { window } => {
                tasks.spawn(judge(own, self.worker.clone(), Arc::clone(&self.verdict), window));
            }
            Effect::Vote { window, vote } => {
                let verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
                tasks.spawn(publish_vote(own, window, vote, verdict));
            }
            Effect::Report { window, applied } => drop(tasks.spawn(report(own, window, applied))),
            Effect::SetWeights { window } => drop(tasks.spawn(set_weights(own, window))),
            Effect::PublishCheckpoint { window } => {
                let copy = self.worker.ask(move |reply| Command::Role(ValidatorCommand::Copy { window, reply }));
                tasks.spawn(publish_checkpoint(own, window, copy));
            }
            // What is left are effects of miners.
            _ => {}
        }
    }

    fn status(&self, context: &Context) -> NodeStatus {
        base_status(context, self.machine.follower(), self.machine.activity())
    }
}

impl ValidatorRole {
    /// Takes the lock of the book at once if it is free, so that a judgement that comes later waits for the adoption.
    fn adopt(
        &self,
        context: Arc<Context>,
        tasks: &mut JoinSet<()>,
        window: Window,
        hash: ContentHash,
        from: Vec<PublicKey>,
    ) {
        let early = Arc::clone(&context.books).try_lock_owned().ok();
        tasks.spawn(async move {
            let mut books = match early {
                Some(books) => books,
                None => Arc::clone(&context.books).lock_owned().await,
            };
            let (run, record) = (&context.run, &context.network.record);
            if let Err(error) = books.adopt(run, record, &context.folder, window, hash, &from).await {
                context.journal.warn(format!("the agreed ratings of window {window} are missing: {error}"));
            }
        });
    }
}

async fn read_sealed(context: Arc<Context>, window: Window) {
    let limit = context.run.layout.max_payload_bytes();
    // New miners' buckets, and those that moved.
    let read = async {
        context.network.record.refresh_readers().await?;
        context.network.record.sealed(&context.run.phases, window, limit).await
    };
    match read.await {
        Ok((records, _)) => context.tell(Event::SealedRead { window, records }).await,
        Err(error) => context.fail(window, FailedEffect::Gather, &error.into()).await,
    }
}

async fn gather(context: Arc<Context>, window: Window, records: Vec<SealedRecord>) {
    let limit = context.run.layout.max_payload_bytes();
    let malformed = match context.network.record.sealed(&context.run.phases, window, limit).await {
        Ok((_, malformed)) => malformed,
        Err(error) => return context.fail(window, FailedEffect::Gather, &error.into()).await,
    };
    let gathered = context.gatherer.gather(&context, window, records, malformed).await;
    let (settled, committed) = gathered.settled_of(context.books.lock().await.book());
    context.tell(Event::Gathered { window, settled, committed }).await;
}

async fn judge(
    context: Arc<Context>,
    worker: Worker<ValidatorCommand>,
    slot: Arc<Mutex<Option<Vec<u8>>>>,
    window: Window,
) {
    match make_verdict(&context, &worker, &slot, window).await {
        Ok(vote) => context.tell(Event::Judged { window, vote }).await,
        Err(error) => context.fail(window, FailedEffect::Judge, &error).await,
    }
}

async fn make_verdict(
    context: &Context,
    worker: &Worker<ValidatorCommand>,
    slot: &Mutex<Option<Vec<u8>>>,
    window: Window,
) -> Result<Vote, NodeError> {
    let begun = Instant::now();
    let (run, network) = (&context.run, &context.network);
    let missing = |what: &str| NodeError::Missing { what: what.to_owned(), window };
    let gathered = context.gatherer.of(window).ok_or_else(|| missing("what was gathered"))?;
    let end = run.phases.end(window);
    let beacon = network.record.beacon(end).await?;
    let metagraph = network.record.metagraph(end).await?;
    let registered: BTreeMap<_, _> = metagraph.neurons.iter().map(|neuron| (neuron.uid, neuron.hotkey)).collect();
    let book = context.books.lock().await.book().clone();
    let rules = context.rules(window).await?;
    let request = Box::new(JudgeRequest { gathered, beacon, registered, book, rules });
    let verdict = worker.ask(move |reply| Command::Role(ValidatorCommand::Judge { request, reply })).await?;
    let signed = Signed::new(verdict, run.id, window, VERDICT_PURPOSE, &network.hotkey)?;
    let hash = signed.hash()?;
    let vote = Vote::new(&signed.body.accepted(), &signed.body.selected, hash);
    let vote = vote.map_err(|error| missing(&error.to_string()))?;
    note(context, &signed.body, begun);
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(signed.to_bytes()?);
    context.books.lock().await.note_own(window, hash, signed.body.book);
    Ok(vote)
}

fn note(context: &Context, verdict: &Verdict, begun: Instant) {
    let line = |miner: &templar_gauntlet::MinerVerdict| MinerLine {
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

async fn publish_vote(context: Arc<Context>, window: Window, vote: Vote, verdict: Option<Vec<u8>>) {
    let publish = async {
        if let Some(bytes) = verdict {
            context.network.bucket.put(&ObjectKey::Verdict(window).to_string(), bytes.into()).await?;
        }
        context.network.commit(Topic::Vote, window.0, vote.encode()).await
    };
    match publish.await {
        Ok(_) => context.tell(Event::Voted { window }).await,
        Err(error) => context.fail(window, FailedEffect::Vote, &error).await,
    }
}

async fn report(context: Arc<Context>, window: Window, applied: Applied) {
    let publish = async {
        if let Some((hash, aggregate)) = context.aggregate_of(window)
            && applied.aggregate == Some(hash)
        {
            let (key, bytes) = (ObjectKey::Aggregate(window).to_string(), aggregate.encode());
            context.network.bucket.put_large(&key, LargeSource::Memory(bytes.into()), PART_BYTES).await?;
        }
        context.network.commit(Topic::Applied, window.0, applied.encode()).await
    };
    if let Err(error) = publish.await {
        context.journal.warn(format!("what window {window} came to is not reported: {error}"));
    }
}

async fn set_weights(context: Arc<Context>, window: Window) {
    let book = context.books.lock().await.book().clone();
    let weights = weights(&book, &context.run.genesis.economics, window);
    if weights.is_empty() {
        return;
    }
    crate::weights::submit(context, window, weights).await;
}

async fn publish_checkpoint(
    context: Arc<Context>,
    window: Window,
    copy: impl Future<Output = Result<OuterState, NodeError>>,
) {
    let publish =
        async { checkpoint::publish(&context.run, &context.data, &context.network, window, copy.await?).await };
    match publish.await {
        Ok(bytes) => context.journal.add(&JournalEntry::Checkpoint { window, bytes }),
        Err(error) => context.journal.warn(format!("the checkpoint of window {window} is not published: {error}")),
    }
}
