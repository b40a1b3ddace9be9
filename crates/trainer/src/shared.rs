//! What all nodes hold alike at the start of a window, and how an outcome moves it, segment by segment.

use templar_base::{StateHash, Window};
use templar_gradient::{
    Aggregate, LengthMismatch, OuterState, OuterStep, STATE_SEGMENT_VALUES, StateHasher, StatePart,
};

/// The shared parameters at the start of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct SharedState {
    /// The window that starts with them.
    pub next: Window,
    /// The parameters, and the outer step's momentum where the run has one.
    pub outer: OuterState,
    /// Their hash.
    pub state: StateHash,
}

/// What was agreed on for a window: what is merged, none where nothing is, and the step by it.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'a> {
    /// The merged payloads.
    pub aggregate: Option<&'a Aggregate>,
    /// The step of the window.
    pub step: &'a OuterStep,
}

/// A shared state that is to be kept: one that is held, or the next one, which is computed as it is read.
pub struct SharedView<'a> {
    /// The window that starts with it.
    pub next: Window,
    /// Its hash.
    pub state: StateHash,
    held: &'a SharedState,
    outcome: Option<Outcome<'a>>,
}

impl SharedState {
    /// The state at the start of window `next`.
    pub fn new(next: Window, outer: OuterState) -> Self {
        Self { next, state: outer.hash(), outer }
    }

    /// This state, to be kept.
    pub fn view(&self) -> SharedView<'_> {
        SharedView { next: self.next, state: self.state, held: self, outcome: None }
    }

    /// Moves one window on, in place: by the outer step, or unchanged but for the momentum where nothing was merged.
    ///
    /// `keep` gets the next state before anything changes, and its error leaves all as it is. `moved(start, before, after)`
    /// then sees the parameters of each segment. Beside the state there are two segments in memory.
    pub fn advance<E: From<LengthMismatch>>(
        &mut self,
        outcome: Outcome<'_>,
        keep: impl FnOnce(&SharedView<'_>) -> Result<(), E>,
        mut moved: impl FnMut(usize, &[f32], &[f32]),
    ) -> Result<StateHash, E> {
        if let Some(aggregate) = outcome.aggregate {
            let (actual, expected) = (self.outer.params.len(), aggregate.layout().parameters());
            if actual != expected {
                return Err(LengthMismatch { actual, expected }.into());
            }
        }
        let mut view = SharedView { next: self.next.next(), state: self.state, held: self, outcome: Some(outcome) };
        view.state = view.hash()?;
        keep(&view)?;
        let (next, state) = (view.next, view.state);
        self.step(outcome, &mut moved)?;
        (self.next, self.state) = (next, state);
        Ok(state)
    }

    fn step(
        &mut self,
        outcome: Outcome<'_>,
        moved: &mut impl FnMut(usize, &[f32], &[f32]),
    ) -> Result<(), LengthMismatch> {
        let Some(aggregate) = outcome.aggregate else {
            self.outer.rest();
            for (number, values) in self.outer.params.chunks(STATE_SEGMENT_VALUES).enumerate() {
                moved(number * STATE_SEGMENT_VALUES, values, values);
            }
            return Ok(());
        };
        let OuterState { params, momentum } = &mut self.outer;
        if outcome.step.has_momentum() {
            momentum.resize(params.len(), 0.0);
        }
        let layout = aggregate.layout();
        let mut before = Vec::with_capacity(layout.longest_segment());
        for segment in 0..layout.segment_count() {
            let range = layout.segment_range(segment);
            let momentum = momentum.get_mut(range.clone()).unwrap_or_default();
            let (start, params) = (range.start, &mut params[range]);
            before.clear();
            before.extend_from_slice(params);
            outcome.step.step_segment(aggregate, segment, params, momentum)?;
            moved(start, &before, params);
        }
        Ok(())
    }
}

impl SharedView<'_> {
    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.held.outer.params.len()
    }

    /// Number of values of the momentum; 0 where there is none.
    pub fn momentum(&self) -> usize {
        match self.outcome {
            None => self.held.outer.momentum.len(),
            Some(Outcome { aggregate: None, .. }) => 0,
            Some(outcome) if outcome.step.has_momentum() => self.parameters(),
            Some(_) => self.held.outer.momentum.len(),
        }
    }

    /// Calls `visit` with all parameters and then with all of the momentum, a range at a time, in order.
    pub fn visit<E: From<LengthMismatch>>(
        &self,
        mut visit: impl FnMut(StatePart, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.visit_part(StatePart::Parameters, &mut visit)?;
        if self.momentum() == 0 {
            return Ok(());
        }
        self.visit_part(StatePart::Momentum, &mut visit)
    }

    fn visit_part<E: From<LengthMismatch>>(
        &self,
        part: StatePart,
        visit: &mut impl FnMut(StatePart, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let OuterState { params, momentum } = &self.held.outer;
        let Some((outcome, aggregate)) = self.outcome.and_then(|outcome| Some((outcome, outcome.aggregate?))) else {
            let values = if part == StatePart::Parameters { params } else { momentum };
            return values.chunks(STATE_SEGMENT_VALUES).try_for_each(|values| visit(part, values));
        };
        let layout = aggregate.layout();
        let (mut next, mut next_momentum) = (Vec::new(), Vec::new());
        for segment in 0..layout.segment_count() {
            let range = layout.segment_range(segment);
            next.clear();
            next.extend_from_slice(&params[range.clone()]);
            next_momentum.clear();
            if outcome.step.has_momentum() {
                next_momentum.extend_from_slice(momentum.get(range.clone()).unwrap_or_default());
                next_momentum.resize(range.len(), 0.0);
            }
            outcome.step.step_segment(aggregate, segment, &mut next, &mut next_momentum)?;
            match part {
                StatePart::Parameters => visit(part, &next)?,
                StatePart::Momentum if next_momentum.is_empty() => visit(part, &momentum[range])?,
                StatePart::Momentum => visit(part, &next_momentum)?,
            }
        }
        Ok(())
    }

    fn hash(&self) -> Result<StateHash, LengthMismatch> {
        let mut hasher = StateHasher::new(self.parameters(), self.momentum());
        self.visit(|_, values| {
            hasher.add(values);
            Ok::<(), LengthMismatch>(())
        })?;
        // All values were added.
        Ok(hasher.finish().map(|tree| tree.root()).unwrap_or_default())
    }
}
