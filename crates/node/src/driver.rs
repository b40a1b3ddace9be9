//! What both roles share: opening a node, following the run, telling where it stands.

use crate::book_keeper::BookKeeper;
use crate::gather::Gatherer;
use crate::journal::now_ms;
use crate::snapshot::SharedState;
use crate::transfer::KnownComplaints;
use crate::worker::{Command, Worker};
use crate::{DataFolder, Journal, JournalEntry, Network, NodeError, NodeStatus, Run, aggregate, checkpoint};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use templar_base::{ContentHash, PublicKey, StateHash, Uid, Window, WindowRules};
use templar_gradient::{Aggregate, OuterState, OuterStep};
use templar_ledger::HeadStream;
use templar_round::{Effect, Event, FailedEffect, Follower, ObjectKey, Standing};
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};
use tokio::task::JoinSet;

/// Events that wait for the machine; tasks that have one more wait for a place.
const EVENT_QUEUE: usize = 1024;
/// Pause between two tries to reach the ledger.
const LEDGER_PAUSE: Duration = Duration::from_millis(500);
/// How often the status file is written.
const STATUS_EVERY: Duration = Duration::from_millis(500);

/// The wait before what the disk refused is tried again.
const DISK_PAUSE: Duration = Duration::from_secs(2);

/// The file of the data folder that a checkpoint is downloaded into.
const INCOMING: &str = "incoming.safetensors";

/// How a node runs.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Where the node keeps its state.
    pub data: PathBuf,
    /// Computing threads.
    pub threads: usize,
    /// The model folder that a run of [`templar_base::FirstParameters::Folder`] starts from.
    pub first_parameters: Option<PathBuf>,
}

/// What the parts of a node share.
pub(crate) struct Context {
    pub run: Run,
    pub network: Arc<Network>,
    pub uid: Uid,
    pub role: &'static str,
    pub folder: DataFolder,
    pub journal: Journal,
    /// The model folder that the run starts from, where its genesis asks for one.
    pub first_parameters: Option<PathBuf>,
    /// Where the events of tasks go.
    pub events: mpsc::Sender<Event>,
    /// What was gathered; validators only.
    pub gatherer: Gatherer,
    /// The agreed ratings; validators only. Whoever changes them holds the lock until the change is done.
    pub books: Arc<AsyncMutex<BookKeeper>>,
    /// The aggregates that may be applied or published.
    aggregates: Mutex<BTreeMap<Window, (ContentHash, Arc<Aggregate>)>>,
    /// What was said of peers whose aggregates could not be had.
    complaints: KnownComplaints,
}

/// A node that is open and not yet running.
pub(crate) struct Opened {
    pub context: Arc<Context>,
    pub shared: SharedState,
    pub events: mpsc::Receiver<Event>,
    pub heads: HeadStream,
}

/// Opens the folder, checks ledger and registration, announces the bucket, loads or makes the parameters.
pub(crate) async fn open(
    run: Run,
    network: Network,
    options: &NodeOptions,
    role: &'static str,
) -> Result<Opened, NodeError> {
    let folder = DataFolder::open(&options.data, run.id, role)?;
    let journal = Journal::new(&options.data);
    let hyperparameters = network.chain.hyperparameters(network.netuid).await?;
    if hyperparameters.genesis != run.genesis.ledger {
        return Err(NodeError::WrongLedger { wanted: run.genesis.ledger, actual: hyperparameters.genesis });
    }
    let hotkey = network.hotkey.public();
    let metagraph = network.chain.metagraph(network.netuid, None).await?;
    let neuron = metagraph.neuron(&hotkey);
    let uid = neuron.ok_or(NodeError::NotRegistered { hotkey, netuid: network.netuid.0 })?.uid;
    network.announce_bucket().await?;
    let heads = network.chain.subscribe_heads().await?;
    let shared = match SharedState::load(&folder, run.layout.parameters())? {
        Some(shared) => shared,
        None => {
            let params = run.first_parameters(options.first_parameters.as_deref())?;
            let shared = SharedState::new(Window(0), OuterState::new(params));
            shared.save(&folder)?;
            shared
        }
    };
    let (events, receiver) = mpsc::channel(EVENT_QUEUE);
    let books = Arc::new(AsyncMutex::new(BookKeeper::load(&folder)?));
    let (network, gatherer, aggregates) = (Arc::new(network), Gatherer::default(), Mutex::default());
    let first_parameters = options.first_parameters.clone();
    let complaints = KnownComplaints::default();
    let context = Context {
        run,
        network,
        uid,
        role,
        folder,
        journal,
        first_parameters,
        events,
        gatherer,
        books,
        aggregates,
        complaints,
    };
    context.journal.add(&JournalEntry::Started { role: role.to_owned(), uid, next: shared.next, state: shared.state });
    Ok(Opened { context: Arc::new(context), shared, events: receiver, heads })
}

impl Context {
    /// A follower that stands at these parameters.
    pub(crate) fn follower(&self, shared: &SharedState, source: templar_round::AggregateSource) -> Follower {
        let standing = Standing { next: shared.next, state: shared.state };
        Follower::new(self.run.phases.clone(), source, standing)
    }

    /// Sends an event to the machine; waits while the queue is full.
    pub(crate) async fn tell(&self, event: Event) {
        // Without a receiver the node is stopping.
        let _ = self.events.send(event).await;
    }

    /// Tells of a failure, to the operator and to the machine.
    pub(crate) async fn fail(&self, window: Window, effect: FailedEffect, error: &NodeError) {
        self.journal.warn(format!("window {window}: {error}"));
        self.tell(Event::Failed { window, effect }).await;
    }

    /// The aggregate of a window, if this node has it.
    pub(crate) fn aggregate_of(&self, window: Window) -> Option<(ContentHash, Arc<Aggregate>)> {
        self.aggregates.lock().unwrap_or_else(PoisonError::into_inner).get(&window).cloned()
    }

    fn hold(&self, window: Window, aggregate: Aggregate) -> ContentHash {
        let hash = aggregate.hash();
        let mut aggregates = self.aggregates.lock().unwrap_or_else(PoisonError::into_inner);
        aggregates.insert(window, (hash, Arc::new(aggregate)));
        while aggregates.len() > 2 {
            aggregates.pop_first();
        }
        hash
    }

    /// The rules of a window that has begun: those of the genesis, with what the token's holders had decided before.
    pub(crate) async fn rules(&self, window: Window) -> Result<Arc<WindowRules>, NodeError> {
        self.network.refresh_setting_changes(self.run.phases.start(window)).await?;
        self.known_rules(window).ok_or_else(|| NodeError::Missing { what: "the rules".to_owned(), window })
    }

    /// The rules of a window, if what was read of the ledger so far tells them.
    fn known_rules(&self, window: Window) -> Option<Arc<WindowRules>> {
        let known = self.network.known_setting_changes(self.run.phases.start(window))?;
        Some(Arc::new(self.run.genesis.rules_in(window, &known.changes)))
    }

    async fn read_votes(self: Arc<Self>, window: Window) {
        let read = async {
            let limit = self.rules(window).await?.genesis.judging.selected;
            let electors = self.network.electors(&self.run.phases, window).await?;
            let (at, votes) = self.network.votes(window).await?;
            Ok::<_, NodeError>(Event::Votes { window, at, limit, electors, votes })
        };
        match read.await {
            Ok(event) => self.tell(event).await,
            Err(error) => self.fail(window, FailedEffect::ReadVotes, &error).await,
        }
    }

    async fn read_reports(self: Arc<Self>, window: Window) {
        let read = async {
            let electors = self.network.electors(&self.run.phases, window).await?;
            let reports = self.network.reports(window).await?;
            Ok::<_, NodeError>(Event::Reports { window, electors, reports })
        };
        match read.await {
            Ok(event) => self.tell(event).await,
            Err(error) => self.fail(window, FailedEffect::ReadReports, &error).await,
        }
    }

    async fn build_aggregate(self: Arc<Self>, window: Window, selected: Vec<Uid>) {
        let gathered = self.gatherer.of(window);
        let built = aggregate::build(&self.run, &self.network, window, &selected, gathered).await;
        self.take_aggregate(window, built).await;
    }

    async fn fetch_aggregate(self: Arc<Self>, window: Window, hash: ContentHash, from: Vec<PublicKey>) {
        let fetch = async {
            let selected = self.rules(window).await?.genesis.judging.selected;
            let fetched = aggregate::fetch(&self.run, &self.network, window, hash, &from, selected).await?;
            for complaint in fetched.complaints.iter().filter(|complaint| self.complaints.is_news(complaint)) {
                self.journal.warn(format!("window {window}: {complaint}"));
            }
            Ok(fetched.content)
        };
        self.take_aggregate(window, fetch.await).await;
    }

    async fn take_aggregate(&self, window: Window, aggregate: Result<Aggregate, NodeError>) {
        match aggregate {
            Ok(aggregate) => {
                let hash = self.hold(window, aggregate);
                self.tell(Event::AggregateReady { window, hash }).await;
            }
            Err(error) => {
                // A peer's bucket may have moved. If the ledger is away too, the next try is early enough.
                if let Err(error) = self.network.refresh_readers().await {
                    self.journal.warn(format!("bucket addresses cannot be read: {error}"));
                }
                self.fail(window, FailedEffect::Aggregate, &error).await;
            }
        }
    }

    /// Deletes what the genesis no longer keeps.
    pub(crate) async fn delete_old(self: Arc<Self>, current: Window) {
        let oldest = self.run.phases.oldest_kept(current);
        let bucket = &self.network.bucket;
        let windows = checkpoint::delete_sorted_before(bucket, "window", &ObjectKey::window_prefix(oldest)).await;
        let checkpoints = checkpoint::delete_before(bucket, oldest).await;
        if let Err(error) = windows.and(checkpoints) {
            self.journal.warn(format!("old objects stay for now: {error}"));
        }
    }
}

/// The effects that every role has in common; gives back those that it has not.
pub(crate) fn carry_out_shared<R: Send + 'static>(
    context: &Arc<Context>,
    worker: &Worker<R>,
    tasks: &mut JoinSet<()>,
    effect: Effect,
) -> Option<Effect> {
    let own = Arc::clone(context);
    match effect {
        Effect::ReadVotes { window } => drop(tasks.spawn(own.read_votes(window))),
        Effect::ReadReports { window } => drop(tasks.spawn(own.read_reports(window))),
        Effect::BuildAggregate { window, selected } => drop(tasks.spawn(own.build_aggregate(window, selected))),
        Effect::FetchAggregate { window, hash, from } => drop(tasks.spawn(own.fetch_aggregate(window, hash, from))),
        Effect::Apply { window, aggregate } => apply(own, worker, tasks, window, aggregate),
        Effect::Restore { window } => restore(own, worker, tasks, window),
        Effect::Skip { window, reason } => {
            context.journal.add(&JournalEntry::Skipped { window, reason: reason.to_string() });
        }
        Effect::Diverged { window, own, agreed } => {
            let (own, agreed) = (own.state, agreed.state);
            context.journal.add(&JournalEntry::Diverged { window, own, agreed });
        }
        other => return Some(other),
    }
    None
}

fn apply<R: Send + 'static>(
    context: Arc<Context>,
    worker: &Worker<R>,
    tasks: &mut JoinSet<()>,
    window: Window,
    hash: Option<ContentHash>,
) {
    let held = context.aggregate_of(window).filter(|(held, _)| hash.is_none_or(|hash| hash == *held));
    let aggregate = hash.and(held).map(|(_, aggregate)| aggregate);
    let selected = aggregate
        .as_ref()
        .map_or(Vec::new(), |aggregate| aggregate.contributors().iter().map(|contributor| contributor.uid).collect());
    // The machine asks to apply only what it was told is at hand.
    debug_assert_eq!(hash.is_some(), aggregate.is_some());
    // The votes that led here were read together with the window's rules.
    let Some(rules) = context.known_rules(window) else {
        return context.journal.warn(format!("the rules of window {window} are not known; restart the node"));
    };
    let step = OuterStep::of(&rules.genesis.outer, window);
    let done = worker.ask(move |reply| Command::Apply { window, aggregate, step, reply });
    tasks.spawn(async move {
        match done.await {
            Ok(state) => {
                context.journal.add(&JournalEntry::Applied { window, selected, state });
                context.tell(Event::Applied { window, state }).await;
                context.delete_old(window.next()).await;
            }
            // The disk is full or refuses: nothing was changed, and an operator must act before the node can go on.
            Err(error) => {
                context.journal.warn(format!("window {window} cannot be applied: {error}"));
                tokio::time::sleep(DISK_PAUSE).await;
                context.tell(Event::Failed { window, effect: FailedEffect::Apply }).await;
            }
        }
    });
}

fn restore<R: Send + 'static>(context: Arc<Context>, worker: &Worker<R>, tasks: &mut JoinSet<()>, window: Window) {
    let commands = worker.clone();
    tasks.spawn(async move {
        let restored = async {
            let (next, outer) = newest_state(&context, window).await?;
            let state: StateHash = commands.ask(move |reply| Command::Install { next, outer, reply }).await?;
            let mut books = context.books.lock().await;
            if context.role == "validator" {
                books.adopt_latest(&context.run, &context.network, &context.folder, next).await?;
            }
            Ok::<_, NodeError>((next, state))
        };
        match restored.await {
            Ok((next, state)) => {
                context.journal.add(&JournalEntry::Restored { next });
                context.tell(Event::Restored { next, state }).await;
            }
            Err(error) => context.fail(window, FailedEffect::Restore, &error).await,
        }
    });
}

/// The newest agreed checkpoint; the parameters of the genesis while everything since is still kept.
async fn newest_state(context: &Context, window: Window) -> Result<(Window, OuterState), NodeError> {
    let (run, record) = (&context.run, &context.network.record);
    match checkpoint::restore(run, record, window, &context.folder.path().join(INCOMING)).await {
        Err(NodeError::NoCheckpoint { .. }) if run.phases.oldest_kept(window) == Window(0) => {
            Ok((Window(0), OuterState::new(run.first_parameters(context.first_parameters.as_deref())?)))
        }
        restored => restored,
    }
}

/// Feeds heads and the events of tasks to a role until `shutdown` says so.
pub(crate) async fn drive(
    mut heads: HeadStream,
    mut events: mpsc::Receiver<Event>,
    mut shutdown: watch::Receiver<bool>,
    context: &Arc<Context>,
    role: &mut impl Role,
) -> Result<(), NodeError> {
    let mut tasks = JoinSet::new();
    let mut status = tokio::time::interval(STATUS_EVERY);
    let mut reachable = true;
    loop {
        let event = tokio::select! {
            // The guard that this gives must not outlive it: nodes run as tasks, and tasks move between threads.
            () = async { drop(shutdown.wait_for(|stop| *stop).await) } => break,
            _ = status.tick() => {
                context.journal.set_status(&role.status(context));
                while tasks.try_join_next().is_some() {}
                continue;
            }
            event = events.recv() => match event {
                Some(event) => event,
                None => break,
            },
            head = heads.next() => match head {
                Ok(head) => {
                    if !std::mem::replace(&mut reachable, true) {
                        context.journal.warn("the ledger answers again");
                    }
                    Event::Block(head.number)
                }
                Err(error) => {
                    if std::mem::replace(&mut reachable, false) {
                        context.journal.warn(format!("waiting for the ledger: {error}"));
                    }
                    tokio::time::sleep(LEDGER_PAUSE).await;
                    continue;
                }
            },
        };
        for effect in role.step(&event) {
            role.carry_out(context, &mut tasks, effect);
        }
    }
    context.journal.set_status(&role.status(context));
    tasks.shutdown().await;
    Ok(())
}

/// A role's machine and what carries out its effects.
pub(crate) trait Role {
    /// Advances the machine.
    fn step(&mut self, event: &Event) -> Vec<Effect>;

    /// Starts what an effect asks for; the answer comes as an event.
    fn carry_out(&mut self, context: &Arc<Context>, tasks: &mut JoinSet<()>, effect: Effect);

    /// Where it stands.
    fn status(&self, context: &Context) -> NodeStatus;
}

/// The part of a status that both roles have.
pub(crate) fn base_status(context: &Context, follower: &Follower, activity: &str) -> NodeStatus {
    let standing = follower.standing();
    NodeStatus {
        role: context.role.to_owned(),
        uid: context.uid,
        head: follower.head(),
        next: standing.next,
        state: standing.state,
        activity: activity.to_owned(),
        loss: None,
        tokens: 0,
        training_seconds: 0.0,
        wall_seconds: 0.0,
        time_ms: now_ms(),
    }
}
