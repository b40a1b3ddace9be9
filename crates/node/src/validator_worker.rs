//! The validator's computing thread: it judges, applies outcomes, and measures the held-out loss; with nothing of these to
//! do it audits, and without an audit it puts the run's tasks to the model.

use crate::audit::{AuditJob, EvidenceRequest, SharedStates};
use crate::context::Context;
use crate::earlier::{self, EarlierOnDisk};
use crate::engine::open_engine;
use crate::evaluating::Evaluator;
use crate::gather::Gathered;
use crate::judging::{AssignedTexts, EvaluationModel, evaluation_parts};
use crate::snapshot::save_shared;
use crate::worker::{Command, EngineGone, Reply};
use crate::{JournalEntry, NodeError, NodeOptions};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use templar_audit::{Case, NotProven, Outcome, Proof};
use templar_base::{Beacon, PublicKey, StateHash, Uid, Window, WindowRules};
use templar_engine::{Batch, Buffer, Engine, EngineError};
use templar_gauntlet::{Entry, LoneChecks, Ratings, Rejection, Submission, Verdict, WindowInput, judge};
use templar_gradient::{Aggregate, OuterState, OuterStep};
use templar_record::EvaluationResult;
use templar_round::Position;
use templar_trainer::{Outcome as Applying, SharedState, mean_loss};
use tokio::sync::mpsc;

/// Everything that a judgement needs from outside the thread.
pub(crate) struct JudgeRequest {
    pub gathered: Arc<Gathered>,
    pub beacon: Beacon,
    /// Of the window's first block.
    pub start_beacon: Beacon,
    /// Who owes an answer to an audit.
    pub silent: BTreeSet<Uid>,
    pub registered: BTreeMap<Uid, PublicKey>,
    pub ratings: Ratings,
    pub rules: Arc<WindowRules>,
}

impl JudgeRequest {
    /// What is judged: the candidates. Who owes an answer to an audit is left out, and what it sent is compared with later all the
    /// same.
    fn entries(&self, checks: LoneChecks<'_>) -> Cow<'_, [Entry]> {
        let gathered = &self.gathered;
        if self.silent.is_empty() && gathered.pool().into_iter().all(|uid| gathered.is_candidate(uid)) {
            return Cow::Borrowed(&gathered.entries);
        }
        let entry = |own: &Entry| {
            let is_payload = matches!(own.submission, Submission::Payload { .. });
            match is_payload {
                true if !gathered.is_candidate(own.uid) => checks.without_holders(own),
                true if self.silent.contains(&own.uid) => {
                    Entry { submission: Submission::Rejected(Rejection::Unanswered), ..*own }
                }
                _ => own.clone(),
            }
        };
        Cow::Owned(gathered.entries.iter().map(entry).collect())
    }
}

/// What only a validator's thread does.
pub(crate) enum ValidatorCommand {
    /// Judge what was gathered for the window whose start is held.
    Judge { request: Box<JudgeRequest>, reply: Reply<Verdict> },
    /// Audit a payload, a step at a time, while nothing else is to be done.
    Audit { rules: templar_audit::Rules, case: Box<Case>, reply: Reply<Outcome> },
    /// Verify evidence of another auditor, between two audits.
    Verify { request: Box<EvidenceRequest>, reply: Reply<Result<Proof, NotProven>> },
    /// A copy of what is shared at the start of a window.
    Copy { window: Window, reply: Reply<OuterState> },
}

pub(crate) struct ValidatorWorker {
    context: Arc<Context>,
    engine: Box<dyn Engine>,
    shared: SharedState,
    held_out: Vec<Batch>,
    /// Audits under way, the first one at work.
    audits: VecDeque<AuditJob>,
    /// What is done when nothing else is to be done; none where the run has no tasks, or this node cannot put them.
    evaluator: Option<Evaluator>,
    /// Whether the engine has the parameters of `shared`.
    holds_shared: bool,
}

impl ValidatorWorker {
    /// The worker, and where the results of its evaluations come, if it makes some.
    pub(crate) fn new(
        context: Arc<Context>,
        shared: SharedState,
        options: &NodeOptions,
    ) -> Result<(Self, Option<mpsc::Receiver<EvaluationResult>>), NodeError> {
        let mut engine = open_engine(&context.run, &options.engine, options.threads)?;
        let held_out = context.data.held_out()?;
        let (evaluator, results) = Evaluator::open(&context, options, engine.as_mut()).unzip();
        let (audits, holds_shared) = (VecDeque::new(), false);
        Ok((Self { context, engine, shared, held_out, audits, evaluator, holds_shared }, results))
    }

    /// Runs until the node drops its handle.
    pub(crate) fn run(mut self, commands: Receiver<Command<ValidatorCommand>>) -> Result<(), EngineGone> {
        self.begin_window();
        loop {
            let command = match self.audits.is_empty() && !self.evaluator.as_ref().is_some_and(Evaluator::is_busy) {
                true => commands.recv().map_err(|_| TryRecvError::Disconnected),
                false => commands.try_recv(),
            };
            match command {
                Ok(command) => self.interrupt_for(command),
                Err(TryRecvError::Empty) if self.audits.is_empty() => self.evaluate_one_slice(),
                Err(TryRecvError::Empty) => self.audit_one_step(),
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
            EngineGone::check(self.engine.as_ref())?;
        }
    }

    /// Handles a command between two steps of an audit.
    fn interrupt_for(&mut self, command: Command<ValidatorCommand>) {
        if let Some(audit) = self.audits.front_mut()
            && let Err(error) = audit.pause(self.engine.as_mut())
        {
            self.context.journal.warn(format!("an audit is given up: {error}"));
            self.audits.pop_front();
        }
        self.handle(command);
    }

    fn audit_one_step(&mut self) {
        let Some(audit) = self.audits.pop_front() else { return };
        self.holds_shared = false;
        if let Some(audit) = audit.advance(self.engine.as_mut()) {
            self.audits.push_front(audit);
        }
    }

    fn evaluate_one_slice(&mut self) {
        if !self.holds_shared
            && let Err(error) = self.write_shared()
        {
            // The engine has refused what it took before; the window's own work will say so too.
            self.context.journal.warn(format!("the tasks are not put to the model: {error}"));
            self.evaluator = None;
            return;
        }
        if let Some(evaluator) = &mut self.evaluator {
            evaluator.advance(self.engine.as_mut());
        }
    }

    fn handle(&mut self, command: Command<ValidatorCommand>) {
        // A reply that nobody waits for any more is of no use to anybody.
        match command {
            Command::Apply { window, aggregate, step, reply } => {
                let _ = reply.send(self.apply(window, aggregate.as_deref(), step));
                self.begin_window();
            }
            Command::Install { next, outer, reply } => {
                let _ = reply.send(self.move_to(SharedState::new(next, outer)));
                self.begin_window();
            }
            Command::Held { reply } => {
                let _ = reply.send(Ok(Position { next: self.shared.next, state: self.shared.state }));
            }
            Command::Role(ValidatorCommand::Judge { request, reply }) => {
                let _ = reply.send(self.judge(&request));
            }
            Command::Role(ValidatorCommand::Audit { rules, case, reply }) => {
                self.audits.extend(AuditJob::begin(rules, *case, reply));
            }
            Command::Role(ValidatorCommand::Verify { request, reply }) => {
                self.audits.push_back(AuditJob::Verify(request, reply));
            }
            Command::Role(ValidatorCommand::Copy { window, reply }) => {
                let held = (window == self.shared.next).then(|| self.shared.outer.clone());
                let _ = reply.send(held.ok_or(NodeError::OtherStart { window }));
            }
        }
    }

    fn judge(&mut self, request: &JudgeRequest) -> Result<Verdict, NodeError> {
        let (run, window) = (&self.context.run, request.gathered.window);
        if window != self.shared.next {
            return Err(NodeError::OtherStart { window });
        }
        let parts = evaluation_parts(run, &self.context.data, window, &request.beacon)?;
        let (genesis, inner_steps) = (&request.rules.genesis, request.rules.inner_steps as u32);
        let (start_state, ratings) = (self.shared.state, &request.ratings);
        let entries = request.entries(LoneChecks { genesis, inner_steps, run: run.id, window, start_state, ratings });
        let input = WindowInput {
            genesis,
            inner_steps,
            run: run.id,
            window,
            beacon: request.beacon,
            start: &self.shared.outer,
            start_state,
            registered: &request.registered,
            entries: &entries,
            earlier: &EarlierOnDisk::before(window, self.context.folder.path(), &run.layout),
            ratings,
        };
        let (data, beacon, registered) = (&self.context.data, request.start_beacon, &request.registered);
        self.holds_shared = false;
        let model = EvaluationModel::new(self.engine.as_mut(), &parts);
        let mut model = model.with_assigned(AssignedTexts { data, window, beacon, registered });
        let verdict = judge(&input, &mut model)?;
        if let Err(error) = earlier::keep(self.context.folder.path(), &request.gathered) {
            self.context.journal.warn(format!("the payloads of window {window} are not kept for comparison: {error}"));
        }
        Ok(verdict)
    }

    fn apply(
        &mut self,
        window: Window,
        aggregate: Option<&Aggregate>,
        step: OuterStep,
    ) -> Result<StateHash, NodeError> {
        if window.next() == self.shared.next {
            // The answer to an earlier request was lost.
            return Ok(self.shared.state);
        }
        if window != self.shared.next {
            return Err(NodeError::OtherStart { window });
        }
        if self.context.run.genesis.audit.is_on() {
            SharedStates::keep(&self.shared.view(), &self.context.folder)?;
        }
        if let Some(merged) = aggregate
            && let Err(error) = earlier::keep_merged(self.context.folder.path(), merged)
        {
            self.context.journal.warn(format!("what is merged in window {window} is not kept for comparison: {error}"));
        }
        let (folder, outcome) = (&self.context.folder, Applying { aggregate, step: &step });
        self.shared.advance(outcome, |next| save_shared(next, folder), |_, _, _| {})
    }

    fn move_to(&mut self, shared: SharedState) -> Result<StateHash, NodeError> {
        save_shared(&shared.view(), &self.context.folder)?;
        self.shared = shared;
        Ok(self.shared.state)
    }

    /// What is done first at the start of a window, and what may be done while nothing else is.
    fn begin_window(&mut self) {
        self.measure_held_out();
        if let Some(evaluator) = &mut self.evaluator {
            evaluator.moved_to(self.shared.next, self.shared.state);
        }
    }

    fn write_shared(&mut self) -> Result<(), EngineError> {
        self.holds_shared = false;
        self.engine.write(Buffer::Parameters, 0, &self.shared.outer.params)?;
        self.holds_shared = true;
        Ok(())
    }

    fn measure_held_out(&mut self) {
        let set = self.write_shared();
        match set.and_then(|()| mean_loss(self.engine.as_mut(), &self.held_out)) {
            Ok(loss) => self.context.journal.add(&JournalEntry::HeldOut { window: self.shared.next, loss }),
            Err(error) => self.context.journal.warn(format!("the held-out loss cannot be measured: {error}")),
        }
    }
}
