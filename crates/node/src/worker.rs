//! The computing thread of a node: it owns the parameters, and takes commands through a bounded queue.

use crate::NodeError;
use crate::error::panic_text;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use templar_base::{StateHash, Window};
use templar_engine::Engine;
use templar_gradient::{Aggregate, OuterState, OuterStep};
use templar_round::Position;
use tokio::sync::{oneshot, watch};

/// A node sends few commands a window; more than this waiting means that the thread hangs.
const QUEUE: usize = 64;

/// Where the answer to a command goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, NodeError>>;

/// What every role's computing thread does.
pub(crate) enum Command<R> {
    /// Do the outer step of a window (none in a null window), keep the result on disk, give the state hash.
    Apply { window: Window, aggregate: Option<Arc<Aggregate>>, step: OuterStep, reply: Reply<StateHash> },
    /// Take over a checkpoint.
    Install { next: Window, outer: OuterState, reply: Reply<StateHash> },
    /// What is held now.
    Held { reply: Reply<Position> },
    /// What only this role does.
    Role(R),
}

/// Why a computing thread cannot go on: the processes of its engine are gone.
pub(crate) struct EngineGone(pub String);

impl EngineGone {
    /// An error if this engine is lost.
    pub(crate) fn check(engine: &dyn Engine) -> Result<(), Self> {
        match engine.lost() {
            Some(reason) => Err(Self(reason.to_owned())),
            None => Ok(()),
        }
    }
}

/// The handle of a computing thread. The thread ends when the last handle is dropped.
pub(crate) struct Worker<R> {
    name: &'static str,
    commands: SyncSender<Command<R>>,
    ended: watch::Receiver<Option<End>>,
}

/// How a computing thread ended.
#[derive(Debug, Clone)]
enum End {
    Panicked(String),
    /// Its engine is gone.
    Lost(String),
}

impl<R> Clone for Worker<R> {
    fn clone(&self) -> Self {
        Self { name: self.name, commands: self.commands.clone(), ended: self.ended.clone() }
    }
}

impl<R: Send + 'static> Worker<R> {
    /// Starts the thread.
    pub(crate) fn start(
        name: &'static str,
        body: impl FnOnce(Receiver<Command<R>>) -> Result<(), EngineGone> + Send + 'static,
    ) -> Result<Self, NodeError> {
        let (commands, receiver) = sync_channel(QUEUE);
        let (end, ended) = watch::channel(None);
        let thread = std::thread::Builder::new().name(name.to_owned());
        let started = thread.spawn(move || {
            // What the thread was changing is not looked at again: a panic ends the node.
            let reason = match std::panic::catch_unwind(AssertUnwindSafe(|| body(receiver))) {
                Ok(Ok(())) => End::Panicked("it stopped".to_owned()),
                Ok(Err(EngineGone(reason))) => End::Lost(reason),
                Err(panic) => End::Panicked(panic_text(panic.as_ref())),
            };
            end.send_replace(Some(reason));
        });
        started.map_err(|source| NodeError::NoThread { name, source })?;
        Ok(Self { name, commands, ended })
    }

    /// Waits until the thread ends, which it does by itself only in a panic, or when its engine is gone.
    pub(crate) async fn ended(&self) -> NodeError {
        let mut ended = self.ended.clone();
        let end = ended.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        let reason = match end {
            Some(End::Lost(reason)) => return NodeError::EngineLost { reason },
            Some(End::Panicked(reason)) => reason,
            None => "it stopped".to_owned(),
        };
        NodeError::Panicked { what: format!("the {} thread", self.name), reason }
    }

    /// Queues a command without waiting for it.
    pub(crate) fn send(&self, command: Command<R>) -> Result<(), NodeError> {
        self.commands.try_send(command).map_err(|_| NodeError::WorkerGone)
    }

    /// Queues a command and gives what its answer will come through.
    pub(crate) fn ask<T, C>(&self, command: C) -> impl Future<Output = Result<T, NodeError>> + Send + use<T, R, C>
    where
        T: Send + 'static,
        C: FnOnce(Reply<T>) -> Command<R>,
    {
        let (reply, answer) = oneshot::channel();
        let sent = self.send(command(reply));
        async move {
            sent?;
            answer.await.map_err(|_| NodeError::WorkerGone)?
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_engine_that_is_gone_is_reported_with_what_to_do() {
        let worker = Worker::<()>::start("miner", |_| Err(EngineGone("rank 1 ended".to_owned()))).unwrap();
        let error = worker.ended().await.to_string();
        assert!(error.contains("rank 1 ended") && error.contains("start the node again"), "{error}");
    }

    #[tokio::test]
    async fn a_panic_of_the_thread_is_reported_with_its_reason() {
        let worker = Worker::<()>::start("miner", |commands| {
            let _ = commands.recv();
            panic!("the sum is {}", 7);
        });
        let worker = worker.unwrap();
        worker.send(Command::Role(())).unwrap();
        let error = worker.ended().await.to_string();
        assert!(error.contains("the miner thread") && error.contains("the sum is 7"), "{error}");
    }
}
