//! The loop that both roles share: heads and answers go to the machine, its effects are carried out.

use crate::context::Context;
use crate::journal::now_ms;
use crate::metrics::Queues;
use crate::worker::Worker;
use crate::{JournalEntry, NodeError, NodeStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};
use templar_chain::HeadStream;
use templar_round::{Event, Follower};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};

/// Pause between two tries to reach the ledger.
const LEDGER_PAUSE: Duration = Duration::from_millis(500);
/// How often the status file is written.
const STATUS_EVERY: Duration = Duration::from_millis(500);

/// A role's machine, and what carries out its effects.
pub(crate) trait Actor {
    /// What the machine wants done.
    type Effect;
    /// What only this role's computing thread does.
    type Command: Send + 'static;

    /// Advances the machine.
    fn step(&mut self, event: &Event) -> Vec<Self::Effect>;

    /// Starts what an effect asks for; the answer comes as an event.
    fn carry_out(&mut self, context: &Arc<Context>, tasks: &mut JoinSet<()>, effect: Self::Effect);

    /// The thread that owns the parameters.
    fn worker(&self) -> &Worker<Self::Command>;

    /// The state of the node, for the status file.
    fn status(&self, context: &Context) -> NodeStatus;
}

/// Feeds heads and the events of tasks to a role until `shutdown` says so. A task or thread that panics ends the node:
/// what is on disk is whole, and a restart resumes from it.
pub(crate) async fn drive(
    mut heads: HeadStream,
    mut events: mpsc::Receiver<Event>,
    mut shutdown: watch::Receiver<bool>,
    context: &Arc<Context>,
    mut tasks: JoinSet<()>,
    actor: &mut impl Actor,
) -> Result<(), NodeError> {
    let mut status = tokio::time::interval(STATUS_EVERY);
    let mut reachable = true;
    let worker = actor.worker().clone();
    loop {
        let event = tokio::select! {
            // The guard that this gives must not outlive it: nodes run as tasks, and tasks move between threads.
            () = async { drop(shutdown.wait_for(|stop| *stop).await) } => break,
            error = worker.ended() => return Err(error),
            Some(joined) = tasks.join_next() => {
                check_task(joined)?;
                continue;
            }
            _ = status.tick() => {
                let status = actor.status(context);
                if let Some(metrics) = context.journal.metrics() {
                    let queues = Queues { events: events.len(), tasks: tasks.len(), heavy: context.heavy.taken() };
                    metrics.set_status(&status, queues, context.ratings.rating_of(context.uid));
                }
                context.journal.set_status(&status);
                continue;
            }
            event = events.recv() => match event {
                Some(event) => event,
                None => break,
            },
            head = heads.next() => match head {
                Ok(head) => {
                    if !std::mem::replace(&mut reachable, true) {
                        // Each outage is told, however soon it follows on the last one.
                        context.journal.add(&warning("the ledger answers again".to_owned()));
                    }
                    context.blocks.saw(head.number, Instant::now());
                    Event::Block(head.number)
                }
                Err(error) => {
                    if std::mem::replace(&mut reachable, false) {
                        context.journal.add(&warning(format!("waiting for the ledger: {error}")));
                    }
                    tokio::time::sleep(LEDGER_PAUSE).await;
                    continue;
                }
            },
        };
        for effect in actor.step(&event) {
            actor.carry_out(context, &mut tasks, effect);
        }
    }
    context.journal.set_status(&actor.status(context));
    tasks.shutdown().await;
    Ok(())
}

fn warning(message: String) -> JournalEntry {
    JournalEntry::Warning { message }
}

/// A task that was cancelled was replaced by a newer one; one that panicked ends the node.
fn check_task(joined: Result<(), JoinError>) -> Result<(), NodeError> {
    match joined {
        Err(error) if error.is_panic() => Err(NodeError::panicked("a task", error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The part of a status that both roles have.
pub(crate) fn base_status(context: &Context, follower: &Follower, activity: &str) -> NodeStatus {
    let position = follower.position();
    NodeStatus {
        role: context.role,
        uid: context.uid,
        head: follower.head(),
        next: position.next,
        state: position.state,
        activity: activity.to_owned(),
        loss: None,
        tokens: 0,
        training_seconds: 0.0,
        wall_seconds: 0.0,
        time_ms: now_ms(),
    }
}
