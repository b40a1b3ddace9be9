//! Doing a payload's inner steps again, to see whether it states what they come to.

use crate::TrainerError;
use crate::text::WindowData;
use crate::trajectory::Trajectory;
use templar_base::{ContentHash, Window};
use templar_corpus::digest_of;
use templar_engine::{Buffer, Engine, OptimiserState, Segments};
use templar_gradient::{LengthMismatch, Metadata, rebase};

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
    /// The root over the digests of the parameters after each step and of the optimiser's state at the end.
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
    let &Metadata { inner_steps, carried_steps: carried, steps_before_rebase: before_rebase, carried_start, .. } =
        metadata;
    let Some(own) = inner_steps.checked_sub(carried).filter(|_| before_rebase <= inner_steps) else {
        return Err(ReplayError::Steps { inner_steps, carried, before_rebase });
    };
    let window_before = || ReplayError::NoData { window: data.window.previous().unwrap_or_default() };
    let carried_data = if carried > 0 { Some(previous.ok_or_else(window_before)?) } else { None };
    // Before any step: batches that do not exist are found here.
    let digest = |data: &WindowData, first, count| data.text.digest(first, count).map_err(TrainerError::from);
    let carried_digest = carried_data.map(|data| digest(data, carried_start, carried)).transpose()?;
    let data_digest = digest_of(carried_digest, digest(data, 0, own)?);
    load(engine, &start)?;
    let carried_batches =
        carried_data.into_iter().flat_map(|data| (0..carried).map(move |i| (data, carried_start.saturating_add(i))));
    let batches = carried_batches.chain((0..own).map(|batch| (data, batch)));
    let (mut trajectory, mut tokens) = (Trajectory::default(), 0u64);
    for (step, (data, number)) in (0..).zip(batches) {
        if step == before_rebase {
            move_on(engine, &start)?;
        }
        let batch = data.text.batch(number).map_err(TrainerError::from)?;
        tokens += (batch.sequences * batch.length) as u64;
        engine.train_step(&[batch], data.learning_rate).map_err(TrainerError::from)?;
        trajectory.add(engine).map_err(TrainerError::from)?;
    }
    if before_rebase == inner_steps {
        move_on(engine, &start)?;
    }
    let trajectory_root = trajectory.root(engine).map_err(TrainerError::from)?;
    Ok(Replayed { trajectory_root, data_digest, tokens })
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
fn move_on(engine: &mut dyn Engine, start: &ReplayStart) -> Result<(), TrainerError> {
    let Some(end_point) = &start.end_point else { return Ok(()) };
    engine.change_segments(Buffer::Parameters, |first, x| {
        let range = first..first + x.len();
        Ok(rebase(x, &end_point[range.clone()], &start.shared[range])?)
    })
}
