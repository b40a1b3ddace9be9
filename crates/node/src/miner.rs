//! A miner: the machine of `templar-round`, a training thread, and the objects of its bucket.

use crate::context::{Context, NodeOptions, Opened, open};
use crate::driver::{Actor, base_status, drive};
use crate::follow::carry_out_shared;
use crate::miner_worker::{MinerCommand, MinerProgress, MinerWorker};
use crate::snapshot::Pending;
use crate::worker::{Command, Worker};
use crate::{Data, JournalEntry, Network, NodeError, NodeStatus};
use parity_scale_codec::Encode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use templar_base::{BlockNumber, ContentHash, PublicKey, StateHash, Window};
use templar_bucket::{LargeSource, PART_BYTES};
use templar_chain::Topic;
use templar_gauntlet::Standing;
use templar_record::{Rules, fetch_verdict};
use templar_round::{
    AggregateSource, Effect, Event, FailedEffect, Miner, ObjectKey, Reveal, Role, SealCommitment, SealKey,
};
use templar_trainer::{AssignedText, WindowData};
use tokio::sync::watch;
use tokio::task::JoinSet;

struct MinerRole {
    machine: Miner,
    worker: Worker<MinerCommand>,
    progress: Arc<Mutex<MinerProgress>>,
    /// The payload that was sealed last: its key is published after the window's end.
    sealed: Arc<Mutex<Option<Pending>>>,
}

/// Runs a miner until `shutdown` holds true.
pub async fn run_miner(
    run: Rules,
    data: Data,
    network: Network,
    options: NodeOptions,
    shutdown: watch::Receiver<bool>,
) -> Result<(), NodeError> {
    let Opened { context, shared, events, heads } = open(run, data, network, &options, Role::Miner).await?;
    let follower = context.follower(&shared, AggregateSource::Download);
    let progress = Arc::new(Mutex::new(MinerProgress::default()));
    let computing = MinerWorker::new(Arc::clone(&context), Arc::clone(&progress), shared, options.threads)?;
    // A payload from long ago is of no use to anybody.
    let pending = computing.pending().filter(|pending| pending.window >= follower.standing().next).cloned();
    let machine = Miner::new(follower, pending.as_ref().map(|pending| (pending.window, pending.commitment)));
    if let Some(pending) = &pending {
        upload(&context, pending).await?;
    }
    let worker = Worker::start("miner", move |commands| computing.run(commands))?;
    let mut role = MinerRole { machine, worker, progress, sealed: Arc::new(Mutex::new(pending)) };
    drive(heads, events, shutdown, &context, &mut role).await
}

async fn upload(context: &Context, pending: &Pending) -> Result<(), NodeError> {
    let (key, object) = (ObjectKey::Payload(pending.window).to_string(), pending.object.clone().into());
    context.network.bucket.put_large(&key, LargeSource::Memory(object), PART_BYTES).await?;
    Ok(())
}

/// Uploads a payload while its commitment can still be in time: what a slow bucket has not taken by then is of no use, and
/// would only be in the way of the next one.
async fn upload_in_time(context: &Context, pending: &Pending) -> Result<(), NodeError> {
    let last = BlockNumber(context.run.phases.end(pending.window).0.saturating_sub(1));
    let begun = Instant::now();
    tokio::select! {
        uploaded = upload(context, pending) => uploaded,
        () = context.network.record.wait_for_block(last) => {
            Err(NodeError::TooSlow { bytes: pending.object.len() as u64, seconds: begun.elapsed().as_secs() })
        }
    }
}

impl Actor for MinerRole {
    fn step(&mut self, event: &Event) -> Vec<Effect> {
        self.machine.step(event)
    }

    fn carry_out(&mut self, context: &Arc<Context>, tasks: &mut JoinSet<()>, effect: Effect) {
        let Some(effect) = carry_out_shared(context, &self.worker, tasks, effect) else { return };
        let own = Arc::clone(context);
        match effect {
            Effect::BeginWindow { window } => drop(tasks.spawn(begin(own, self.worker.clone(), window))),
            Effect::Seal { window, start } => {
                drop(tasks.spawn(seal(own, self.worker.clone(), Arc::clone(&self.sealed), window, start)));
            }
            Effect::CommitSeal { window, commitment } => drop(tasks.spawn(commit_seal(own, window, commitment))),
            Effect::Reveal { window } => {
                let sealed = self.sealed.lock().unwrap_or_else(PoisonError::into_inner).clone();
                tasks.spawn(reveal(own, sealed, window));
            }
            Effect::Unsend { window } => {
                let sent = self.worker.send(Command::Role(MinerCommand::Unsent { window }));
                sent.unwrap_or_else(|error| context.journal.warn(error.to_string()));
            }
            Effect::AdoptVerdict { window, verdict, from } => {
                drop(tasks.spawn(read_verdict(own, self.worker.clone(), window, verdict, from)));
            }
            // What is left are effects of validators.
            _ => {}
        }
    }

    fn status(&self, context: &Context) -> NodeStatus {
        let progress = *self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let follower = self.machine.follower();
        NodeStatus {
            loss: progress.loss,
            tokens: progress.tokens,
            training_seconds: progress.training_seconds,
            wall_seconds: progress.wall_seconds,
            ..base_status(context, follower, follower.activity())
        }
    }
}

/// Reads what the agreed verdict says of this miner.
async fn read_verdict(
    context: Arc<Context>,
    worker: Worker<MinerCommand>,
    window: Window,
    hash: ContentHash,
    from: Vec<PublicKey>,
) {
    let verdict = match fetch_verdict(&context.run, &context.network.record, window, hash, &from).await {
        Ok(verdict) => verdict,
        Err(error) => return context.journal.warn(format!("the verdict on window {window} cannot be read: {error}")),
    };
    let Some(own) = verdict.miners.iter().find(|miner| miner.uid == context.uid) else { return };
    context.journal.add(&JournalEntry::Verdict { window, standing: own.standing.describe() });
    // Where the judges admitted nobody, the window is null and its payload went back into the feedback: what they found
    // worthless is not to be sent again, twice as large.
    let is_worthless = own.standing == Standing::Harmful || verdict.selected.is_empty();
    if is_worthless && worker.send(Command::Role(MinerCommand::Forget { window })).is_err() {
        context.journal.warn(NodeError::WorkerGone.to_string());
    }
}

async fn begin(context: Arc<Context>, worker: Worker<MinerCommand>, window: Window) {
    let begun = async {
        let beacon = context.network.record.beacon(context.run.phases.start(window)).await?;
        let assignment = context.data.assignments.assignment(window, context.uid, &beacon)?;
        let rules = context.rules(window).await?;
        let text = Arc::new(AssignedText { assignment, rule: context.data.batch_rule });
        let learning_rate = rules.genesis.inner.schedule.learning_rate(window);
        let inner_steps = u32::try_from(rules.inner_steps).unwrap_or(u32::MAX);
        let data = WindowData { window, text, inner_steps, learning_rate };
        worker.send(Command::Role(MinerCommand::Begin { data }))
    };
    if let Err(error) = begun.await {
        context.journal.warn(format!("no training in window {window}: {error}"));
    }
}

async fn seal(
    context: Arc<Context>,
    worker: Worker<MinerCommand>,
    sealed: Arc<Mutex<Option<Pending>>>,
    window: Window,
    start: StateHash,
) {
    let make = async {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| NodeError::Random(error.to_string()))?;
        let key = SealKey(key);
        worker.ask(move |reply| Command::Role(MinerCommand::Seal { window, start, key, reply })).await
    };
    let pending = match make.await {
        Ok(pending) => pending,
        Err(error) => return context.fail(window, FailedEffect::Seal, &error).await,
    };
    if let Err(error) = upload_in_time(&context, &pending).await {
        return context.fail(window, FailedEffect::Seal, &error).await;
    }
    let commitment = pending.commitment;
    *sealed.lock().unwrap_or_else(PoisonError::into_inner) = Some(pending);
    context.tell(Event::Sealed { window, commitment }).await;
}

async fn commit_seal(context: Arc<Context>, window: Window, commitment: SealCommitment) {
    match context.network.commit(Topic::Sealed, window.0, commitment.encode()).await {
        Ok(block) => context.tell(Event::SealCommitted { window, block }).await,
        Err(error) => context.fail(window, FailedEffect::CommitSeal, &error).await,
    }
}

async fn reveal(context: Arc<Context>, sealed: Option<Pending>, window: Window) {
    let publish = async {
        let missing = || NodeError::Missing { what: "the sealed payload's key".to_owned(), window };
        let pending = sealed.filter(|pending| pending.window == window).ok_or_else(missing)?;
        let reveal = Reveal::new(SealKey(pending.key), context.run.id, window, &context.network.hotkey);
        let key = ObjectKey::Reveal(window).to_string();
        Ok::<_, NodeError>(context.network.bucket.put(&key, reveal.to_bytes().into()).await?)
    };
    match publish.await {
        Ok(()) => context.tell(Event::Revealed { window }).await,
        Err(error) => context.fail(window, FailedEffect::Reveal, &error).await,
    }
}
