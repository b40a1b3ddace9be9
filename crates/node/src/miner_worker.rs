//! The miner's computing thread: it trains without a pause, and does what comes in between two steps.

use crate::anchor::FileAnchor;
use crate::audit::KeptForAudits;
use crate::context::Context;
use crate::engine::open_engine;
use crate::snapshot::{MinerState, Pending, save_shared};
use crate::worker::{Command, EngineGone, Reply};
use crate::{JournalEntry, NodeError, NodeOptions};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use templar_base::{StateHash, Window};
use templar_gradient::{ErrorFeedback, OuterState, Payload};
use templar_round::{Position, SealKey, seal};
use templar_trainer::{
    Keep, Outcome, OwnState, Sealed, Sent, SharedState, SharedView, Trainer, TrainerError, WindowData, WorkerRules,
};

/// Scratch of the trainer, in the data folder.
const ANCHOR_FILE: &str = "anchor.values";

/// What only a miner's thread does.
pub(crate) enum MinerCommand {
    /// Train on this data from now on.
    Begin { data: WindowData },
    /// Make, keep and seal the payload of a window.
    Seal { window: Window, start: StateHash, key: SealKey, reply: Reply<Pending> },
    /// What was sealed was not sent.
    Unsent { window: Window },
    /// What was sent for a window made the model worse.
    Forget { window: Window },
}

/// What the status file shows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MinerProgress {
    /// Mean training loss since the last seal.
    pub loss: Option<f32>,
    /// Tokens trained since the start.
    pub tokens: u64,
    /// Time in inner steps.
    pub training_seconds: f64,
    /// Time of the last one.
    pub step_seconds: f64,
    /// Time since the first inner step.
    pub wall_seconds: f64,
}

/// The data folder of a miner.
struct MinerDisk {
    context: Arc<Context>,
    /// The key of the payload that is being sealed.
    key: SealKey,
    /// What is on disk.
    state: Option<MinerState>,
    /// What is kept for audits, where the run has them.
    audits: Option<KeptForAudits>,
}

impl MinerDisk {
    /// The payload that was sealed last.
    fn pending(&self) -> Option<&Pending> {
        self.state.as_ref().and_then(|state| state.pending.as_ref())
    }

    /// The sealed form of a payload: the one at hand, or a new one under the key.
    fn pending_of(&self, sent: &Sent) -> Pending {
        match self.pending() {
            Some(pending) if pending.window == sent.window => pending.clone(),
            _ => {
                let (run, author) = (self.context.run.id, self.context.network.hotkey.public());
                let payload = sent.payload.bytes();
                let sealed = seal(payload, &self.key, run, author, sent.window);
                Pending {
                    window: sent.window,
                    key: self.key.0,
                    commitment: sealed.commitment,
                    object: sealed.object,
                    payload: payload.to_vec(),
                }
            }
        }
    }
}

impl Keep for MinerDisk {
    type Error = NodeError;

    fn own(&mut self, own: &mut OwnState<'_>) -> Result<(), NodeError> {
        if let Some(audits) = &mut self.audits {
            audits.keep(own, &self.context.folder)?;
        }
        let pending = own.sent().map(|sent| self.pending_of(sent));
        match MinerState::save(self.state.as_ref(), own, pending, &self.context.folder) {
            Ok(state) => self.state = Some(state),
            Err(error) => {
                let window = own.sent().map(|sent| sent.window);
                self.audits.iter_mut().for_each(|audits| audits.forget(window));
                return Err(error);
            }
        }
        Ok(())
    }

    fn shared(&mut self, shared: &SharedView<'_>) -> Result<(), NodeError> {
        save_shared(shared, &self.context.folder)
    }
}

pub(crate) struct MinerWorker {
    context: Arc<Context>,
    progress: Arc<Mutex<MinerProgress>>,
    trainer: Trainer,
    disk: MinerDisk,
    started: Option<Instant>,
}

impl MinerWorker {
    pub(crate) fn new(
        context: Arc<Context>,
        progress: Arc<Mutex<MinerProgress>>,
        shared: SharedState,
        options: &NodeOptions,
    ) -> Result<Self, NodeError> {
        let run = &context.run;
        let rules = WorkerRules {
            run: run.id,
            uid: context.uid,
            layout: run.layout.clone(),
            outer: run.genesis.outer.clone(),
            numerics: options.engine.numerics().to_string(),
        };
        let folder = &context.folder;
        let mut engine = open_engine(run, &options.engine, options.threads)?;
        let state = MinerState::load(folder)?;
        if let Some(state) = &state
            && !state.load_optimiser(engine.as_mut(), folder)?
        {
            context.journal.warn("the optimiser's file is damaged; it restarts from zero".to_owned());
        }
        let parameters = run.layout.parameters();
        let anchor = Box::new(FileAnchor::new(&folder.path().join(ANCHOR_FILE), parameters));
        let mut trainer = Trainer::new(rules, engine, shared, anchor)?;
        if let Some(state) = &state {
            let feedback = state.feedback(folder, parameters)?.unwrap_or_else(|| {
                context.journal.warn("the error feedback's file is damaged; it restarts from zero".to_owned());
                ErrorFeedback::new(&run.layout)
            });
            let sent = state.pending.as_ref().and_then(|pending| {
                let payload = Payload::decode(&pending.payload, &run.layout).ok()?;
                Some(Sent { window: pending.window, payload })
            });
            trainer.resume(feedback, sent)?;
        }
        let audits = match run.genesis.audit.is_on() {
            true => Some(KeptForAudits::load(context.uid, folder)?),
            false => None,
        };
        if audits.is_some() {
            trainer.bind_steps();
        }
        let disk = MinerDisk { context: Arc::clone(&context), key: SealKey([0; 32]), state, audits };
        Ok(Self { context, progress, trainer, disk, started: None })
    }

    /// The payload that was sealed before a restart.
    pub(crate) fn pending(&self) -> Option<&Pending> {
        self.disk.pending()
    }

    /// Runs until the node drops its handle.
    pub(crate) fn run(mut self, commands: Receiver<Command<MinerCommand>>) -> Result<(), EngineGone> {
        loop {
            let command = if self.trainer.has_batch() {
                match commands.try_recv() {
                    Ok(command) => Some(command),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            } else {
                match commands.recv() {
                    Ok(command) => Some(command),
                    Err(_) => return Ok(()),
                }
            };
            match command {
                Some(command) => self.handle(command),
                None => {
                    if let Err(error) = self.train_one_step() {
                        self.stop_training(&error);
                    }
                }
            }
            EngineGone::check(self.trainer.learner().engine())?;
        }
    }

    fn handle(&mut self, command: Command<MinerCommand>) {
        // A reply whose receiver is gone is of no use.
        match command {
            Command::Apply { window, reply, .. } if window.next() == self.trainer.shared().next => {
                // The answer to an earlier request was lost.
                let _ = reply.send(Ok(self.trainer.shared().state));
            }
            Command::Apply { window, aggregate, step, reply } => {
                let outcome = Outcome { aggregate: aggregate.as_deref(), step: &step };
                let applied = self.trainer.apply(window, outcome, &mut self.disk);
                let applied = applied.map(|applied| {
                    self.warn_of_loss(applied.lost);
                    applied.state
                });
                let _ = reply.send(applied);
            }
            Command::Install { next, outer, reply } => {
                let _ = reply.send(self.install(next, outer));
            }
            Command::Held { reply } => {
                let shared = self.trainer.shared();
                let _ = reply.send(Ok(Position { next: shared.next, state: shared.state }));
            }
            Command::Role(MinerCommand::Begin { data }) => match self.trainer.begin(data) {
                Ok(lost) => self.warn_of_loss(lost),
                Err(error) => self.stop_training(&error.into()),
            },
            Command::Role(MinerCommand::Seal { window, start, key, reply }) => {
                let _ = reply.send(self.seal(window, start, key));
            }
            Command::Role(MinerCommand::Unsent { window }) => self.trainer.unsent(window),
            Command::Role(MinerCommand::Forget { window }) => self.trainer.forget(window),
        }
    }

    fn stop_training(&mut self, error: &NodeError) {
        self.context.journal.warn(format!("training stops until the next window: {error}"));
        self.trainer.stop();
    }

    fn warn_of_loss(&self, lost: Option<TrainerError>) {
        if let Some(error) = lost {
            self.context.journal.warn(format!("the steps since the last payload are lost: {error}"));
        }
    }

    fn train_one_step(&mut self) -> Result<(), NodeError> {
        let started = *self.started.get_or_insert_with(Instant::now);
        let begun = Instant::now();
        if self.trainer.step()?.is_none() {
            return Ok(());
        }
        let rules = &self.context.run.genesis.data;
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.loss = self.trainer.loss();
        progress.tokens += (rules.sequences_per_batch * rules.sequence_length) as u64;
        progress.step_seconds = begun.elapsed().as_secs_f64();
        progress.training_seconds += progress.step_seconds;
        progress.wall_seconds = started.elapsed().as_secs_f64();
        Ok(())
    }

    /// Makes the payload and seals it; what a restart needs is on disk before anybody else learns of it.
    fn seal(&mut self, window: Window, start: StateHash, key: SealKey) -> Result<Pending, NodeError> {
        self.disk.key = key;
        let sealed = self.trainer.seal(window, start, &mut self.disk)?;
        self.note_sealed(window, &sealed);
        // What was kept is what was sealed.
        self.disk.pending().cloned().ok_or(NodeError::WorkerGone)
    }

    fn note_sealed(&self, window: Window, sealed: &Sealed) {
        let metadata = sealed.payload.metadata();
        let payload_bytes = sealed.payload.bytes().len();
        self.context.journal.add(&JournalEntry::Sealed {
            window,
            steps: metadata.inner_steps,
            tokens: metadata.tokens_trained,
            loss: sealed.loss,
            payload_bytes: payload_bytes as u64,
            bits_per_value: payload_bytes as f64 * 8.0 / sealed.payload.kept().max(1) as f64,
            steps_before_rebase: metadata.steps_before_rebase,
        });
    }

    fn install(&mut self, next: Window, outer: OuterState) -> Result<StateHash, NodeError> {
        self.trainer.install(SharedState::new(next, outer), &mut self.disk)
    }
}
