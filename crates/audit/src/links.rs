//! What a payload may start from: where the key's last payload ended, moved on by what the ledger decided, or afresh.

use crate::answer::EndState;
use crate::evidence::Rules;
use crate::published::PublishedPayload;
use crate::states::{StateHashes, WorkerState};
use parity_scale_codec::{Decode, Encode};
use templar_base::ContentHash;
use templar_engine::OptimiserState;
use templar_gradient::{ErrorFeedback, FeedbackOrigin, GradientLayout, Metadata, OuterState, Payload};

/// A start that cannot be, or that cannot be judged with what is at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The optimiser's state comes from nowhere.
    #[error("the optimiser's state at the start is neither that of the last payload's end nor a fresh one")]
    Optimiser,
    /// The parameters come from nowhere.
    #[error("the parameters at the start are neither those of the last payload's end nor the shared ones")]
    Parameters,
    /// The error feedback comes from nowhere.
    #[error("the error feedback at the start is neither what the last payload left nor empty")]
    Feedback,
    /// A payload was put back although its window was merged.
    #[error("the last payload was put back into the error feedback although its window was not null")]
    NotNull,
    /// Something that decides it is missing.
    #[error("{0} is needed to judge the start")]
    Missing(&'static str),
    /// The values at hand are not those that the roots name.
    #[error("{0} is not what its root names")]
    Unbound(&'static str),
}

impl LinkError {
    /// Whether the author is at fault.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Self::Missing(_) | Self::Unbound(_))
    }
}

/// What a start is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Links<'a> {
    /// The rules of the run.
    pub rules: &'a Rules,
    /// The key's last payload before; none where this is its first.
    pub previous: Option<&'a Payload>,
    /// The shared state at the window's start.
    pub shared: &'a StateHashes,
    /// The shared state at the start of the window before.
    pub before: Option<&'a StateHashes>,
    /// The error feedback that the last payload left; needed where that payload was put back.
    pub feedback: Option<&'a [f32]>,
}

impl Links<'_> {
    /// Whether a payload may start as it states.
    pub fn check(&self, metadata: &Metadata) -> Result<(), LinkError> {
        let parameters = self.layout().parameters();
        if self.shared.state_root(parameters) != Some(metadata.start_state) {
            return Err(LinkError::Unbound("the shared state"));
        }
        self.check_optimiser(metadata)?;
        self.check_parameters(metadata)?;
        self.check_feedback(metadata)
    }

    fn check_optimiser(&self, metadata: &Metadata) -> Result<(), LinkError> {
        let found = metadata.start.optimiser;
        let is_last = self.previous.is_some_and(|previous| previous.metadata().end.optimiser == found);
        if is_last || found == fresh_optimiser_root(self.layout().parameters()) {
            Ok(())
        } else {
            Err(LinkError::Optimiser)
        }
    }

    fn check_parameters(&self, metadata: &Metadata) -> Result<(), LinkError> {
        let (found, parameters) = (metadata.start.parameters, self.layout().parameters());
        if metadata.steps_before_rebase == 0 {
            // All steps were done after the worker was moved onto the window's shared parameters, with nothing unsent.
            let is_shared = self.shared.parameters_root(parameters) == Some(found);
            return if is_shared { Ok(()) } else { Err(LinkError::Parameters) };
        }
        let is_last = self.previous.is_some_and(|previous| {
            let previous = previous.metadata();
            previous.window.next() == metadata.window && previous.end.parameters == found
        });
        if is_last {
            return Ok(());
        }
        let before =
            self.checked_before(metadata)?.ok_or(LinkError::Missing("the shared state of the window before"))?;
        let is_before = before.parameters_root(parameters) == Some(found);
        if is_before { Ok(()) } else { Err(LinkError::Parameters) }
    }

    /// The shared state of the window before, held against what the last payload names where that is of that window.
    fn checked_before(&self, metadata: &Metadata) -> Result<Option<&StateHashes>, LinkError> {
        let Some(before) = self.before else { return Ok(None) };
        let root = before.state_root(self.layout().parameters());
        let named = self.previous.map(Payload::metadata).filter(|previous| previous.window.next() == metadata.window);
        match (root, named) {
            (Some(root), Some(named)) if root == named.start_state => Ok(Some(before)),
            (Some(_), None) => Ok(Some(before)),
            _ => Err(LinkError::Unbound("the shared state of the window before")),
        }
    }

    fn check_feedback(&self, metadata: &Metadata) -> Result<(), LinkError> {
        let found = metadata.start_feedback;
        if found == ErrorFeedback::new(self.layout()).root(self.layout()) {
            return Ok(());
        }
        let previous = self.previous.ok_or(LinkError::Feedback)?;
        let left = previous.metadata().error_feedback_root;
        if metadata.feedback_origin != FeedbackOrigin::TakenBack {
            return if found == left { Ok(()) } else { Err(LinkError::Feedback) };
        }
        let parameters = self.layout().parameters();
        if let Some(before) = self.checked_before(metadata)?
            && previous.metadata().window.next() == metadata.window
            && before.parameters_root(parameters) != self.shared.parameters_root(parameters)
        {
            return Err(LinkError::NotNull);
        }
        let feedback = self.feedback.ok_or(LinkError::Missing("the error feedback that the last payload left"))?;
        let feedback = ErrorFeedback::from(feedback.to_vec());
        if feedback.len() != parameters || feedback.root(self.layout()) != left {
            return Err(LinkError::Unbound("the error feedback that the last payload left"));
        }
        let feedback = self.taken_back(feedback, previous)?;
        if feedback.root(self.layout()) == found { Ok(()) } else { Err(LinkError::Feedback) }
    }

    /// What waits after the last payload came back, where this waited after it had been sent.
    fn taken_back(&self, feedback: ErrorFeedback, previous: &Payload) -> Result<ErrorFeedback, LinkError> {
        let mut feedback = feedback.held_as(self.rules.accumulation.held_as);
        let fits = feedback.restore(previous);
        fits.map_err(|_| LinkError::Unbound("the error feedback that the last payload left"))?;
        Ok(feedback)
    }

    fn layout(&self) -> &GradientLayout {
        &self.rules.layout
    }
}

/// The root of an optimiser that has done no step.
pub(crate) fn fresh_optimiser_root(parameters: usize) -> ContentHash {
    WorkerState::fresh(vec![0.0; parameters]).optimiser_root()
}

/// A start that is not linked, with what shows it.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct LinkFault {
    /// The key's last payload before; none where this is its first.
    pub previous: Option<PublishedPayload>,
    /// The shared state at the window's start.
    pub shared: StateHashes,
    /// The shared state at the start of the window before, where it is needed.
    pub before: Option<StateHashes>,
    /// The error feedback that the last payload left, where it is needed.
    pub feedback: Option<Vec<f32>>,
}

/// Where a payload's steps and its error feedback began.
#[derive(Debug, Clone, PartialEq)]
pub struct StartState {
    /// Parameters and optimiser before the first step.
    pub worker: WorkerState,
    /// The error feedback before the drift was added.
    pub feedback: Vec<f32>,
}

impl StartState {
    /// The start that `metadata` names, which is linked, out of what the last payload left and the shared parameters.
    pub fn of(
        metadata: &Metadata,
        links: &Links<'_>,
        end: Option<EndState>,
        shared: &OuterState,
        before: Option<&OuterState>,
    ) -> Result<Self, LinkError> {
        let parameters = links.layout().parameters();
        let end = end.filter(|end| end.worker.has_length(parameters) && end.feedback.len() == parameters);
        let fresh = OptimiserState::new(parameters);
        let (end, left) = match end {
            Some(end) => (Some(end.worker), Some(end.feedback)),
            None => (None, None),
        };
        let candidates = [end.as_ref().map(|end| &end.parameters), Some(&shared.params), before.map(|own| &own.params)];
        let is_start = |values: &&Vec<f32>| templar_gradient::state_hash(values) == metadata.start.parameters;
        let first = candidates.into_iter().flatten().find(is_start);
        let first = first.ok_or(LinkError::Unbound("the parameters at the start"))?.clone();
        let mut worker =
            WorkerState { parameters: first, step: 0, first: fresh.first_moment, second: fresh.second_moment };
        if worker.optimiser_root() != metadata.start.optimiser {
            let end = end.ok_or(LinkError::Missing("the optimiser's state"))?;
            (worker.step, worker.first, worker.second) = (end.step, end.first, end.second);
            if worker.optimiser_root() != metadata.start.optimiser {
                return Err(LinkError::Unbound("the optimiser's state"));
            }
        }
        Ok(Self { worker, feedback: feedback_of(metadata, links, left)? })
    }
}

fn feedback_of(metadata: &Metadata, links: &Links<'_>, left: Option<Vec<f32>>) -> Result<Vec<f32>, LinkError> {
    let layout = links.layout();
    let none = ErrorFeedback::new(layout);
    if none.root(layout) == metadata.start_feedback {
        return Ok(none.into_values());
    }
    let left = ErrorFeedback::from(left.ok_or(LinkError::Missing("the error feedback"))?);
    let feedback = match (metadata.feedback_origin, links.previous) {
        (FeedbackOrigin::TakenBack, Some(previous)) => links.taken_back(left, previous)?,
        _ => left,
    };
    let is_bound = feedback.root(layout) == metadata.start_feedback;
    if is_bound { Ok(feedback.into_values()) } else { Err(LinkError::Unbound("the error feedback")) }
}
