//! Replacing the parameters of a node that is out of step, or finding out that what it holds is right after all.

use crate::context::Context;
use crate::worker::{Command, Worker};
use crate::{JournalEntry, NodeError, settling};
use std::sync::Arc;
use templar_base::{StateHash, Window};
use templar_gauntlet::Ratings;
use templar_gradient::OuterState;
use templar_record::{RecordError, RunState, fetch_latest_state};
use templar_round::{Event, FailedEffect, Position, may_resume};

/// The file of the data folder that a checkpoint is downloaded into.
const INCOMING: &str = "incoming.safetensors";

/// Takes the newest agreed checkpoint; the parameters of the genesis while everything since is still kept; what this node
/// holds where all were away for so long that nobody offers a checkpoint, and the ledger tells that it was agreed last.
pub(crate) async fn restore<R: Send + 'static>(context: Arc<Context>, worker: Worker<R>, window: Window) {
    let run = &context.run;
    let restored = async {
        let scratch = context.folder.path().join(INCOMING);
        match fetch_latest_state(run, &context.network.record, window, &scratch).await {
            Err(RecordError::NoCheckpoint { .. }) if run.phases.oldest_kept(window) == Window(0) => {
                let own = Arc::clone(&context);
                let first = context.heavy.run(move || own.run.first_parameters(own.first_parameters.as_deref())).await;
                let outer = OuterState::new(first?);
                install(&context, &worker, RunState { window: Window::ZERO, outer, ratings: Ratings::default() }).await
            }
            Err(missing @ RecordError::NoCheckpoint { .. }) => resume(&context, &worker, window, missing).await,
            fetched => install(&context, &worker, fetched?).await,
        }
    };
    match restored.await {
        Ok(Position { next, state }) => {
            context.journal.add(&JournalEntry::Restored { next });
            context.send(Event::Restored { next, state }).await;
        }
        Err(error) => context.fail(window, FailedEffect::Restore, &error).await,
    }
}

async fn install<R: Send + 'static>(
    context: &Arc<Context>,
    worker: &Worker<R>,
    RunState { window: next, outer, ratings }: RunState,
) -> Result<Position, NodeError> {
    settling::install(context, next, ratings).await?;
    let state: StateHash = worker.ask(move |reply| Command::Install { next, outer, reply }).await?;
    Ok(Position { next, state })
}

/// Goes on from what this node holds, where nothing newer was ever agreed.
async fn resume<R: Send + 'static>(
    context: &Arc<Context>,
    worker: &Worker<R>,
    window: Window,
    missing: RecordError,
) -> Result<Position, NodeError> {
    let held: Position = worker.ask(|reply| Command::Held { reply }).await?;
    // What is still within reach needs no such proof: it is replaced because most of the stake has other parameters.
    if held.next >= context.run.phases.oldest_kept(window) {
        return Err(missing.into());
    }
    let last = context.network.record.last_agreed(&context.run, window).await?;
    let ratings = context.ratings.root_at_start_of(held.next).await?;
    if may_resume(held, ratings, last) {
        context.journal.warn(format!(
            "all nodes were away for longer than objects are kept; this node goes on from its own state at the start of \
             window {}, and the windows since that nobody agreed on count as null",
            held.next
        ));
        return Ok(held);
    }
    // Only an agreed window can be what it lacks.
    let agreed = last.map_or(window, |(window, _)| window);
    Err(NodeError::MissedAgreement { next: held.next, agreed })
}
