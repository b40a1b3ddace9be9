//! An audit: the start is checked, the steps are done again one by one, and the selection is made again.

use crate::answer::EndState;
use crate::evidence::Rules;
use crate::fault::{EndsFault, Fault, RebasePoints, SelectionFault, StepFault};
use crate::links::{LinkError, LinkFault, Links, StartState};
use crate::published::PublishedPayload;
use crate::states::{SharedPoint, StateHashes, WorkerState};
use std::ops::Range;
use templar_base::ContentHash;
use templar_engine::{Buffer, Engine, Segments};
use templar_gradient::{ErrorFeedback, FeedbackError, MerkleTree, Metadata, OuterState, Payload, trajectory_tree};
use templar_trainer::{ReplayError, ReplayText, TrainerError, Transition, WindowData, worker_roots};

/// What an auditor has gathered of one payload.
pub struct Case {
    /// The payload.
    pub payload: Payload,
    /// The leaves that the author has answered with.
    pub leaves: Vec<ContentHash>,
    /// The key's last payload before; none where this is its first.
    pub previous: Option<(PublishedPayload, Payload)>,
    /// What that payload left, as the author has answered.
    pub end: Option<EndState>,
    /// The shared state at the window's start.
    pub shared: OuterState,
    /// The shared state at the start of the window before, where the auditor still has it.
    pub before: Option<OuterState>,
    /// The text of the window.
    pub data: WindowData,
    /// The text of the window before.
    pub previous_data: Option<WindowData>,
}

/// What an examination came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All of it came out the same.
    Agrees,
    /// The payload was not made as it states.
    Fault(Fault),
    /// The answer is not bound by the author's payloads, or something is missing in it.
    NoAnswer(String),
    /// The auditor lacks something of its own.
    Undecided(String),
}

/// An audit under way. Between two calls of [`Self::advance`] the engine may be used for something else that leaves its
/// moments alone, if [`Self::pause`] came before.
pub struct Examination {
    rules: Rules,
    case: Case,
    start: StartState,
    tree: MerkleTree,
    transitions: Vec<Transition>,
    /// Transitions that are done.
    done: usize,
    /// A transition that led elsewhere: the state before it is being looked for.
    wrong: Option<usize>,
    is_loaded: bool,
    /// The parameters, while the engine has others.
    paused: Option<Vec<f32>>,
}

impl Examination {
    /// Checks what can be checked without a step. Gives the outcome at once where that decides it.
    pub fn new(rules: Rules, mut case: Case) -> Result<Self, Box<Outcome>> {
        let no_answer = |reason: &str| Box::new(Outcome::NoAnswer(reason.to_owned()));
        let metadata = case.payload.metadata().clone();
        let transitions = Transition::all(&metadata).map_err(|error| no_answer(&error.to_string()))?;
        let transitions: Vec<Transition> = transitions.take(case.leaves.len()).collect();
        let tree = trajectory_tree(&case.leaves).ok_or_else(|| no_answer("it has no leaves"))?;
        let is_whole = case.leaves.len() as u64 == metadata.trajectory_len();
        if tree.root() != metadata.trajectory_root || !is_whole {
            return Err(no_answer("its leaves are not those of the payload"));
        }
        if let Some(fault) = ends_fault(&metadata, &case.leaves, &tree) {
            return Err(Box::new(Outcome::Fault(Fault::Ends(fault))));
        }
        let shared = StateHashes::of(&case.shared);
        let before = case.before.as_ref().map(StateHashes::of);
        let end = case.end.take();
        if let Some(reason) = unbound_end(&case, end.as_ref(), &rules) {
            return Err(no_answer(reason));
        }
        let links = Links {
            rules: &rules,
            previous: case.previous.as_ref().map(|(_, payload)| payload),
            shared: &shared,
            before: before.as_ref(),
            feedback: None,
        };
        let left = end.as_ref().map(|end| end.feedback.as_slice());
        let checked = Links { feedback: left, ..links }.check(&metadata);
        if let Err(error) = checked {
            let feedback = end.as_ref().map(|end| end.feedback.clone());
            return Err(Box::new(link_outcome(error, &case, &shared, before.clone(), feedback)));
        }
        let start = StartState::of(&metadata, &links, end, &case.shared, case.before.as_ref());
        let start = start.map_err(|error| no_answer(&error.to_string()))?;
        let (done, wrong, is_loaded, paused) = (0, None, false, None);
        Ok(Self { rules, case, start, tree, transitions, done, wrong, is_loaded, paused })
    }

    /// Transitions that are done, and how many there are.
    pub fn progress(&self) -> (usize, usize) {
        (self.done, self.transitions.len())
    }

    /// Keeps the engine's parameters, so that it can be used for something else.
    pub fn pause(&mut self, engine: &mut dyn Engine) -> Result<(), TrainerError> {
        if self.is_loaded && self.paused.is_none() {
            self.paused = Some(engine.to_vec(Buffer::Parameters)?);
        }
        Ok(())
    }

    /// Puts the parameters back.
    fn resume(&mut self, engine: &mut dyn Engine) -> Result<(), TrainerError> {
        if let Some(parameters) = self.paused.take() {
            engine.write(Buffer::Parameters, 0, &parameters)?;
        }
        Ok(())
    }

    /// Does one transition, or what comes after the last one. Gives the outcome once it is known.
    pub fn advance(&mut self, engine: &mut dyn Engine) -> Result<Option<Outcome>, ReplayError> {
        if !self.is_loaded {
            self.start.worker.put_into(engine).map_err(TrainerError::from)?;
            self.is_loaded = true;
        }
        self.resume(engine)?;
        if self.wrong == Some(self.done) {
            let before = WorkerState::of(engine).map_err(TrainerError::from)?;
            return Ok(Some(self.step_fault(before)));
        }
        let Some(transition) = self.transitions.get(self.done).copied() else {
            return self.check_selection(engine).map(Some);
        };
        let text = ReplayText { data: &self.case.data, previous: self.case.previous_data.as_ref() };
        let from = Some(self.start.worker.parameters.as_slice());
        text.advance(engine, transition, from, &self.case.shared.params)?;
        self.done += 1;
        // On the way to a transition that is known to differ, nothing is hashed again.
        if self.wrong.is_none() {
            let found = worker_roots(engine).map_err(TrainerError::from)?.leaf();
            if found != self.case.leaves[self.done] {
                (self.wrong, self.done, self.is_loaded) = (Some(self.done - 1), 0, false);
            }
        }
        Ok(None)
    }

    fn step_fault(&self, before: WorkerState) -> Outcome {
        let number = self.done;
        let proof = |leaf| self.tree.proof(leaf).map(|proof| proof.siblings).unwrap_or_default();
        let rebase = (self.transitions[number] == Transition::Rebase).then(|| RebasePoints {
            from: self.start.worker.parameters.clone(),
            shared: SharedPoint::of(&self.case.shared),
        });
        Outcome::Fault(Fault::Step(Box::new(StepFault {
            // As many as a payload's u32 counts, and one.
            number: number as u32,
            before,
            before_proof: proof(number),
            claimed: self.case.leaves[number + 1],
            claimed_proof: proof(number + 1),
            rebase,
        })))
    }

    fn check_selection(&self, engine: &mut dyn Engine) -> Result<Outcome, ReplayError> {
        let end = engine.to_vec(Buffer::Parameters).map_err(TrainerError::from)?;
        let feedback = ErrorFeedback::from(self.start.feedback.clone());
        if is_selection(&self.rules, &self.case.payload, &feedback, &self.case.shared.params, &end) {
            return Ok(Outcome::Agrees);
        }
        let shared = SharedPoint::of(&self.case.shared);
        Ok(Outcome::Fault(Fault::Selection(Box::new(SelectionFault { end, shared, feedback: feedback.into_values() }))))
    }
}

/// Whether a payload is what this feedback and the drift from `shared` to `end` give: the same values in the same coding,
/// and the same error feedback left.
pub(crate) fn is_selection(
    rules: &Rules,
    payload: &Payload,
    feedback: &ErrorFeedback,
    shared: &[f32],
    end: &[f32],
) -> bool {
    let drift = |range: Range<usize>, out: &mut [f32]| {
        let pairs = shared[range.clone()].iter().zip(&end[range]);
        out.iter_mut().zip(pairs).for_each(|(out, (shared, x))| *out = shared - x);
        Ok::<(), FeedbackError>(())
    };
    let again = feedback.prepare(&rules.layout, rules.accumulation, payload.metadata().clone(), drift);
    again.is_ok_and(|again| again.root() == payload.root())
}

fn ends_fault(metadata: &Metadata, leaves: &[ContentHash], tree: &MerkleTree) -> Option<EndsFault> {
    let last = leaves.len().checked_sub(1)?;
    let fault = |is_last, number: usize| EndsFault {
        is_last,
        leaf: leaves[number],
        proof: tree.proof(number).map(|proof| proof.siblings).unwrap_or_default(),
    };
    if leaves[0] != metadata.start.leaf() {
        return Some(fault(false, 0));
    }
    (leaves[last] != metadata.end.leaf()).then(|| fault(true, last))
}

/// Why an end state is not what the last payload left.
fn unbound_end(case: &Case, end: Option<&EndState>, rules: &Rules) -> Option<&'static str> {
    let end = end?;
    let Some((_, previous)) = &case.previous else {
        return Some("it has a state of a payload that is not on the ledger");
    };
    let is_bound = end.is_left_by(previous.metadata(), &rules.layout);
    (!is_bound).then_some("its state is not the one that the key's last payload left")
}

fn link_outcome(
    error: LinkError,
    case: &Case,
    shared: &StateHashes,
    before: Option<StateHashes>,
    feedback: Option<Vec<f32>>,
) -> Outcome {
    match error {
        LinkError::Unbound("the shared state") => {
            Outcome::Undecided("this node has other shared parameters".to_owned())
        }
        LinkError::Missing("the shared state of the window before") => Outcome::Undecided(error.to_string()),
        error if error.is_fault() => {
            // What is large and does not decide it stays at home.
            let feedback = feedback.filter(|_| {
                error == LinkError::Feedback
                    && case.payload.metadata().feedback_origin == templar_gradient::FeedbackOrigin::TakenBack
            });
            let previous = case.previous.as_ref().map(|(published, _)| published.clone());
            Outcome::Fault(Fault::Link(Box::new(LinkFault { previous, shared: shared.clone(), before, feedback })))
        }
        error => Outcome::NoAnswer(error.to_string()),
    }
}
