//! The loop that both roles share: heads and answers go to the machine, its effects are carried out.

use crate::context::Context;
use crate::journal::now_ms;
use crate::{NodeError, NodeStatus};
use std::sync::Arc;
use std::time::Duration;
use templar_chain::HeadStream;
use templar_round::{Effect, Event, Follower};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Pause between two tries to reach the ledger.
const LEDGER_PAUSE: Duration = Duration::from_millis(500);
/// How often the status file is written.
const STATUS_EVERY: Duration = Duration::from_millis(500);

/// Feeds heads and the events of tasks to a role until `shutdown` says so.
pub(crate) async fn drive(
    mut heads: HeadStream,
    mut events: mpsc::Receiver<Event>,
    mut shutdown: watch::Receiver<bool>,
    context: &Arc<Context>,
    role: &mut impl Actor,
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

/// A role's machine, and what carries out its effects.
pub(crate) trait Actor {
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
        role: context.role,
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
