//! What has to survive a kill, and when.

use crate::learner::Learner;
use crate::sender::Sender;
use crate::{SharedView, TrainerError};
use templar_base::{ContentHash, Window};
use templar_engine::Engine;
use templar_gradient::Payload;

/// A payload that was made and whose outcome is not known yet.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its window.
    pub window: Window,
    /// The payload.
    pub payload: Payload,
}

/// How a worker's own state changes; what is read of it is the state after.
pub(crate) enum Change<'a> {
    /// A payload goes out.
    Sends(&'a Payload),
    /// A payload comes back.
    TakesBack(&'a Payload),
    /// What waits to be sent is dropped, and the optimiser restarts.
    Drops,
}

/// What a worker alone knows: what it has not sent yet, its optimiser, and its last payload. It is read segment by segment,
/// with one segment in memory.
pub struct OwnState<'a> {
    pub(crate) sender: &'a Sender,
    pub(crate) learner: &'a mut Learner,
    pub(crate) change: Change<'a>,
    pub(crate) sent: Option<&'a Sent>,
    pub(crate) leaves: &'a [ContentHash],
}

impl OwnState<'_> {
    /// The last payload; none where its outcome is known or it came back.
    pub fn sent(&self) -> Option<&Sent> {
        self.sent
    }

    /// The leaves of the trajectory that a payload to be sent names; none where steps are not bound.
    pub fn leaves(&self) -> &[ContentHash] {
        self.leaves
    }

    /// The optimiser's state is in the engine.
    pub fn engine(&mut self) -> &mut dyn Engine {
        self.learner.engine_mut()
    }

    /// Whether the optimiser's state is to be kept too: a worker that takes a payload back keeps that of its last seal.
    pub fn has_optimiser(&self) -> bool {
        !matches!(self.change, Change::TakesBack(_))
    }

    /// Values of the error feedback: one for each parameter.
    pub fn parameters(&self) -> usize {
        self.sender.layout().parameters()
    }

    /// Calls `visit` with the error feedback, a segment at a time, in order.
    pub fn visit_feedback<E: From<TrainerError>>(
        &mut self,
        mut visit: impl FnMut(&[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let layout = self.sender.layout();
        let mut buffer = vec![0f32; layout.longest_segment()];
        for segment in 0..layout.segment_count() {
            let range = layout.segment_range(segment);
            let values = &mut buffer[..range.len()];
            match self.change {
                Change::Sends(payload) => {
                    let learner = &mut *self.learner;
                    let drift = |range, out: &mut [f32]| learner.drift_of(range, out);
                    self.sender.remaining::<TrainerError>(payload, segment, values, drift)?;
                }
                Change::TakesBack(payload) => {
                    self.sender.feedback().restored(payload, segment, values).map_err(TrainerError::from)?;
                }
                Change::Drops => values.fill(0.0),
            }
            visit(values)?;
        }
        Ok(())
    }
}

/// Where a worker's state survives a kill. Each call returns once a restart would read what it was given; after an error a
/// restart reads what was kept before, and the worker is as it was.
pub trait Keep {
    /// Why it cannot be kept.
    type Error: From<TrainerError>;

    /// Keeps a worker's own state. A new payload is in it before any peer can learn of it.
    fn own(&mut self, own: &mut OwnState<'_>) -> Result<(), Self::Error>;

    /// Keeps shared parameters.
    fn shared(&mut self, shared: &SharedView<'_>) -> Result<(), Self::Error>;
}

/// Keeps nothing: for comparisons, tests and audits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Volatile;

impl Keep for Volatile {
    type Error = TrainerError;

    fn own(&mut self, _own: &mut OwnState<'_>) -> Result<(), TrainerError> {
        Ok(())
    }

    fn shared(&mut self, _shared: &SharedView<'_>) -> Result<(), TrainerError> {
        Ok(())
    }
}
