//! The computing thread of a node: it owns the parameters, and takes commands through a bounded queue.

use crate::NodeError;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use templar_base::{StateHash, Window};
use templar_gradient::{Aggregate, OuterState, OuterStep};
use tokio::sync::oneshot;

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
    /// What only this role does.
    Role(R),
}

/// The handle of a computing thread. The thread ends when the last handle is dropped.
pub(crate) struct Worker<R> {
    commands: SyncSender<Command<R>>,
}

impl<R> Clone for Worker<R> {
    fn clone(&self) -> Self {
        Self { commands: self.commands.clone() }
    }
}

impl<R: Send + 'static> Worker<R> {
    /// Starts the thread.
    pub(crate) fn start(
        name: &str,
        body: impl FnOnce(Receiver<Command<R>>) + Send + 'static,
    ) -> Result<Self, NodeError> {
        let (commands, receiver) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread.spawn(move || body(receiver)).map_err(|_| NodeError::WorkerGone)?;
        Ok(Self { commands })
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
