//! A worker's window: begin, step, seal, apply.

use crate::anchor::Anchor;
use crate::keep::{Change, Keep, OwnState, Sent};
use crate::learner::{Applied, Learner};
use crate::sender::Sender;
use crate::shared::Outcome;
use crate::text::WindowData;
use crate::trajectory::Trajectory;
use crate::{SharedState, TrainerError};
use templar_base::{ContentHash, OuterRule, RunId, StateHash, Uid, Window};
use templar_corpus::digest_of;
use templar_engine::{Engine, StepReport};
use templar_gradient::{Accumulation, ErrorFeedback, FeedbackOrigin, GradientLayout, Metadata, Payload};

/// Who the worker is and what its run asks of it.
#[derive(Debug, Clone)]
pub struct WorkerRules {
    /// The run.
    pub run: RunId,
    /// The worker's slot.
    pub uid: Uid,
    /// How pseudo-gradients are cut.
    pub layout: GradientLayout,
    /// What is sent, merged and applied.
    pub outer: OuterRule,
    /// The arithmetic that the run names.
    pub numerics: String,
}

/// A payload that was just made.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The payload.
    pub payload: Payload,
    /// Mean training loss of its steps, in nats.
    pub loss: f32,
    /// The leaves of the trajectory that its metadata names; none where steps are not bound.
    pub leaves: Vec<ContentHash>,
}

/// The inner steps since the last seal.
#[derive(Debug, Clone, Default)]
struct Steps {
    /// Done on the rest of the previous window's batches.
    carried: u32,
    /// The first of those batches.
    carried_start: u32,
    /// Done on the window's own batches.
    own: u32,
    /// Done before the last outcome was applied.
    before_rebase: u32,
    tokens: u64,
    loss_sum: f64,
    trajectory: Trajectory,
}

impl Steps {
    fn total(&self) -> u32 {
        self.carried + self.own
    }
}

/// The data at hand.
struct Data {
    data: WindowData,
    next_batch: u32,
}

/// One worker: its copy of the model, what it has not sent, and the steps of the window at hand.
///
/// Between two calls it holds no opinion about the outside: what must survive a kill goes through [`Keep`] before it
/// takes effect, and after an error the worker is as it was.
pub struct Trainer {
    rules: WorkerRules,
    learner: Learner,
    sender: Sender,
    sent: Option<Sent>,
    /// The window whose payload was made and did not reach the others in time.
    unsent: Option<Window>,
    data: Option<Data>,
    /// The previous window's data, for the digest of carried steps.
    previous: Option<Data>,
    steps: Steps,
    /// Whether payloads are bound to their steps.
    is_bound: bool,
}

impl Trainer {
    /// A worker at the shared parameters that has done nothing yet.
    pub fn new(
        rules: WorkerRules,
        engine: Box<dyn Engine>,
        shared: SharedState,
        anchor: Box<dyn Anchor>,
    ) -> Result<Self, TrainerError> {
        let sender = Sender::new(rules.layout.clone(), Accumulation::of(&rules.outer));
        let learner = Learner::new(engine, shared, anchor)?;
        let (sent, unsent, data, previous, steps) = (None, None, None, None, Steps::default());
        Ok(Self { rules, learner, sender, sent, unsent, data, previous, steps, is_bound: false })
    }

    /// Binds payloads to their steps, for audits: a payload then states roots of the worker's state at its start, after
    /// each step and at its end. It starts from where the last payload ended, or afresh: where steps are dropped or a
    /// payload was not sent, the optimiser restarts from zero, since nothing that was published leads to its state.
    pub fn bind_steps(&mut self) {
        self.is_bound = true;
    }

    /// Takes over what was kept before a restart: what had not been sent, and the last payload. The optimiser's state is
    /// the engine's.
    pub fn resume(&mut self, feedback: ErrorFeedback, sent: Option<Sent>) -> Result<(), TrainerError> {
        // What was kept without a payload was kept when the payload came back.
        let origin = if sent.is_some() { FeedbackOrigin::Kept } else { FeedbackOrigin::TakenBack };
        self.sender.resume(feedback, origin)?;
        self.sent = sent;
        Ok(())
    }

    /// The worker's copy of the model.
    pub fn learner(&self) -> &Learner {
        &self.learner
    }

    /// The same, to be changed.
    pub fn learner_mut(&mut self) -> &mut Learner {
        &mut self.learner
    }

    /// What was sent and waits for its outcome.
    pub fn sent(&self) -> Option<&Sent> {
        self.sent.as_ref()
    }

    /// What waits to be sent.
    pub fn feedback(&self) -> &ErrorFeedback {
        self.sender.feedback()
    }

    /// Inner steps since the last seal.
    pub fn steps(&self) -> u32 {
        self.steps.total()
    }

    /// Mean training loss since the last seal, in nats; none before the first step.
    pub fn loss(&self) -> Option<f32> {
        (self.steps.total() > 0).then(|| (self.steps.loss_sum / f64::from(self.steps.total())) as f32)
    }

    /// Starts on a window's data. Steps of the window before that were not sealed belong to no payload and are undone; an
    /// anchor that cannot be read for that is given back.
    pub fn begin(&mut self, data: WindowData) -> Result<Option<TrainerError>, TrainerError> {
        let is_sealed = self.sent.as_ref().is_some_and(|sent| sent.window.next() == data.window);
        let mut lost = None;
        if !is_sealed && self.steps.total() > 0 {
            lost = self.learner.discard()?;
            self.drop_steps()?;
        }
        self.previous = self.data.replace(Data { data, next_batch: 0 });
        Ok(lost)
    }

    /// Drops the data at hand: no step until the next [`Self::begin`].
    pub fn stop(&mut self) {
        self.data = None;
    }

    /// Whether there is a batch to train on.
    pub fn has_batch(&self) -> bool {
        self.data.as_ref().is_some_and(|at_hand| at_hand.next_batch < at_hand.data.steps())
    }

    /// One inner step on the next batch; none where all are used up.
    pub fn step(&mut self) -> Result<Option<StepReport>, TrainerError> {
        let Some(at_hand) = self.data.as_mut().filter(|at_hand| at_hand.next_batch < at_hand.data.steps()) else {
            return Ok(None);
        };
        let batch = at_hand.data.text.batch(at_hand.next_batch)?;
        let tokens = (batch.sequences * batch.length) as u64;
        if self.is_bound && self.steps.total() == 0 {
            self.steps.trajectory = Trajectory::default();
            self.steps.trajectory.add(self.learner.engine_mut())?;
        }
        let report = self.learner.train(&[batch], at_hand.data.learning_rate)?;
        if self.is_bound
            && let Err(error) = self.steps.trajectory.add(self.learner.engine_mut())
        {
            // A trajectory with a gap would be a lie.
            self.data = None;
            self.learner.discard()?;
            self.drop_steps()?;
            return Err(error.into());
        }
        at_hand.next_batch += 1;
        // After a seal the data at hand is still the sealed window's: those steps are carried into the next payload.
        if self.sent.as_ref().is_some_and(|sent| sent.window == at_hand.data.window) {
            self.steps.carried += 1;
        } else {
            self.steps.own += 1;
        }
        self.steps.tokens += tokens;
        self.steps.loss_sum += f64::from(report.loss);
        Ok(Some(report))
    }

    /// Forgets the steps since the last seal, whose drift is gone.
    fn drop_steps(&mut self) -> Result<(), TrainerError> {
        let had_steps = self.steps.total() > 0;
        self.steps = Steps::default();
        if self.is_bound && had_steps {
            self.learner.engine_mut().reset_optimiser()?;
        }
        Ok(())
    }

    /// What a payload of `window` says of the steps so far, but for the root of the feedback that they leave.
    pub fn metadata(&mut self, window: Window) -> Result<Metadata, TrainerError> {
        let steps = &self.steps;
        let at_hand = self.data.as_ref().filter(|at_hand| at_hand.data.window == window && steps.total() > 0);
        let at_hand = at_hand.ok_or(TrainerError::Untrained { window })?;
        let carried = match &self.previous {
            Some(previous) if steps.carried > 0 => Some(previous.data.text.digest(steps.carried_start, steps.carried)?),
            _ => None,
        };
        Ok(Metadata {
            run: self.rules.run,
            window,
            uid: self.rules.uid,
            start_state: self.learner.shared().state,
            data_digest: digest_of(carried, at_hand.data.text.digest(0, steps.own)?),
            tokens_trained: steps.tokens,
            inner_steps: steps.total(),
            steps_before_rebase: steps.before_rebase,
            carried_start: steps.carried_start,
            carried_steps: steps.carried,
            numerics: self.rules.numerics.clone(),
            start: steps.trajectory.start(),
            start_feedback: if self.is_bound { self.sender.root() } else { ContentHash::default() },
            feedback_origin: self.sender.origin(),
            end: steps.trajectory.last(),
            trajectory_root: steps.trajectory.root(),
            error_feedback_root: ContentHash::default(),
        })
    }

    /// Makes the payload of a window that starts at the agreed state `start`, and keeps it. Beside what the worker holds
    /// there is the payload and a segment or two in memory.
    pub fn seal<K: Keep>(&mut self, window: Window, start: StateHash, keep: &mut K) -> Result<Sealed, K::Error> {
        self.check_seal(window, start)?;
        let metadata = self.metadata(window)?;
        let Self { learner, sender, .. } = self;
        let payload = sender.prepare(metadata, |range, out: &mut [f32]| learner.drift_of(range, out))?;
        learner.write_anchor()?;
        let sent = Sent { window, payload };
        let change = Change::Sends(&sent.payload);
        let leaves = self.steps.trajectory.leaves();
        keep.own(&mut OwnState { sender, learner, change, sent: Some(&sent), leaves })?;
        // From here on the payload counts as made.
        learner.mark_sent();
        let committed = sender.commit(&sent.payload, |range, out: &mut [f32]| learner.drift_of(range, out));
        let leaves = self.steps.trajectory.leaves().to_vec();
        let sealed = Sealed { payload: sent.payload.clone(), loss: self.loss().unwrap_or_default(), leaves };
        self.sent = Some(sent);
        let carried_start = self.data.as_ref().map_or(0, |at_hand| at_hand.next_batch);
        self.steps = Steps { carried_start, ..Steps::default() };
        committed.map_err(|error: TrainerError| error)?;
        Ok(sealed)
    }

    fn check_seal(&self, window: Window, start: StateHash) -> Result<(), TrainerError> {
        let shared = self.learner.shared();
        if shared.next != window {
            return Err(TrainerError::Window { asked: window, held: shared.next });
        }
        if shared.state != start {
            return Err(TrainerError::StartState { window, agreed: start, held: shared.state });
        }
        if self.learner.is_sent() {
            return Err(TrainerError::Undecided { window });
        }
        Ok(())
    }

    /// The payload of a window did not reach the others in time.
    pub fn unsent(&mut self, window: Window) {
        // A payload that could not be made took nothing out of the feedback.
        if self.sent.as_ref().is_some_and(|sent| sent.window == window) {
            self.unsent = Some(window);
        }
    }

    /// Drops what waits to be sent. The feedback adds up drift that was measured at parameters of before. Where others
    /// have meanwhile moved the parameters the same way, sending it would overshoot: measured, such a payload makes the
    /// model worse, and so does the next one that it is put back into.
    pub fn forget(&mut self, window: Window) {
        self.sender.clear(FeedbackOrigin::Voided);
        if self.sent.as_ref().is_some_and(|sent| sent.window == window) {
            self.sent = None;
        }
    }

    /// Puts back what was taken out for a window in which nothing was merged.
    pub fn unsend<K: Keep>(&mut self, window: Window, keep: &mut K) -> Result<(), K::Error> {
        if self.sent.as_ref().is_none_or(|sent| sent.window != window) {
            return Ok(());
        }
        let Some(Sent { payload, .. }) = &self.sent else { return Ok(()) };
        let (sender, learner, change) = (&self.sender, &mut self.learner, Change::TakesBack(payload));
        keep.own(&mut OwnState { sender, learner, change, sent: None, leaves: &[] })?;
        self.sender.take_back(payload).map_err(TrainerError::from)?;
        self.sent = None;
        Ok(())
    }

    /// The shared parameters at the start of the window to apply next, without the drift of this worker.
    pub fn shared(&self) -> &SharedState {
        self.learner.shared()
    }

    /// Applies the outcome of a window and moves onto the next shared parameters. The drift that was not sent stays.
    pub fn apply<K: Keep>(&mut self, window: Window, outcome: Outcome<'_>, keep: &mut K) -> Result<Applied, K::Error> {
        let held = self.learner.shared().next;
        if window != held {
            return Err(TrainerError::Window { asked: window, held }.into());
        }
        if self.is_bound && self.unsent == Some(window) {
            self.drop_unsent(keep)?;
        }
        if outcome.aggregate.is_none() {
            self.unsend(window, keep)?;
        }
        let applied = self.learner.advance(outcome, |view| keep.shared(view))?;
        let is_unsent = self.unsent == Some(window);
        if outcome.aggregate.is_some() && is_unsent && !self.is_bound {
            self.forget(window);
        }
        if applied.lost.is_some() {
            self.data = None;
            self.drop_steps()?;
        }
        if self.is_bound {
            self.bind_rebase(window, is_unsent)?;
        }
        self.steps.before_rebase = self.steps.total();
        Ok(applied)
    }

    /// Drops what the last payload left, and the optimiser's state: the payload was not sent, so nothing that was published
    /// leads to them.
    fn drop_unsent<K: Keep>(&mut self, keep: &mut K) -> Result<(), K::Error> {
        self.learner.engine_mut().reset_optimiser().map_err(TrainerError::from)?;
        let Self { sender, learner, .. } = self;
        keep.own(&mut OwnState { sender, learner, change: Change::Drops, sent: None, leaves: &[] })?;
        self.sender.clear(FeedbackOrigin::Unsent);
        self.sent = None;
        Ok(())
    }

    /// Binds the steps so far to the shared parameters that the worker was just moved onto. Steps that no auditor could do
    /// again are dropped: those that began at an end point that was never sent, and those that are moved a second time.
    fn bind_rebase(&mut self, applied: Window, is_unsent: bool) -> Result<(), TrainerError> {
        if is_unsent || self.steps.before_rebase > 0 {
            self.learner.discard()?;
            self.drop_steps()?;
            let at_hand = self.data.take().filter(|at_hand| at_hand.data.window > applied);
            self.data = at_hand.map(|at_hand| Data { next_batch: 0, ..at_hand });
        }
        if self.steps.total() > 0 {
            self.steps.trajectory.add_rebased(self.learner.engine_mut())?;
        }
        Ok(())
    }

    /// Takes over shared parameters of another node, and drops data and steps at hand, and what waits to be sent: that is a
    /// drift from parameters of long before, which would make the model worse and be taken for harm.
    pub fn install<K: Keep>(&mut self, shared: SharedState, keep: &mut K) -> Result<StateHash, K::Error> {
        keep.shared(&shared.view())?;
        let state = shared.state;
        self.learner.install(shared)?;
        self.sender.clear(FeedbackOrigin::Installed);
        (self.sent, self.unsent, self.data) = (None, None, None);
        self.drop_steps()?;
        Ok(state)
    }
}
