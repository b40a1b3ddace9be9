//! Carrying out what every role does to follow a run: votes, reports, aggregates, outer steps, checkpoints.

use crate::context::Context;
use crate::driver::Actor;
use crate::gather::Gathered;
use crate::holders::in_own_order;
use crate::worker::{Command, Worker};
use crate::{JournalEntry, NodeError, aggregate, checkpoint, restoring, settling};
use std::sync::Arc;
use std::time::Duration;
use templar_base::{AgreedFindings, ContentHash, PublicKey, Window};
use templar_gradient::{Aggregate, OuterStep};
use templar_record::fetch_aggregate;
use templar_round::{Event, FailedEffect, FollowEffect, ObjectKey, Selection};
use tokio::task::JoinSet;

/// Pause before what the disk rejected is retried.
const DISK_PAUSE: Duration = Duration::from_secs(2);

/// What is agreed of a window, and the verdict that explains it.
pub(crate) struct Settled {
    pub window: Window,
    pub agreed: AgreedFindings,
    /// Its hash, and who holds it.
    pub verdict: Option<(ContentHash, Vec<PublicKey>)>,
}

/// What following a run needs of the role that follows it.
pub(crate) trait Follow: Actor {
    /// Takes note of what is agreed.
    fn note(&mut self, context: &Arc<Context>, tasks: &mut JoinSet<()>, settled: Settled);

    /// The payloads of a window that this node has gathered.
    fn gathered(&self, window: Window) -> Option<Arc<Gathered>>;
}

/// Starts what an effect asks for.
pub(crate) fn carry_out(
    actor: &mut impl Follow,
    context: &Arc<Context>,
    tasks: &mut JoinSet<()>,
    effect: FollowEffect,
) {
    let own = Arc::clone(context);
    match effect {
        FollowEffect::ReadVotes { window } => drop(tasks.spawn(own.read_votes(window))),
        FollowEffect::ReadReports { window } => drop(tasks.spawn(own.read_reports(window))),
        FollowEffect::Settle { window, agreed, verdict } => {
            // Announced before its task starts, so that what comes later waits for it.
            let settling = context.ratings.begin();
            tasks.spawn(settling::settle(own, settling, window, agreed.clone()));
            actor.note(context, tasks, Settled { window, agreed, verdict });
        }
        FollowEffect::BuildAggregate { window, selection } => {
            drop(tasks.spawn(own.build_aggregate(window, selection, actor.gathered(window))));
        }
        FollowEffect::FetchAggregate { window, hash, selection, from } => {
            drop(tasks.spawn(own.fetch_aggregate(window, hash, selection, from)));
        }
        FollowEffect::Apply { window, aggregate } => apply(own, actor.worker(), tasks, window, aggregate),
        FollowEffect::Restore { window } => {
            let restoring = restoring::restore(own, actor.worker().clone(), window);
            context.replace_restoring(tasks.spawn(restoring));
        }
        FollowEffect::Diverged { window, own, agreed } => {
            let (own, agreed) = (own.state, agreed.state);
            context.journal.add(&JournalEntry::Diverged { window, own, agreed });
        }
    }
}

impl Context {
    async fn read_votes(self: Arc<Self>, window: Window) {
        let read = async {
            let limit = self.rules(window).await?.genesis.judging.selected;
            settling::learn_electors(&self, window).await?;
            let electors = self.network.record.electors_or_nobody(&self.run, window).await?;
            let (at, votes) = self.network.record.votes(&self.run, window, &electors).await?;
            Ok::<_, NodeError>(Event::Votes { window, at, limit, electors, votes })
        };
        match read.await {
            Ok(event) => self.send(event).await,
            Err(error) => self.fail(window, FailedEffect::ReadVotes, &error).await,
        }
    }

    async fn read_reports(self: Arc<Self>, window: Window) {
        let read = async {
            settling::wait_for_electors(&self, window).await?;
            let electors = self.network.record.electors_or_nobody(&self.run, window).await?;
            let reports = self.network.record.reports(window).await?;
            Ok::<_, NodeError>(Event::Reports { window, electors, reports })
        };
        match read.await {
            Ok(event) => self.send(event).await,
            Err(error) => self.fail(window, FailedEffect::ReadReports, &error).await,
        }
    }

    async fn build_aggregate(self: Arc<Self>, window: Window, selection: Selection, gathered: Option<Arc<Gathered>>) {
        let built = aggregate::build(&self, window, selection, gathered).await;
        self.take_aggregate(window, built).await;
    }

    async fn fetch_aggregate(
        self: Arc<Self>,
        window: Window,
        hash: ContentHash,
        selection: Selection,
        from: Vec<PublicKey>,
    ) {
        let fetch = async {
            let from = in_own_order(from, self.network.hotkey.public(), window);
            let fetched = fetch_aggregate(&self.run, &self.network.record, window, hash, &selection, &from).await?;
            for complaint in fetched.complaints.iter().filter(|complaint| self.complaints.is_news(complaint)) {
                self.journal.warn(format!("window {window}: {complaint}"));
            }
            Ok((hash, fetched.content))
        };
        let fetched = fetch.await;
        self.take_aggregate(window, fetched).await;
    }

    async fn take_aggregate(&self, window: Window, aggregate: Result<(ContentHash, Aggregate), NodeError>) {
        match aggregate {
            Ok((hash, aggregate)) => {
                self.work.change(window, |work| work.aggregate = Some((hash, Arc::new(aggregate))));
                self.send(Event::AggregateReady { window, hash }).await;
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
    async fn delete_old(self: Arc<Self>, current: Window) {
        let oldest = self.run.phases.oldest_kept(current);
        let bucket = &self.network.bucket;
        let windows = checkpoint::delete_sorted_before(bucket, "window", &ObjectKey::window_prefix(oldest)).await;
        let checkpoints = checkpoint::delete_before(bucket, oldest).await;
        if let Err(error) = windows.and(checkpoints) {
            self.journal.warn(format!("old objects stay for now: {error}"));
        }
    }
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
    // The votes that led here were read together with the window's rules, and the aggregate was ready: a request that is
    // made again may come after both were dropped.
    let rules = context.known_rules(window).filter(|_| hash.is_some() == aggregate.is_some());
    let worker = worker.clone();
    tasks.spawn(async move {
        let applied = async {
            let step = OuterStep::of(&rules.ok_or(NodeError::NothingToApply { window })?.genesis.outer, window);
            // First the ratings, on disk: a node that starts again from the parameters has those that go with them.
            let record = context.ratings.root_at_start_of(window.next()).await?;
            let state = worker.ask(move |reply| Command::Apply { window, aggregate, step, reply }).await?;
            Ok::<_, NodeError>((state, record))
        };
        match applied.await {
            Ok((state, record)) => {
                context.journal.add(&JournalEntry::Applied { window, selected, state });
                context.send(Event::Applied { window, state, record }).await;
                context.delete_old(window.next()).await;
            }
            // The disk is full or refuses: nothing was changed, and an operator must act before the node can resume.
            Err(error) => {
                context.journal.warn(format!("window {window} cannot be applied: {error}"));
                tokio::time::sleep(DISK_PAUSE).await;
                context.send(Event::Failed { window, effect: FailedEffect::Apply }).await;
            }
        }
    });
}
