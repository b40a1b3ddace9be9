//! Verifying evidence: one step, one compression, or a comparison of roots.

use crate::evidence::{Evidence, Rules};
use crate::examination::is_selection;
use crate::fault::{EndsFault, Fault, RebasePoints, SelectionFault, StepFault};
use crate::links::{LinkError, LinkFault, Links};
use serde::Serialize;
use templar_engine::Engine;
use templar_gradient::{ChunkProof, ErrorFeedback, Metadata, Payload, state_hash};
use templar_trainer::{ReplayError, ReplayText, TrainerError, Transition, WindowData, worker_roots};

/// Evidence that holds, and what the ledger must show for it to be about its author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// What is proven.
    pub fault: String,
    /// Facts that the evidence takes from the ledger, one a line.
    pub on_the_ledger: Vec<String>,
}

/// Evidence that proves nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotProven {
    /// The payload does not decode.
    #[error("the payload does not decode: {0}")]
    Payload(String),
    /// The payload is of another run, window or miner than the evidence says.
    #[error("the payload is of another run, window or miner than the evidence says")]
    OtherPayload,
    /// A value of the evidence is not bound by the payload.
    #[error("{0} of the evidence is not the one that the payload is bound to")]
    Unbound(&'static str),
    /// There is no such transition.
    #[error("the payload has no transition {number}")]
    NoTransition {
        /// The number.
        number: u32,
    },
    /// What the payload states holds.
    #[error("what the payload states holds: {0}")]
    Holds(&'static str),
    /// The start cannot be judged with this evidence.
    #[error("the start is not shown to be false: {0}")]
    Link(LinkError),
    /// The step cannot be done.
    #[error("the step cannot be done again: {0}")]
    Step(#[from] ReplayError),
}

/// Verifies evidence. `data` is the text that the run's rules give the author in the window of the payload, and `previous`
/// that of the window before, needed where steps were carried. The engine is used for one step at most.
pub fn verify(
    evidence: &Evidence,
    rules: &Rules,
    engine: &mut dyn Engine,
    data: &WindowData,
    previous: Option<&WindowData>,
) -> Result<Proof, NotProven> {
    let payload = evidence.payload.payload(&rules.layout).map_err(|error| NotProven::Payload(error.to_string()))?;
    let metadata = payload.metadata();
    let is_its =
        metadata.run == rules.run && metadata.window == evidence.payload.window && metadata.uid == evidence.uid;
    if !is_its || data.window != metadata.window {
        return Err(NotProven::OtherPayload);
    }
    let fault = match &evidence.fault {
        Fault::Ends(fault) => ends(fault, metadata),
        Fault::Step(fault) => step(fault, metadata, engine, ReplayText { data, previous }),
        Fault::Selection(fault) => selection(fault, rules, &payload),
        Fault::Link(fault) => link(fault, rules, evidence, metadata),
    }?;
    Ok(Proof { fault, on_the_ledger: facts(evidence, rules) })
}

/// What anybody can look up.
fn facts(evidence: &Evidence, rules: &Rules) -> Vec<String> {
    let of = |payload: &crate::PublishedPayload| {
        let digest = payload.commitment(rules.run).digest;
        format!("{} has committed to {digest} in window {}", payload.hotkey, payload.window)
    };
    let mut facts = vec![of(&evidence.payload)];
    facts.push(format!("the beacon of window {} is {}", evidence.payload.window, evidence.beacons.own));
    if let Some(previous) = evidence.beacons.previous {
        facts.push(format!("the beacon of the window before is {previous}"));
    }
    if let Fault::Link(fault) = &evidence.fault {
        facts.push(match &fault.previous {
            Some(previous) => format!("{}, and to nothing in between", of(previous)),
            None => "it has committed to nothing before".to_owned(),
        });
        let parameters = rules.layout.parameters();
        if let Some(root) = fault.before.as_ref().and_then(|before| before.state_root(parameters)) {
            facts.push(format!("the window before starts at state {root}"));
        }
    }
    facts
}

fn proof(number: usize, siblings: &[templar_base::ContentHash]) -> ChunkProof {
    ChunkProof { chunk: number, siblings: siblings.to_vec() }
}

fn states(metadata: &Metadata) -> usize {
    usize::try_from(metadata.trajectory_len()).unwrap_or(usize::MAX)
}

fn ends(fault: &EndsFault, metadata: &Metadata) -> Result<String, NotProven> {
    let states = states(metadata);
    let (number, stated) = if fault.is_last { (states - 1, metadata.end) } else { (0, metadata.start) };
    if !proof(number, &fault.proof).verify_leaf(&metadata.trajectory_root, &fault.leaf, states) {
        return Err(NotProven::Unbound("the leaf"));
    }
    if fault.leaf == stated.leaf() {
        return Err(NotProven::Holds("the leaf is that of the stated state"));
    }
    let which = if fault.is_last { "end" } else { "start" };
    Ok(format!("the payload states another {which} of its training than its trajectory has"))
}

fn step(
    fault: &StepFault,
    metadata: &Metadata,
    engine: &mut dyn Engine,
    text: ReplayText<'_>,
) -> Result<String, NotProven> {
    let (states, number) = (states(metadata), fault.number as usize);
    let no_transition = NotProven::NoTransition { number: fault.number };
    let transition = Transition::all(metadata)?.nth(number).ok_or(no_transition)?;
    if !fault.before.has_length(engine.layout().total()) {
        return Err(NotProven::Unbound("the state before the step"));
    }
    let is_bound =
        |number, siblings: &[_], leaf| proof(number, siblings).verify_leaf(&metadata.trajectory_root, &leaf, states);
    if !is_bound(number, &fault.before_proof, fault.before.roots().leaf()) {
        return Err(NotProven::Unbound("the state before the step"));
    }
    if !is_bound(number + 1, &fault.claimed_proof, fault.claimed) {
        return Err(NotProven::Unbound("the leaf after the step"));
    }
    let (from, shared) = match (&fault.rebase, transition) {
        (Some(points), Transition::Rebase) => rebase_points(points, metadata)?,
        (None, Transition::Rebase) => return Err(NotProven::Unbound("the point of the rebase")),
        _ => (&[][..], &[][..]),
    };
    fault.before.put_into(engine).map_err(TrainerError::from).map_err(ReplayError::from)?;
    text.advance(engine, transition, Some(from), shared)?;
    let found = worker_roots(engine).map_err(TrainerError::from).map_err(ReplayError::from)?.leaf();
    if found == fault.claimed {
        return Err(NotProven::Holds("the step leads where the payload says"));
    }
    Ok(match transition {
        Transition::Rebase => {
            "the move onto the shared parameters leads to another state than the payload states".into()
        }
        Transition::Own { batch } => {
            format!("inner step on batch {batch} leads to another state than the payload states")
        }
        Transition::Carried { batch } => {
            format!("inner step on batch {batch} of the window before leads to another state than the payload states")
        }
    })
}

fn rebase_points<'a>(points: &'a RebasePoints, metadata: &Metadata) -> Result<(&'a [f32], &'a [f32]), NotProven> {
    if state_hash(&points.from) != metadata.start.parameters {
        return Err(NotProven::Unbound("the start of the drift"));
    }
    if points.shared.state_root() != Some(metadata.start_state) || points.shared.parameters.len() != points.from.len() {
        return Err(NotProven::Unbound("the shared state"));
    }
    Ok((&points.from, &points.shared.parameters))
}

fn selection(fault: &SelectionFault, rules: &Rules, payload: &Payload) -> Result<String, NotProven> {
    let (metadata, parameters) = (payload.metadata(), rules.layout.parameters());
    let has_length = |values: &[f32]| values.len() == parameters;
    if !has_length(&fault.end) || state_hash(&fault.end) != metadata.end.parameters {
        return Err(NotProven::Unbound("the end"));
    }
    if !has_length(&fault.shared.parameters) || fault.shared.state_root() != Some(metadata.start_state) {
        return Err(NotProven::Unbound("the shared state"));
    }
    let feedback = ErrorFeedback::from(fault.feedback.clone());
    if !has_length(&fault.feedback) || feedback.root(&rules.layout) != metadata.start_feedback {
        return Err(NotProven::Unbound("the error feedback"));
    }
    if is_selection(rules, payload, &feedback, &fault.shared.parameters, &fault.end) {
        return Err(NotProven::Holds("the values sent are those of the drift and the error feedback"));
    }
    Ok("the values sent are not those that the drift and the error feedback give".to_owned())
}

fn link(fault: &LinkFault, rules: &Rules, evidence: &Evidence, metadata: &Metadata) -> Result<String, NotProven> {
    let previous = fault.previous.as_ref().map(|previous| previous.payload(&rules.layout)).transpose();
    let previous = previous.map_err(|error| NotProven::Payload(error.to_string()))?;
    if let (Some(published), Some(payload)) = (&fault.previous, &previous) {
        let stated = payload.metadata();
        let is_its = published.hotkey == evidence.payload.hotkey
            && stated.run == rules.run
            && stated.window == published.window
            && stated.window < metadata.window;
        if !is_its {
            return Err(NotProven::OtherPayload);
        }
    }
    let links = Links {
        rules,
        previous: previous.as_ref(),
        shared: &fault.shared,
        before: fault.before.as_ref(),
        feedback: fault.feedback.as_deref(),
    };
    match links.check(metadata) {
        Ok(()) => Err(NotProven::Holds("the start is linked")),
        Err(error) if error.is_fault() => Ok(error.to_string()),
        Err(error) => Err(NotProven::Link(error)),
    }
}
