//! Follows the ledger and replaces the snapshot. A finished window is read once, whoever looks how often; what moves is
//! read at most every few seconds, and only while somebody looks.

use crate::slots::slots;
use crate::state::{
    EvidenceItem, EvidenceView, GovernanceView, HeadView, MarketView, ProposalFacts, SettingFacts, Snapshot,
};
use crate::{Options, Source};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use templar_base::{BlockNumber, Uid, Window};
use templar_chain::market::Interval;
use templar_chain::{ChainError, MAX_ENTRIES};
use templar_record::RecordError;
use templar_record::{finished_at, is_gone, read_window};
use templar_round::ObjectKey;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

/// Without a reader for this long, only finished windows are read.
const ATTENTION: Duration = Duration::from_secs(60);
/// A reader that comes after a pause waits this long for a new snapshot, and gets the old one then.
const FRESH_WAIT: Duration = Duration::from_secs(2);
/// Pauses between two readings of the market and the votes, and of the auditors' buckets.
const SLOW_EVERY: Duration = Duration::from_secs(10);
const EVIDENCE_EVERY: Duration = Duration::from_secs(60);
/// One window, one look at the head, one look at the buckets of the auditors.
const WINDOW_DEADLINE: Duration = Duration::from_secs(40);
const LEDGER_DEADLINE: Duration = Duration::from_secs(10);
const BUCKET_DEADLINE: Duration = Duration::from_secs(3);
/// Old windows that are read between two looks at the head.
const OLD_AT_ONCE: usize = 4;
/// A window that cannot be read, or whose verdict cannot, is given up after this number of times; the pause grows by this.
const MOST_TRIES: u32 = 5;
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// Proposals whose votes are read, candles, and windows whose evidence is looked for.
const PROPOSALS: u32 = 32;
const CANDLES: u32 = 240;
const EVIDENCE_WINDOWS: u64 = 8;

/// What readers and the follower share.
#[derive(Debug)]
pub(crate) struct Shared {
    snapshot: watch::Sender<Arc<Snapshot>>,
    begun: Instant,
    /// When somebody looked last, in milliseconds since `begun`.
    looked_ms: AtomicU64,
    wanted: Notify,
}

impl Shared {
    pub(crate) fn new() -> Self {
        let (snapshot, _) = watch::channel(Arc::new(Snapshot::first()));
        Self { snapshot, begun: Instant::now(), looked_ms: AtomicU64::new(0), wanted: Notify::new() }
    }

    /// Follows the snapshots.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.subscribe()
    }

    /// The snapshot at hand.
    pub(crate) fn now(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// A snapshot for a reader: the one at hand, or after a pause without readers a new one.
    pub(crate) async fn fresh(&self) -> Arc<Snapshot> {
        let was_watched = self.is_watched();
        self.look();
        if was_watched && self.now().head.is_some() {
            return self.now();
        }
        let mut snapshots = self.subscribe();
        let old = snapshots.borrow_and_update().generation;
        self.wanted.notify_one();
        // The old one is still true of its block.
        let is_new = |snapshot: &Arc<Snapshot>| {
            snapshot.generation > old && (snapshot.problem.is_some() || !snapshot.slots.is_empty())
        };
        let _ = timeout(FRESH_WAIT, snapshots.wait_for(is_new)).await;
        self.now()
    }

    /// Somebody looks.
    pub(crate) fn look(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.looked_ms.store(now.max(1), Ordering::Relaxed);
    }

    fn is_watched(&self) -> bool {
        let looked = self.looked_ms.load(Ordering::Relaxed);
        looked > 0 && self.begun.elapsed().saturating_sub(Duration::from_millis(looked)) < ATTENTION
    }
}

/// Reads what is new, from round to round.
pub(crate) struct Follower {
    source: Source,
    shared: Arc<Shared>,
    options: Options,
    next: Snapshot,
    /// Windows that could not be read so far or lack their verdict, how often that was tried, and when to try again.
    tries: BTreeMap<Window, (u32, Instant)>,
    given_up: BTreeSet<Window>,
    /// The ledger keeps nothing of windows before this one.
    oldest: Window,
    /// Whether somebody looked in the round before.
    was_watched: bool,
    /// Whether the snapshot at hand differs from what readers have.
    has_news: bool,
    slow_at: Option<Instant>,
    evidence_at: Option<Instant>,
}

impl Follower {
    pub(crate) fn new(source: Source, shared: Arc<Shared>, options: Options) -> Self {
        Self {
            source,
            shared,
            options,
            next: Snapshot::first(),
            tries: BTreeMap::new(),
            given_up: BTreeSet::new(),
            oldest: Window::ZERO,
            was_watched: false,
            has_news: false,
            slow_at: None,
            evidence_at: None,
        }
    }

    /// Follows until it is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            let begun = Instant::now();
            let round = self.round().await;
            let problem = round.as_ref().err().map(ToString::to_string);
            self.has_news |= problem != self.next.problem;
            self.next.problem = problem;
            let has_more = round.unwrap_or(false);
            self.publish();
            // Old windows are fetched without a pause, but for one that lets others have the ledger.
            let pause = if has_more { self.options.pause / 4 } else { self.pause() };
            tokio::select! {
                () = tokio::time::sleep_until(begun + pause) => {}
                () = self.shared.wanted.notified() => {}
            }
        }
    }

    /// As long as a block, within bounds.
    fn pause(&self) -> Duration {
        let block = self.next.block_time_ms.map_or(self.options.pause, Duration::from_millis);
        block.clamp(self.options.pause, self.options.pause.max(Duration::from_secs(6)))
    }

    fn publish(&mut self) {
        if !std::mem::take(&mut self.has_news) {
            return;
        }
        self.next.generation += 1;
        self.shared.snapshot.send_replace(Arc::new(self.next.clone()));
    }

    /// Reads what is new; whether there are more old windows to read.
    async fn round(&mut self) -> Result<bool, RecordError> {
        let chain = Arc::clone(&self.source.chain);
        let head = in_time(LEDGER_DEADLINE, async { chain.head().await.map_err(RecordError::from) }).await?;
        if self.next.block_time_ms.is_none() {
            let netuid = self.source.record.netuid;
            let rules =
                in_time(LEDGER_DEADLINE, async { chain.hyperparameters(netuid).await.map_err(RecordError::from) })
                    .await?;
            self.next.block_time_ms = Some(rules.block_time_ms);
        }
        let window = self.source.run.phases.window_of(head.number);
        let is_new = self.next.head.is_none_or(|known| known.block != head.number);
        self.next.head = Some(HeadView { block: head.number, time_ms: head.time_ms, window });
        let read = match window {
            Some(window) => self.read_finished(window, head.number).await?,
            None => 0,
        };
        let is_watched = self.shared.is_watched();
        self.has_news |= is_new || read > 0;
        if is_watched && (is_new || read > 0 || !self.was_watched) {
            if let Some(window) = window {
                self.read_open(window, head.number).await;
            }
            self.read_slots().await?;
            self.has_news = true;
        }
        if is_watched {
            self.read_slow(window).await;
        }
        self.was_watched = is_watched;
        Ok(self.next.unread > 0)
    }

    /// Reads finished windows that are not known yet, the newest first; returns how many.
    async fn read_finished(&mut self, current: Window, head: BlockNumber) -> Result<usize, RecordError> {
        let oldest = self.oldest.max(current.minus(self.options.windows as u64));
        let phases = self.source.run.phases.clone();
        let is_missing = |window: &Window| {
            let is_due = self.tries.get(window).map(|(_, again)| *again <= Instant::now());
            let is_wanted = is_due.unwrap_or_else(|| !self.next.finished.contains_key(window));
            finished_at(&phases, *window) <= head && is_wanted && !self.given_up.contains(window)
        };
        let missing: Vec<Window> = oldest.until(current).rev().filter(is_missing).collect();
        let mut read = 0;
        for window in missing.iter().copied().take(OLD_AT_ONCE) {
            let reading = read_window((&self.source.run, &self.source.record), window, head);
            match in_time(WINDOW_DEADLINE, reading).await {
                Ok(view) => {
                    let is_whole = view.verdict.as_ref().is_none_or(|verdict| verdict.missing.is_none());
                    self.next.finished.insert(window, Arc::new(view));
                    if is_whole {
                        self.tries.remove(&window);
                    } else {
                        self.try_again(window);
                    }
                    read += 1;
                }
                Err(error) if is_gone(&error) => {
                    self.oldest = window.next();
                    break;
                }
                Err(error) => {
                    tracing::debug!(%window, %error, "a window could not be read");
                    self.try_again(window);
                }
            }
        }
        while self.next.finished.len() > self.options.windows {
            self.next.finished.pop_first();
        }
        let oldest = self.oldest;
        self.given_up.retain(|window| *window >= oldest);
        self.tries.retain(|window, _| *window >= oldest);
        self.next.unread = missing.iter().filter(|window| **window >= oldest).count().saturating_sub(OLD_AT_ONCE);
        self.next.unreadable = self.given_up.iter().filter(|window| !self.next.finished.contains_key(window)).count();
        Ok(read)
    }

    /// Later and later, and in the end not any more.
    fn try_again(&mut self, window: Window) {
        let (tries, again) = self.tries.entry(window).or_insert((0, Instant::now()));
        *tries += 1;
        *again = Instant::now() + TRY_AGAIN * *tries;
        if *tries >= MOST_TRIES {
            self.tries.remove(&window);
            self.given_up.insert(window);
        }
    }

    /// Reads the windows that are not finished: the one at hand and those before it.
    async fn read_open(&mut self, current: Window, head: BlockNumber) {
        let phases = &self.source.run.phases;
        let mut open = Vec::new();
        for window in current.minus(1).until(current.next()) {
            if finished_at(phases, window) > head {
                match in_time(WINDOW_DEADLINE, read_window((&self.source.run, &self.source.record), window, head)).await
                {
                    Ok(view) => open.push(Arc::new(view)),
                    // The next block is another try.
                    Err(error) => tracing::debug!(%window, %error, "an open window could not be read"),
                }
            }
        }
        self.next.open = open;
    }

    async fn read_slots(&mut self) -> Result<(), RecordError> {
        let (chain, netuid) = (&self.source.chain, self.source.record.netuid);
        let metagraph =
            in_time(LEDGER_DEADLINE, async { chain.metagraph(netuid, None).await.map_err(RecordError::from) }).await?;
        let windows: Vec<_> = self.next.finished.values().chain(&self.next.open).cloned().collect();
        self.next.slots = Arc::new(slots(&metagraph, &windows));
        Ok(())
    }

    /// Market, votes and evidence: a chain may not have them, and then they are shown as unknown.
    async fn read_slow(&mut self, current: Option<Window>) {
        let is_due = |at: Option<Instant>, every: Duration| at.is_none_or(|at| at.elapsed() >= every);
        if is_due(self.slow_at, SLOW_EVERY) {
            self.slow_at = Some(Instant::now());
            self.has_news = true;
            self.next.market = in_time(LEDGER_DEADLINE, read_market(&self.source)).await.ok().map(Arc::new);
            self.next.governance = in_time(LEDGER_DEADLINE, read_governance(&self.source)).await.ok().map(Arc::new);
        }
        let is_on = self.source.run.genesis.audit.rate_per_mille > 0;
        if is_on && is_due(self.evidence_at, EVIDENCE_EVERY) {
            self.evidence_at = Some(Instant::now());
            self.has_news = true;
            if let Some(current) = current {
                self.next.evidence = Arc::new(read_evidence(&self.source, &self.next, current).await);
            }
        }
    }
}

/// A reading with a deadline.
async fn in_time<T>(
    deadline: Duration,
    reading: impl Future<Output = Result<T, RecordError>>,
) -> Result<T, RecordError> {
    let milliseconds = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    let late = RecordError::Chain(ChainError::Deadline { milliseconds, what: "the record".to_owned() });
    timeout(deadline, reading).await.unwrap_or(Err(late))
}

async fn read_market(source: &Source) -> Result<MarketView, RecordError> {
    let (chain, netuid) = (&source.chain, source.record.netuid);
    Ok(MarketView {
        summary: chain.market(netuid).await?,
        candles: chain.candles(netuid, Interval::Minute, CANDLES).await?,
        epochs: chain.epochs(netuid, MAX_ENTRIES).await?,
    })
}

async fn read_governance(source: &Source) -> Result<GovernanceView, RecordError> {
    let (chain, netuid) = (&source.chain, source.record.netuid);
    let mut proposals = Vec::new();
    for proposal in chain.proposals(netuid, PROPOSALS).await? {
        // One page of votes, so that no number of them can fill this process.
        if let Some(view) = chain.proposal(netuid, proposal.id, None).await? {
            let action_text = view.proposal.action.to_string();
            proposals.push(ProposalFacts { view, action_text });
        }
    }
    let changes = chain.setting_changes(netuid).await?.changes;
    let setting = |change: templar_base::SettingChange| SettingFacts { change, text: change.setting.to_string() };
    Ok(GovernanceView { proposals, settings: changes.into_iter().map(setting).collect() })
}

/// Looks through the buckets of the newest electors for what auditors publish.
async fn read_evidence(source: &Source, known: &Snapshot, current: Window) -> EvidenceView {
    let electors = known.finished.values().next_back().map(|view| view.electors.clone()).unwrap_or_default();
    let from = current.minus(EVIDENCE_WINDOWS);
    let mut view = EvidenceView { is_on: true, from: Some(from), ..EvidenceView::default() };
    for elector in electors.iter().take(64) {
        let asked = async {
            let bucket = source.record.reader(elector.hotkey).await?;
            let mut items = Vec::new();
            for window in from.until(current) {
                let prefix = format!("{}evidence", ObjectKey::window_prefix(window));
                for object in bucket.list(&prefix, None, MAX_ENTRIES as usize).await?.objects {
                    let uid = object.key.rsplit('/').next().and_then(|uid| uid.parse::<Uid>().ok());
                    let Some(uid) = uid.filter(|uid| object.key == ObjectKey::Evidence(window, *uid).to_string())
                    else {
                        continue;
                    };
                    let (auditor, key, bytes) = (elector.hotkey, object.key, object.size);
                    items.push(EvidenceItem { window, uid, auditor, key, bytes });
                }
            }
            Ok::<_, RecordError>(items)
        };
        match in_time(BUCKET_DEADLINE, asked).await {
            Ok(items) => view.items.extend(items),
            Err(_) => view.silent += 1,
        }
    }
    view.items.sort_by(|a, b| b.window.cmp(&a.window).then(a.uid.cmp(&b.uid)).then(a.auditor.cmp(&b.auditor)));
    view
}
