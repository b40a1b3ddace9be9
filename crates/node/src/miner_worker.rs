//! The miner's computing thread: it trains without a pause, and does what comes in between two steps.

use crate::context::Context;
use crate::engine::open_engine;
use crate::snapshot::{MinerState, Pending, SharedState};
use crate::worker::{Command, Reply};
use crate::{JournalEntry, NodeError};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use templar_base::{ContentHash, StateHash, Window, WindowRules};
use templar_corpus::{Assignment, digest_of};
use templar_engine::{Batch, Buffer, Engine, Segments, hash_optimiser, read_optimiser, write_optimiser};
use templar_gradient::{ErrorFeedback, Metadata, OuterState, OuterStep, Payload, drift, rebase, state_hash};
use templar_round::{SealKey, seal};

/// What only a miner's thread does.
pub(crate) enum MinerCommand {
    /// Train on this data from now on.
    Begin { window: Window, assignment: Assignment, rules: Arc<WindowRules> },
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
    /// Time since the first inner step.
    pub wall_seconds: f64,
}

/// The inner steps since the last seal.
#[derive(Debug, Clone, Default)]
struct Steps {
    /// Done on the rest of the previous window's batches.
    carried: u32,
    carried_start: u32,
    /// Done on the window's own batches.
    own: u32,
    /// Done before the last aggregate arrived.
    before_rebase: u32,
    loss_sum: f64,
    /// Digests of the parameters after each step, for audits.
    trajectory: blake3::Hasher,
}

impl Steps {
    fn total(&self) -> u32 {
        self.carried + self.own
    }
}

/// The data at hand.
struct Data {
    window: Window,
    assignment: Assignment,
    rules: Arc<WindowRules>,
    next_batch: u32,
}

impl Data {
    fn is_left(&self) -> bool {
        (self.next_batch as usize) < self.rules.inner_steps && self.next_batch < self.assignment.batches()
    }
}

pub(crate) struct MinerWorker {
    context: Arc<Context>,
    progress: Arc<Mutex<MinerProgress>>,
    engine: Box<dyn Engine>,
    shared: SharedState,
    /// Where the drift that has not been sent begins, if not at the shared parameters: the end point of the last seal.
    anchor: Option<Vec<f32>>,
    feedback: ErrorFeedback,
    sent: Option<Pending>,
    /// The window whose payload was sealed and did not reach the others in time.
    unsent: Option<Window>,
    data: Option<Data>,
    /// The previous window's data, for the digest of carried steps.
    previous: Option<Data>,
    steps: Steps,
    started: Option<Instant>,
}

impl MinerWorker {
    pub(crate) fn new(
        context: Arc<Context>,
        progress: Arc<Mutex<MinerProgress>>,
        shared: SharedState,
        threads: usize,
    ) -> Result<Self, NodeError> {
        let run = &context.run;
        let mut engine = open_engine(run, threads)?;
        engine.write(Buffer::Parameters, 0, &shared.outer.params)?;
        let mut feedback = ErrorFeedback::new(&run.layout);
        let mut sent = None;
        if let Some(state) = MinerState::load(&context.folder)? {
            if let Err(error) = read_optimiser(engine.as_mut(), &mut state.optimiser.as_slice()) {
                engine.reset_optimiser()?;
                context.journal.warn(format!("the optimiser restarts: {error}"));
            }
            feedback = ErrorFeedback::from_bytes(&state.residual, &run.layout)?;
            sent = state.pending;
        }
        Ok(Self {
            context,
            progress,
            engine,
            shared,
            anchor: None,
            feedback,
            sent,
            unsent: None,
            data: None,
            previous: None,
            steps: Steps::default(),
            started: None,
        })
    }

    /// The payload that was sealed before a restart.
    pub(crate) fn pending(&self) -> Option<&Pending> {
        self.sent.as_ref()
    }

    /// Runs until the node drops its handle.
    pub(crate) fn run(mut self, commands: Receiver<Command<MinerCommand>>) {
        loop {
            let command = if self.has_work() {
                match commands.try_recv() {
                    Ok(command) => Some(command),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => return,
                }
            } else {
                match commands.recv() {
                    Ok(command) => Some(command),
                    Err(_) => return,
                }
            };
            match command {
                Some(command) => self.obey(command),
                None => {
                    if let Err(error) = self.train_one_step() {
                        self.context.journal.warn(format!("training stops until the next window: {error}"));
                        self.data = None;
                    }
                }
            }
        }
    }

    fn obey(&mut self, command: Command<MinerCommand>) {
        // A reply that nobody waits for any more is of no use to anybody.
        match command {
            Command::Apply { window, aggregate, step, reply } => {
                let _ = reply.send(self.apply(window, aggregate.as_deref(), step));
            }
            Command::Install { next, outer, reply } => {
                let _ = reply.send(self.install(next, outer));
            }
            Command::Role(MinerCommand::Begin { window, assignment, rules }) => {
                if let Err(error) = self.begin(window, assignment, rules) {
                    self.context.journal.warn(format!("training stops until the next window: {error}"));
                    self.data = None;
                }
            }
            Command::Role(MinerCommand::Seal { window, start, key, reply }) => {
                let _ = reply.send(self.seal(window, start, &key));
            }
            // A payload that could not be made took nothing out of the feedback.
            Command::Role(MinerCommand::Unsent { window }) => {
                if self.sent.as_ref().is_some_and(|sent| sent.window == window) {
                    self.unsent = Some(window);
                }
            }
            Command::Role(MinerCommand::Forget { window }) => self.forget(window),
        }
    }

    fn has_work(&self) -> bool {
        self.data.as_ref().is_some_and(Data::is_left)
    }

    fn train_one_step(&mut self) -> Result<(), NodeError> {
        let Some(data) = &mut self.data else { return Ok(()) };
        let started = *self.started.get_or_insert_with(Instant::now);
        let context = Arc::clone(&self.context);
        let rules = &context.run.genesis.data;
        let tokens = data.assignment.batch(data.next_batch)?;
        let batch = Batch::new(tokens, rules.sequences_per_batch, rules.sequence_length);
        let rate = data.rules.genesis.inner.schedule.learning_rate(data.window);
        let begun = Instant::now();
        let report = self.engine.train_step(&[batch], rate)?;
        data.next_batch += 1;
        // After a seal the data at hand is still the sealed window's: those steps are carried into the next payload.
        if self.sent.as_ref().is_some_and(|sent| sent.window == data.window) {
            self.steps.carried += 1;
        } else {
            self.steps.own += 1;
        }
        self.steps.loss_sum += f64::from(report.loss);
        self.steps.trajectory.update(state_hash(&self.engine.to_vec(Buffer::Parameters)?).as_bytes());
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.loss = Some((self.steps.loss_sum / f64::from(self.steps.total().max(1))) as f32);
        progress.tokens += (rules.sequences_per_batch * rules.sequence_length) as u64;
        progress.training_seconds += begun.elapsed().as_secs_f64();
        progress.wall_seconds = started.elapsed().as_secs_f64();
        Ok(())
    }

    fn begin(&mut self, window: Window, assignment: Assignment, rules: Arc<WindowRules>) -> Result<(), NodeError> {
        let sealed = self.sent.as_ref().is_some_and(|sent| sent.window.next() == window);
        if !sealed && self.steps.total() > 0 {
            // The window before was not sent: its steps belong to no payload, and the next one begins clean.
            let from = self.anchor.take().unwrap_or_else(|| self.shared.outer.params.clone());
            self.engine.write(Buffer::Parameters, 0, &from)?;
            self.steps = Steps::default();
        }
        self.previous = self.data.replace(Data { window, assignment, rules, next_batch: 0 });
        Ok(())
    }

    /// The digest of the batches since the last seal, as the door recomputes it.
    fn data_digest(&self) -> Result<ContentHash, NodeError> {
        let carried = match &self.previous {
            Some(previous) if self.steps.carried > 0 => {
                Some(previous.assignment.digest(self.steps.carried_start, self.steps.carried)?)
            }
            _ => None,
        };
        let data = self.data.as_ref().ok_or(NodeError::WorkerGone)?;
        Ok(digest_of(carried, data.assignment.digest(0, self.steps.own)?))
    }

    fn seal(&mut self, window: Window, start: StateHash, key: &SealKey) -> Result<Pending, NodeError> {
        let wrong = |what: &str| NodeError::Missing { what: what.to_owned(), window };
        if self.shared.state != start || self.shared.next != window || self.anchor.is_some() {
            return Err(wrong("the agreed start state"));
        }
        if self.data.as_ref().is_none_or(|data| data.window != window) || self.steps.total() == 0 {
            return Err(wrong("training"));
        }
        let metadata = self.metadata(window, start)?;
        let shared = &self.shared.outer.params;
        let mut delta = vec![0f32; shared.len()];
        self.engine.for_each_segment(Buffer::Parameters, |start, values| {
            let range = start..start + values.len();
            Ok::<(), NodeError>(drift(&shared[range.clone()], values, &mut delta[range])?)
        })?;
        OuterStep::of(&self.context.run.genesis.outer, window).to_domain(&self.context.run.layout, &mut delta)?;
        let before = self.feedback.clone();
        let payload = match self.accumulate_and_compress(&delta, metadata) {
            Ok(payload) => payload,
            Err(error) => {
                self.feedback = before;
                return Err(error);
            }
        };
        let pending = self.keep(window, &payload, key, before)?;
        self.note_sealed(window, &payload, &pending);
        self.anchor = Some(self.engine.to_vec(Buffer::Parameters)?);
        let carried_start = self.data.as_ref().map_or(0, |data| data.next_batch);
        self.steps = Steps { carried_start, ..Steps::default() };
        Ok(pending)
    }

    fn metadata(&mut self, window: Window, start: StateHash) -> Result<Metadata, NodeError> {
        let trajectory_root = self.trajectory_root()?;
        let (rules, steps) = (&self.context.run.genesis.data, &self.steps);
        let tokens_per_step = (rules.sequences_per_batch * rules.sequence_length) as u64;
        Ok(Metadata {
            run: self.context.run.id,
            window,
            uid: self.context.uid,
            start_state: start,
            data_digest: self.data_digest()?,
            tokens_trained: u64::from(steps.total()) * tokens_per_step,
            inner_steps: steps.total(),
            steps_before_rebase: steps.before_rebase,
            carried_start: steps.carried_start,
            carried_steps: steps.carried,
            numerics: self.context.run.genesis.numerics.clone(),
            trajectory_root,
            error_feedback_root: ContentHash::default(),
        })
    }

    /// Covers the digests of the parameters after each step, and of the optimiser's state at the end.
    fn trajectory_root(&mut self) -> Result<ContentHash, NodeError> {
        let mut hasher = self.steps.trajectory.clone();
        hasher.update(hash_optimiser(self.engine.as_mut())?.as_bytes());
        Ok(ContentHash::new(*hasher.finalize().as_bytes()))
    }

    fn accumulate_and_compress(&mut self, delta: &[f32], metadata: Metadata) -> Result<Payload, NodeError> {
        self.feedback.accumulate(delta, self.context.run.genesis.outer.error_feedback_decay)?;
        Ok(self.feedback.compress(&self.context.run.layout, metadata)?)
    }

    /// Seals the payload and writes everything that a restart needs, before anybody else hears of it.
    fn keep(
        &mut self,
        window: Window,
        payload: &Payload,
        key: &SealKey,
        before: ErrorFeedback,
    ) -> Result<Pending, NodeError> {
        let bytes = payload.encode();
        let sealed = seal(&bytes, key, self.context.run.id, self.context.network.hotkey.public(), window);
        let pending =
            Pending { window, key: key.0, commitment: sealed.commitment, object: sealed.object, payload: bytes };
        let earlier = self.sent.replace(pending.clone());
        if let Err(error) = self.save() {
            (self.feedback, self.sent) = (before, earlier);
            return Err(error);
        }
        Ok(pending)
    }

    fn save(&mut self) -> Result<(), NodeError> {
        let mut optimiser = Vec::new();
        write_optimiser(self.engine.as_mut(), &mut optimiser)?;
        let state = MinerState { residual: self.feedback.to_bytes(), optimiser, pending: self.sent.clone() };
        state.save(&self.context.folder)
    }

    fn note_sealed(&self, window: Window, payload: &Payload, pending: &Pending) {
        let metadata = payload.metadata();
        self.context.journal.add(&JournalEntry::Sealed {
            window,
            steps: metadata.inner_steps,
            tokens: metadata.tokens_trained,
            loss: (self.steps.loss_sum / f64::from(metadata.inner_steps.max(1))) as f32,
            payload_bytes: pending.payload.len() as u64,
            bits_per_value: pending.payload.len() as f64 * 8.0 / payload.kept().max(1) as f64,
            steps_before_rebase: metadata.steps_before_rebase,
        });
    }

    /// Puts back what was taken out for a window in which nothing was merged.
    fn unsend(&mut self, window: Window) -> Result<(), NodeError> {
        if self.sent.as_ref().is_none_or(|sent| sent.window != window) {
            return Ok(());
        }
        let Some(sent) = self.sent.take() else { return Ok(()) };
        if let Ok(payload) = Payload::decode(&sent.payload, &self.context.run.layout) {
            self.feedback.restore(&payload)?;
        }
        self.save()
    }

    /// Drops what waits to be sent. The feedback adds up drift that was measured at parameters of before. Where others
    /// have meanwhile moved the parameters the same way, sending it would overshoot: measured, such a payload makes the
    /// model worse, and so does the next one that it is put back into.
    fn forget(&mut self, window: Window) {
        self.feedback = ErrorFeedback::new(&self.context.run.layout);
        if self.sent.as_ref().is_some_and(|sent| sent.window == window) {
            self.sent = None;
        }
    }

    fn apply(
        &mut self,
        window: Window,
        aggregate: Option<&templar_gradient::Aggregate>,
        step: OuterStep,
    ) -> Result<StateHash, NodeError> {
        if window != self.shared.next {
            return Err(NodeError::Missing { what: "the start state".to_owned(), window });
        }
        let mut outer = self.shared.outer.clone();
        match aggregate {
            Some(aggregate) => {
                if self.unsent == Some(window) {
                    self.forget(window);
                }
                step.apply(&mut outer, aggregate)?;
            }
            None => {
                outer.rest();
                self.unsend(window)?;
            }
        }
        self.move_to(SharedState::new(window.next(), outer))
    }

    /// Takes over new shared parameters, keeping the drift that has not been sent.
    fn move_to(&mut self, shared: SharedState) -> Result<StateHash, NodeError> {
        shared.save(&self.context.folder)?;
        let from = self.anchor.take().unwrap_or_else(|| std::mem::take(&mut self.shared.outer.params));
        self.engine.change_segments(Buffer::Parameters, |start, values| {
            let range = start..start + values.len();
            Ok::<(), NodeError>(rebase(values, &from[range.clone()], &shared.outer.params[range])?)
        })?;
        self.steps.before_rebase = self.steps.total();
        self.shared = shared;
        Ok(self.shared.state)
    }

    fn install(&mut self, next: Window, outer: OuterState) -> Result<StateHash, NodeError> {
        let shared = SharedState::new(next, outer);
        shared.save(&self.context.folder)?;
        self.engine.write(Buffer::Parameters, 0, &shared.outer.params)?;
        (self.anchor, self.data, self.steps) = (None, None, Steps::default());
        self.shared = shared;
        Ok(self.shared.state)
    }
}
