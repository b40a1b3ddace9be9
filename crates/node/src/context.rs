//! What the parts of a node share, and how a node is opened.

use crate::block_clock::BlockClock;
use crate::checkpoint;
use crate::heavy::HeavyThreads;
use crate::ratings_store::RatingsStore;
use crate::snapshot::{load_shared, save_shared};
use crate::window_work::{FollowWork, WindowWork};
use crate::{Data, DataFolder, Journal, JournalEntry, Network, NodeError, NodeMetrics};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use templar_base::{ContentHash, Uid, Window, WindowRules};
use templar_chain::HeadStream;
use templar_engine::EngineSource;
use templar_gradient::{Aggregate, OuterState};
use templar_record::{KnownComplaints, Rules, other_run};
use templar_round::{AggregateSource, Event, FailedEffect, Follower, Position, Role};
use templar_trainer::SharedState;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Events that wait for the machine; tasks that have one more wait for a place.
const EVENT_QUEUE: usize = 1024;
/// How long the start waits to hear which run the validators judge.
const OTHER_RUN_DEADLINE: Duration = Duration::from_secs(10);
/// Windows whose aggregates are kept: the one at hand, and the one before, which may still be on its way to a bucket.
const KEPT_AGGREGATES: usize = 2;

/// How a node runs.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Where the node keeps its state.
    pub data: PathBuf,
    /// Computing threads.
    pub threads: usize,
    /// What it trains or judges with.
    pub engine: EngineSource,
    /// The model folder that a run of [`templar_base::FirstParameters::Folder`] starts from.
    pub first_parameters: Option<PathBuf>,
    /// The folder of the corpus, where a validator reads the questions that the genesis names, if it names some.
    pub questions: PathBuf,
    /// Where every entry of the journal goes as well; entries that find it full are left out.
    pub listener: Option<mpsc::Sender<JournalEntry>>,
    /// Where the node's numbers go, if somebody wants them.
    pub metrics: Option<Arc<NodeMetrics>>,
}

/// What the parts of a node share.
pub(crate) struct Context {
    pub run: Rules,
    pub data: Data,
    pub network: Arc<Network>,
    pub uid: Uid,
    pub role: Role,
    pub folder: DataFolder,
    pub journal: Journal,
    /// The model folder that the run starts from, where its genesis asks for one.
    pub first_parameters: Option<PathBuf>,
    /// Where the events of tasks go.
    pub events: mpsc::Sender<Event>,
    /// What is in hand of the windows that are followed.
    pub work: WindowWork<FollowWork>,
    /// Threads for work that would hold up the async ones.
    pub heavy: HeavyThreads,
    /// How fast blocks come.
    pub blocks: BlockClock,
    /// The fetching of a checkpoint, of which there is one at a time.
    restoring: Mutex<Option<AbortHandle>>,
    /// What is agreed of the miners.
    pub ratings: Arc<RatingsStore>,
    /// What was reported of peers whose aggregates could not be fetched.
    pub complaints: KnownComplaints,
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
    run: Rules,
    data: Data,
    network: Network,
    options: &NodeOptions,
    role: Role,
) -> Result<Opened, NodeError> {
    let folder = DataFolder::open(&options.data, run.id, role)?;
    checkpoint::remove_drafts(&folder)?;
    let journal = Journal::new(&options.data).heard_by(options.listener.clone()).measured_by(options.metrics.clone());
    let network = match &options.metrics {
        Some(metrics) => network.observed_by(Arc::clone(metrics)),
        None => network,
    };
    let (chain, netuid) = (&network.record.chain, network.record.netuid);
    run.check_ledger(chain.hyperparameters(netuid).await?.genesis)?;
    let hotkey = network.hotkey.public();
    let metagraph = chain.metagraph(netuid, None).await?;
    let uid = metagraph.neuron(&hotkey).ok_or(NodeError::NotRegistered { hotkey, netuid: netuid.0 })?.uid;
    match (tokio::time::timeout(OTHER_RUN_DEADLINE, other_run(&run, &network.record)).await, role) {
        // A validator may be the first of a new run on an old subnet.
        (Ok(Ok(Some(other))), Role::Validator) => journal.warn(NodeError::OtherRun { own: run.id, other }.to_string()),
        (Ok(Ok(Some(other))), Role::Miner) => return Err(NodeError::OtherRun { own: run.id, other }),
        // Unheard of is not wrong.
        _ => {}
    }
    network.announce_bucket().await?;
    let heads = chain.subscribe_heads().await?;
    let heavy = HeavyThreads::new(options.threads);
    let first_parameters = options.first_parameters.clone();
    let load = move || -> Result<_, NodeError> {
        let shared = load_or_make_shared(&run, &folder, first_parameters.as_deref())?;
        let ratings = RatingsStore::load(&folder, run.genesis.electors)?;
        Ok((run, folder, shared, ratings))
    };
    let (run, folder, shared, ratings) = heavy.run(load).await?;
    for (window, standing) in ratings.standings() {
        network.record.note_standing(&run, window, standing);
    }
    let next = ratings.next();
    if let Some(ratings) = ratings.held_at_start_of(next) {
        network.record.note_ratings(&run, next, &ratings);
    }
    let (events, receiver) = mpsc::channel(EVENT_QUEUE);
    let context = Context {
        run,
        data,
        network: Arc::new(network),
        uid,
        role,
        folder,
        journal,
        first_parameters: options.first_parameters.clone(),
        events,
        work: WindowWork::keeping(KEPT_AGGREGATES),
        heavy,
        blocks: BlockClock::default(),
        restoring: Mutex::default(),
        ratings: Arc::new(ratings),
        complaints: KnownComplaints::default(),
    };
    context.journal.add(&JournalEntry::Started { role, uid, next: shared.next, state: shared.state });
    Ok(Opened { context: Arc::new(context), shared, events: receiver, heads })
}

/// What the folder holds, or the run's first parameters, which are saved.
fn load_or_make_shared(
    run: &Rules,
    folder: &DataFolder,
    first_parameters: Option<&Path>,
) -> Result<SharedState, NodeError> {
    if let Some(shared) = load_shared(folder, run.layout.parameters())? {
        return Ok(shared);
    }
    let shared = SharedState::new(Window(0), OuterState::new(run.first_parameters(first_parameters)?));
    save_shared(&shared.view(), folder)?;
    Ok(shared)
}

impl Context {
    /// A follower that holds these parameters.
    pub(crate) fn follower(&self, shared: &SharedState, source: AggregateSource) -> Follower {
        let position = Position { next: shared.next, state: shared.state };
        Follower::new(self.run.phases.clone(), source, position)
    }

    /// Sends an event to the machine; waits while the queue is full.
    pub(crate) async fn send(&self, event: Event) {
        // Without a receiver the node is stopping.
        let _ = self.events.send(event).await;
    }

    /// Reports a failure to the operator and to the machine.
    pub(crate) async fn fail(&self, window: Window, effect: FailedEffect, error: &NodeError) {
        self.journal.warn(format!("window {window}: {error}"));
        self.send(Event::Failed { window, effect }).await;
    }

    /// The aggregate of a window, if this node has it.
    pub(crate) fn aggregate_of(&self, window: Window) -> Option<(ContentHash, Arc<Aggregate>)> {
        self.work.read(window, |work| work.aggregate.clone())
    }

    /// Ends the checkpoint's download that is under way, and notes the one that takes its place: two would write into
    /// the same file.
    pub(crate) fn replace_restoring(&self, newer: AbortHandle) {
        let older = self.restoring.lock().unwrap_or_else(PoisonError::into_inner).replace(newer);
        if let Some(older) = older {
            older.abort();
        }
    }

    /// The rules of a window that has begun: those of the genesis, with what the token's holders decided before it.
    pub(crate) async fn rules(&self, window: Window) -> Result<Arc<WindowRules>, NodeError> {
        Ok(Arc::new(self.network.record.rules_in(&self.run, window).await?))
    }

    /// The rules of a window, if enough of the ledger was read.
    pub(crate) fn known_rules(&self, window: Window) -> Option<Arc<WindowRules>> {
        let known = self.network.record.known_setting_changes(self.run.phases.start(window))?;
        Some(Arc::new(self.run.genesis.rules_in(window, &known.changes)))
    }
}
