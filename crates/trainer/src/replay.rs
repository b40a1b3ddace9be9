//! Doing a payload's inner steps again, to see whether it states what they come to.

use crate::TrainerError;
use crate::text::WindowData;
use crate::trajectory::Trajectory;
use templar_base::{ContentHash, Window};
use templar_corpus::digest_of;
use templar_engine::{Buffer, Engine, OptimiserState, Segments};
use templar_gradient::{LengthMismatch, Metadata, WorkerRoots, rebase};

/// Where the steps of a payload began.
#[derive(Debug, Clone)]
pub struct ReplayStart {
    /// The worker's parameters then: the end point of its payload before; none where it began at the shared parameters.
    pub end_point: Option<Vec<f32>>,
    /// The shared parameters at the window's start.
    pub shared: Vec<f32>,
    /// The optimiser's state then.
    pub optimiser: OptimiserState,
}

/// What a payload's steps come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// The roots of the state after the last step.
    pub end: WorkerRoots,
    /// The root over the leaves of the start and of the state after each transition.
    pub trajectory_root: ContentHash,
    /// The digest of the batches.
    pub data_digest: ContentHash,
    /// Tokens of the batches.
    pub tokens: u64,
}

impl Replayed {
    /// Whether a payload states this.
    pub fn agrees_with(&self, metadata: &Metadata) -> bool {
        self.trajectory_root == metadata.trajectory_root
            && self.end == metadata.end
            && self.data_digest == metadata.data_digest
            && self.tokens == metadata.tokens_trained
    }
}

/// Steps that cannot be done again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The counts of steps contradict each other; the payload's author is at fault.
    #[error("{inner_steps} inner steps, of which {carried} carried and {before_rebase} before the rebase, cannot be")]
    Steps {
        /// Stated inner steps.
        inner_steps: u32,
        /// Of these on the window before.
        carried: u32,
        /// Of these before the last outcome.
        before_rebase: u32,
    },
    /// The data of a window is needed and was not given.
    #[error("the data of window {window} is needed")]
    NoData {
        /// The window.
        window: Window,
    },
    /// A step failed; with stated batches that do not exist, the payload's author is at fault.
    #[error(transparent)]
    Step(#[from] TrainerError),
}

/// What leads from one state of a trajectory to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// An inner step on a batch of the window before.
    Carried {
        /// The batch.
        batch: u32,
    },
    /// An inner step on a batch of the window.
    Own {
        /// The batch.
        batch: u32,
    },
    /// The worker is moved onto the window's shared parameters with what it has trained since its last payload.
    Rebase,
}

impl Transition {
    /// The transitions of a payload, in order: the n-th leads from the n-th leaf of its trajectory to the next one.
    pub fn all(metadata: &Metadata) -> Result<impl Iterator<Item = Self> + use<>, ReplayError> {
        let &Metadata {
            inner_steps, carried_steps: carried, steps_before_rebase: before_rebase, carried_start, ..
        } = metadata;
        if carried > inner_steps || before_rebase > inner_steps || carried_start.checked_add(carried).is_none() {
            return Err(ReplayError::Steps { inner_steps, carried, before_rebase });
        }
        let step = move |step: u32| match step.checked_sub(carried) {
            Some(batch) => Self::Own { batch },
            None => Self::Carried { batch: carried_start + step },
        };
        let rebase = (before_rebase > 0).then_some(Self::Rebase);
        Ok((0..before_rebase).map(step).chain(rebase).chain((before_rebase..inner_steps).map(step)))
    }
}

/// The text of a payload's steps.
#[derive(Clone, Copy)]
pub struct ReplayText<'a> {
    /// Of its window.
    pub data: &'a WindowData,
    /// Of the window before; needed where steps were carried.
    pub previous: Option<&'a WindowData>,
}

impl ReplayText<'_> {
    fn previous(&self) -> Result<&WindowData, ReplayError> {
        let window = self.data.window.previous().unwrap_or_default();
        self.previous.ok_or(ReplayError::NoData { window })
    }

    /// The digest of the batches that a payload states to have been trained on. Batches that do not exist are found here.
    pub fn digest(&self, metadata: &Metadata) -> Result<ContentHash, ReplayError> {
        let &Metadata { inner_steps, carried_steps: carried, carried_start, .. } = metadata;
        let own = inner_steps.saturating_sub(carried);
        let digest = |data: &WindowData, first, count| data.text.digest(first, count).map_err(TrainerError::from);
        let carried_digest = if carried > 0 { Some(digest(self.previous()?, carried_start, carried)?) } else { None };
        Ok(digest_of(carried_digest, digest(self.data, 0, own)?))
    }

    /// Does one transition on an engine that holds the state before it; `from` is where the worker's drift began. Gives
    /// the tokens of the batch.
    pub fn advance(
        &self,
        engine: &mut dyn Engine,
        transition: Transition,
        from: Option<&[f32]>,
        shared: &[f32],
    ) -> Result<u64, ReplayError> {
        let (data, batch) = match transition {
            Transition::Own { batch } => (self.data, batch),
            Transition::Carried { batch } => (self.previous()?, batch),
            Transition::Rebase => {
                move_on(engine, from, shared)?;
                return Ok(0);
            }
        };
        let batch = data.text.batch(batch).map_err(TrainerError::from)?;
        let tokens = (batch.sequences * batch.length) as u64;
        engine.train_step(&[batch], data.learning_rate).map_err(TrainerError::from)?;
        Ok(tokens)
    }
}

/// Does the inner steps that `metadata` states once more, from `start` on the data of its window and, where it carried
/// steps, of the window before. The engine is left at the steps' end point.
///
/// With the same numerics the result is the same to the bit, so a payload that states another was not made so.
pub fn replay(
    engine: &mut dyn Engine,
    start: ReplayStart,
    data: &WindowData,
    previous: Option<&WindowData>,
    metadata: &Metadata,
) -> Result<Replayed, ReplayError> {
    let text = ReplayText { data, previous };
    let transitions = Transition::all(metadata)?;
    // Before any step: batches that do not exist are found here.
    let data_digest = text.digest(metadata)?;
    load(engine, &start)?;
    let (mut trajectory, mut tokens) = (Trajectory::default(), 0u64);
    trajectory.add(engine).map_err(TrainerError::from)?;
    for transition in transitions {
        tokens += text.advance(engine, transition, start.end_point.as_deref(), &start.shared)?;
        match transition {
            Transition::Rebase => trajectory.add_rebased(engine).map_err(TrainerError::from)?,
            _ => _ = trajectory.add(engine).map_err(TrainerError::from)?,
        }
    }
    Ok(Replayed { end: trajectory.last(), trajectory_root: trajectory.root(), data_digest, tokens })
}

fn load(engine: &mut dyn Engine, start: &ReplayStart) -> Result<(), TrainerError> {
    let first = start.end_point.as_ref().unwrap_or(&start.shared);
    let expected = engine.layout().total();
    if let Some(actual) = [first.len(), start.shared.len()].into_iter().find(|actual| *actual != expected) {
        return Err(LengthMismatch { actual, expected }.into());
    }
    engine.write(Buffer::Parameters, 0, first)?;
    Ok(start.optimiser.put_into(engine)?)
}

/// Rebases onto the window's shared parameters, as the worker did when it applied the outcome before.
fn move_on(engine: &mut dyn Engine, from: Option<&[f32]>, shared: &[f32]) -> Result<(), TrainerError> {
    let Some(from) = from else { return Ok(()) };
    engine.change_segments(Buffer::Parameters, |first, x| {
        let range = first..first + x.len();
        Ok(rebase(x, &from[range.clone()], &shared[range])?)
    })
}
