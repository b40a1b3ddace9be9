//! Carrying out what every role does to follow a run: votes, reports, aggregates, outer steps, checkpoints.

use crate::context::Context;
use crate::worker::{Command, Worker};
use crate::{JournalEntry, NodeError, aggregate, checkpoint};
use std::sync::Arc;
use std::time::Duration;
use templar_base::{ContentHash, PublicKey, StateHash, Uid, Window};
use templar_gradient::{Aggregate, OuterState, OuterStep};
use templar_record::{RecordError, fetch_aggregate, fetch_latest_state};
use templar_round::{Effect, Event, FailedEffect, ObjectKey, Role};
use tokio::task::JoinSet;

/// Pause before what the disk rejected is retried.
const DISK_PAUSE: Duration = Duration::from_secs(2);

/// The file of the data folder that a checkpoint is downloaded into.
const INCOMING: &str = "incoming.safetensors";

impl Context {
    async fn read_votes(self: Arc<Self>, window: Window) {
        let read = async {
            let limit = self.rules(window).await?.genesis.judging.selected;
            let electors = self.network.record.electors(&self.run.phases, window).await?;
            let (at, votes) = self.network.record.votes(window).await?;
            Ok::<_, NodeError>(Event::Votes { window, at, limit, electors, votes })
        };
        match read.await {
            Ok(event) => self.tell(event).await,
            Err(error) => self.fail(window, FailedEffect::ReadVotes, &error).await,
        }
    }

    async fn read_reports(self: Arc<Self>, window: Window) {
        let read = async {
            let electors = self.network.record.electors(&self.run.phases, window).await?;
            let reports = self.network.record.reports(window).await?;
            Ok::<_, NodeError>(Event::Reports { window, electors, reports })
        };
        match read.await {
            Ok(event) => self.tell(event).await,
            Err(error) => self.fail(window, FailedEffect::ReadReports, &error).await,
        }
    }

    async fn build_aggregate(self: Arc<Self>, window: Window, selected: Vec<Uid>) {
        let gathered = self.gatherer.of(window);
        let built = aggregate::build(&self, window, &selected, gathered).await;
        self.take_aggregate(window, built).await;
    }

    async fn fetch_aggregate(self: Arc<Self>, window: Window, hash: ContentHash, from: Vec<PublicKey>) {
        let fetch = async {
            let selected = self.rules(window).await?.genesis.judging.selected;
            let fetched = fetch_aggregate(&self.run, &self.network.record, window, hash, &from, selected).await?;
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
                if let Err(error) = self.network.record.refresh_readers().await {
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
            if context.role == Role::Validator {
                books.adopt_latest(&context.run, &context.network.record, &context.folder, next).await?;
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
    match fetch_latest_state(run, record, window, &context.folder.path().join(INCOMING)).await {
        Err(RecordError::NoCheckpoint { .. }) if run.phases.oldest_kept(window) == Window(0) => {
            Ok((Window(0), OuterState::new(run.first_parameters(context.first_parameters.as_deref())?)))
        }
        restored => Ok(restored?),
    }
}
