//! A worker's copy of the model between two outcomes: what inner steps move, and what an outcome moves under it.

use crate::anchor::Anchor;
use crate::shared::{Outcome, SharedView};
use crate::{SharedState, TrainerError};
use std::ops::Range;
use templar_base::StateHash;
use templar_engine::{Batch, Buffer, Engine, EngineError, SEGMENT, Segments, StepReport};
use templar_gradient::{LengthMismatch, rebase};

/// The outcome of a window, applied.
#[derive(Debug)]
pub struct Applied {
    /// The state that all nodes come to.
    pub state: StateHash,
    /// Set where the end point of the last payload could not be read back: what was trained since is lost.
    pub lost: Option<TrainerError>,
}

/// An engine that trains away from the shared parameters.
///
/// With Θ the shared parameters, x the engine's, and s where the drift starts that was not sent yet (Θ, or the end point
/// of the last payload while its outcome is open):
/// ```text
/// x ← x − inner steps           train
/// Δ = Θ − x                     drift, once the last outcome is known
/// s ← x                         mark_sent
/// x ← Θ' + (x − s), s ← Θ'      rebase onto the next shared parameters Θ'
/// ```
pub struct Learner {
    engine: Box<dyn Engine>,
    shared: SharedState,
    anchor: Box<dyn Anchor>,
    /// Whether the unsent drift starts at the anchor.
    is_sent: bool,
}

impl Learner {
    /// A worker at the shared parameters; `anchor` will hold the end points of what it sends.
    pub fn new(
        mut engine: Box<dyn Engine>,
        shared: SharedState,
        anchor: Box<dyn Anchor>,
    ) -> Result<Self, TrainerError> {
        check_length(&shared, engine.as_ref())?;
        engine.write(Buffer::Parameters, 0, &shared.outer.params)?;
        Ok(Self { engine, shared, anchor, is_sent: false })
    }

    /// The engine, at the worker's own parameters.
    pub fn engine(&self) -> &dyn Engine {
        self.engine.as_ref()
    }

    /// The same, to be changed.
    pub fn engine_mut(&mut self) -> &mut dyn Engine {
        self.engine.as_mut()
    }

    /// What all nodes hold.
    pub fn shared(&self) -> &SharedState {
        &self.shared
    }

    /// Whether the outcome of what was sent last is open.
    pub fn is_sent(&self) -> bool {
        self.is_sent
    }

    /// One inner step.
    pub fn train(&mut self, batches: &[Batch], learning_rate: f32) -> Result<StepReport, EngineError> {
        self.engine.train_step(batches, learning_rate)
    }

    /// The drift away from the shared parameters, Θ − x, of a range of the parameters.
    pub fn drift_of(&mut self, range: Range<usize>, out: &mut [f32]) -> Result<(), TrainerError> {
        self.engine.read(Buffer::Parameters, range.start, out)?;
        out.iter_mut().zip(&self.shared.outer.params[range]).for_each(|(x, shared)| *x = shared - *x);
        Ok(())
    }

    /// The drift whole: one more copy of the model.
    pub fn drift(&mut self) -> Result<Vec<f32>, TrainerError> {
        let mut out = vec![0f32; self.shared.outer.params.len()];
        self.drift_of(0..out.len(), &mut out)?;
        Ok(out)
    }

    /// Writes the present point to the anchor, for [`Self::mark_sent`].
    pub fn write_anchor(&mut self) -> Result<(), TrainerError> {
        let anchor = &mut self.anchor;
        self.engine.for_each_segment(Buffer::Parameters, |start, x| Ok(anchor.write(start, x)?))
    }

    /// The drift up to the point in the anchor was sent.
    pub fn mark_sent(&mut self) {
        self.is_sent = true;
    }

    /// Applies an outcome, which `keep` gets first, and moves onto the next shared parameters with the drift that was not
    /// sent. Where the anchor or the engine fails, that drift is lost and the worker is at the new shared parameters.
    pub fn advance<E: From<TrainerError>>(
        &mut self,
        outcome: Outcome<'_>,
        keep: impl FnOnce(&SharedView<'_>) -> Result<(), E>,
    ) -> Result<Applied, E> {
        let Self { engine, shared, anchor, is_sent } = self;
        let mut mover = Mover::new(engine.as_mut(), is_sent.then_some(anchor.as_mut()));
        let mut lost = None;
        let advanced = shared.advance(
            outcome,
            |view| keep(view).map_err(Advance::Keep),
            |start, before, after| {
                if lost.is_none() {
                    lost = mover.rebase(start, before, after).err();
                }
            },
        );
        let state = match advanced {
            Ok(state) => state,
            Err(Advance::Keep(error)) => return Err(error),
            Err(Advance::Length(error)) => return Err(TrainerError::from(error).into()),
        };
        self.is_sent = false;
        if lost.is_some() {
            self.reset()?;
        }
        Ok(Applied { state, lost })
    }

    /// Takes over the next shared parameters and keeps the drift that was not sent, as [`Self::advance`] does.
    pub fn rebase(&mut self, next: SharedState) -> Result<(), TrainerError> {
        check_length(&next, self.engine.as_ref())?;
        let before = std::mem::replace(&mut self.shared, next).outer.params;
        let anchor = std::mem::take(&mut self.is_sent).then_some(self.anchor.as_mut());
        let mut mover = Mover::new(self.engine.as_mut(), anchor);
        let segments = before.chunks(SEGMENT).zip(self.shared.outer.params.chunks(SEGMENT)).enumerate();
        for (number, (before, after)) in segments {
            mover.rebase(number * SEGMENT, before, after)?;
        }
        Ok(())
    }

    /// Drops the drift that was not sent: back to the shared parameters, or to the end point of what was sent while its
    /// outcome is open. Where that cannot be read, to the shared parameters; the error is given back.
    pub fn discard(&mut self) -> Result<Option<TrainerError>, TrainerError> {
        if !self.is_sent {
            self.reset()?;
            return Ok(None);
        }
        let anchor = &mut self.anchor;
        let fill = |start, x: &mut [f32]| Ok::<(), TrainerError>(anchor.read(start, x)?);
        match self.engine.fill_segments(Buffer::Parameters, fill) {
            Err(error) => {
                self.is_sent = false;
                self.reset()?;
                Ok(Some(error))
            }
            Ok(()) => Ok(None),
        }
    }

    /// Takes over shared parameters and drops all drift.
    pub fn install(&mut self, shared: SharedState) -> Result<(), TrainerError> {
        check_length(&shared, self.engine.as_ref())?;
        (self.shared, self.is_sent) = (shared, false);
        self.reset()
    }

    fn reset(&mut self) -> Result<(), TrainerError> {
        Ok(self.engine.write(Buffer::Parameters, 0, &self.shared.outer.params)?)
    }
}

fn check_length(shared: &SharedState, engine: &dyn Engine) -> Result<(), LengthMismatch> {
    let (actual, expected) = (shared.outer.params.len(), engine.layout().total());
    if actual == expected { Ok(()) } else { Err(LengthMismatch { actual, expected }) }
}

/// Values that are moved at a time: the segment's values before and after are in memory beside them.
const BLOCK_VALUES: usize = 1 << 16;

/// Moves an engine's parameters from one shared state onto another, a range at a time.
struct Mover<'a> {
    engine: &'a mut dyn Engine,
    /// Where the unsent drift starts; the shared parameters before where there is none.
    anchor: Option<&'a mut (dyn Anchor + 'static)>,
    x: Vec<f32>,
    end_point: Vec<f32>,
}

impl<'a> Mover<'a> {
    fn new(engine: &'a mut dyn Engine, anchor: Option<&'a mut (dyn Anchor + 'static)>) -> Self {
        Self { engine, anchor, x: Vec::new(), end_point: Vec::new() }
    }

    fn rebase(&mut self, start: usize, before: &[f32], after: &[f32]) -> Result<(), TrainerError> {
        let blocks = before.chunks(BLOCK_VALUES).zip(after.chunks(BLOCK_VALUES)).enumerate();
        for (block, (before, after)) in blocks {
            self.rebase_block(start + block * BLOCK_VALUES, before, after)?;
        }
        Ok(())
    }

    fn rebase_block(&mut self, start: usize, before: &[f32], after: &[f32]) -> Result<(), TrainerError> {
        self.x.resize(before.len(), 0.0);
        self.engine.read(Buffer::Parameters, start, &mut self.x)?;
        match &mut self.anchor {
            None => rebase(&mut self.x, before, after)?,
            Some(anchor) => {
                self.end_point.resize(before.len(), 0.0);
                anchor.read(start, &mut self.end_point)?;
                rebase(&mut self.x, &self.end_point, after)?;
            }
        }
        Ok(self.engine.write(Buffer::Parameters, start, &self.x)?)
    }
}

/// Why an outcome was not applied.
enum Advance<E> {
    Keep(E),
    Length(LengthMismatch),
}

impl<E> From<LengthMismatch> for Advance<E> {
    fn from(error: LengthMismatch) -> Self {
        Self::Length(error)
    }
}
