//! A miner: the machine of `templar-round`, a training thread, and the objects of its bucket.

use crate::context::{Context, NodeOptions, Opened, open};
use crate::driver::{Actor, base_status, drive};
use crate::follow::{self, Follow, Settled};
use crate::gather::Gathered;
use crate::miner_worker::{MinerCommand, MinerProgress, MinerWorker};
use crate::snapshot::Pending;
use crate::window_work::{MinerWork, WindowWork};
use crate::worker::{Command, Worker};
use crate::{Data, JournalEntry, Network, NodeError, NodeStatus};
use parity_scale_codec::Encode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use templar_base::{ContentHash, PublicKey, StateHash, Window};
use templar_bucket::{LargeSource, PART_BYTES};
use templar_chain::Topic;
use templar_record::{Rules, fetch_verdict};
use templar_round::{
    AggregateSource, Event, FailedEffect, Miner, MinerEffect, ObjectKey, Reveal, Role, SealCommitment, SealKey,
};
use templar_trainer::{AssignedText, WindowData};
use tokio::sync::watch;
use tokio::task::JoinSet;

struct MinerRole {
    context: Arc<Context>,
    machine: Miner,
    worker: Worker<MinerCommand>,
    progress: Arc<Mutex<MinerProgress>>,
    work: Arc<WindowWork<MinerWork>>,
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
    let (own, told) = (Arc::clone(&context), Arc::clone(&progress));
    let computing = context.heavy.run(move || MinerWorker::new(own, told, shared, &options)).await?;
    // A payload from long ago is of no use to anyone.
    let pending = computing.pending().filter(|pending| pending.window >= follower.position().next).cloned();
    let machine = Miner::new(follower, pending.as_ref().map(|pending| (pending.window, pending.commitment)));
    let work = Arc::new(WindowWork::<MinerWork>::keeping(1));
    if let Some(pending) = pending {
        upload(&context, &pending).await?;
        work.change(pending.window, |work| work.sealed = Some(pending));
    }
    let worker = Worker::start("miner", move |commands| computing.run(commands))?;
    let mut tasks = JoinSet::new();
    if context.run.genesis.audit.is_on() {
        tasks.spawn(crate::audit::answer(Arc::clone(&context), machine.follower().position().next.minus(1)));
    }
    let mut role = MinerRole { context: Arc::clone(&context), machine, worker, progress, work };
    drive(heads, events, shutdown, &context, tasks, &mut role).await
}

async fn upload(context: &Context, pending: &Pending) -> Result<(), NodeError> {
    let (key, object) = (ObjectKey::Payload(pending.window).to_string(), pending.object.clone().into());
    context.network.bucket.put_large(&key, LargeSource::Memory(object), PART_BYTES).await?;
    Ok(())
}

/// Uploads a payload while its commitment can still be in time: what a slow bucket has not taken by then is of no use,
/// and would only delay the next one.
async fn upload_in_time(context: &Context, pending: &Pending) -> Result<(), NodeError> {
    let last = context.run.phases.last_block(pending.window);
    let begun = Instant::now();
    tokio::select! {
        uploaded = upload(context, pending) => uploaded,
        () = context.network.record.wait_for_block(last) => {
            Err(NodeError::TooSlow { bytes: pending.object.len() as u64, seconds: begun.elapsed().as_secs() })
        }
    }
}

impl Actor for MinerRole {
    type Effect = MinerEffect;
    type Command = MinerCommand;

    fn step(&mut self, event: &Event) -> Vec<MinerEffect> {
        if let Event::Block(_) = event {
            let step = self.progress.lock().unwrap_or_else(PoisonError::into_inner).step_seconds;
            if let Some(blocks) = self.context.blocks.blocks_in(Duration::from_secs_f64(step)) {
                self.machine.expect_steps_of(blocks);
            }
        }
        self.machine.step(event)
    }

    fn carry_out(&mut self, context: &Arc<Context>, tasks: &mut JoinSet<()>, effect: MinerEffect) {
        let own = Arc::clone(context);
        match effect {
            MinerEffect::Follow(effect) => follow::carry_out(self, context, tasks, effect),
            MinerEffect::BeginWindow { window } => drop(tasks.spawn(begin(own, self.worker.clone(), window))),
            MinerEffect::Seal { window, start } => {
                tasks.spawn(seal(own, self.worker.clone(), Arc::clone(&self.work), window, start));
            }
            MinerEffect::CommitSeal { window, commitment } => drop(tasks.spawn(commit_seal(own, window, commitment))),
            MinerEffect::Reveal { window } => {
                let sealed = self.work.read(window, |work| work.sealed.clone());
                tasks.spawn(reveal(own, sealed, window));
            }
            MinerEffect::Unsend { window } => {
                let sent = self.worker.send(Command::Role(MinerCommand::Unsent { window }));
                sent.unwrap_or_else(|error| context.journal.warn(error.to_string()));
            }
            MinerEffect::Skip { window, reason } => {
                context.journal.add(&JournalEntry::Skipped { window, reason: reason.to_string() });
            }
        }
    }

    fn worker(&self) -> &Worker<MinerCommand> {
        &self.worker
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

impl Follow for MinerRole {
    fn note(&mut self, context: &Arc<Context>, tasks: &mut JoinSet<()>, settled: Settled) {
        let Settled { window, agreed, verdict } = settled;
        let is_void = agreed.voids_feedback_of(context.uid);
        if is_void && self.worker.send(Command::Role(MinerCommand::Forget { window })).is_err() {
            context.journal.warn(NodeError::WorkerGone.to_string());
        }
        if let Some((hash, from)) = verdict {
            tasks.spawn(read_verdict(Arc::clone(context), window, hash, from));
        }
    }

    fn gathered(&self, _: Window) -> Option<Arc<Gathered>> {
        None
    }
}

/// Reads why this miner stands where it stands.
async fn read_verdict(context: Arc<Context>, window: Window, hash: ContentHash, from: Vec<PublicKey>) {
    let verdict = match fetch_verdict(&context.run, &context.network.record, window, hash, &from).await {
        Ok(verdict) => verdict,
        Err(error) => return context.journal.warn(format!("the verdict on window {window} cannot be read: {error}")),
    };
    let Some(own) = verdict.miner(context.uid) else { return };
    let measured = own.contribution.as_ref();
    context.journal.add(&JournalEntry::Verdict {
        window,
        standing: own.standing.describe(),
        contribution: measured.map(|own| own.mean.to_f64()),
        standard_error: measured.map(|own| own.standard_error.to_f64()),
        rating: own.rating_after.map(|rating| rating.mean),
    });
}

async fn begin(context: Arc<Context>, worker: Worker<MinerCommand>, window: Window) {
    let begun = async {
        let beacon = context.network.record.beacon(context.run.phases.start(window)).await?;
        let hotkey = context.network.hotkey.public();
        let assignment = context.data.assignments.assignment(window, &hotkey, &beacon);
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
    work: Arc<WindowWork<MinerWork>>,
    window: Window,
    start: StateHash,
) {
    let make = async {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(NodeError::Random)?;
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
    work.change(window, |work| work.sealed = Some(pending));
    context.send(Event::Sealed { window, commitment }).await;
}

async fn commit_seal(context: Arc<Context>, window: Window, commitment: SealCommitment) {
    match context.network.commit(Topic::Sealed, window.0, commitment.encode()).await {
        Ok(block) => context.send(Event::SealCommitted { window, block }).await,
        Err(error) => context.fail(window, FailedEffect::CommitSeal, &error).await,
    }
}

async fn reveal(context: Arc<Context>, sealed: Option<Pending>, window: Window) {
    let publish = async {
        let pending = sealed.ok_or(NodeError::NoSealKey { window })?;
        let reveal = Reveal::new(SealKey(pending.key), context.run.id, window, &context.network.hotkey);
        let key = ObjectKey::Reveal(window).to_string();
        Ok::<_, NodeError>(context.network.bucket.put(&key, reveal.to_bytes().into()).await?)
    };
    match publish.await {
        Ok(()) => context.send(Event::Revealed { window }).await,
        Err(error) => context.fail(window, FailedEffect::Reveal, &error).await,
    }
}
