//! What binds a payload to the steps that made it: a root over the worker's state before, between and after them.
//!
//! Each state is hashed whole. A sample of it would be cheaper, but a state that is bound by a sample only cannot be
//! handed to a third party as the state before a false step: whoever accuses could choose the rest of it.

use templar_base::{ContentHash, StateHash};
use templar_engine::{Buffer, Engine, EngineError, SEGMENT, Segments};
use templar_gradient::{STATE_SEGMENT_VALUES, StateHasher, WorkerRoots, optimiser_root, trajectory_tree};

// The engine is read in the segments that are hashed, so that none is copied twice.
const _: () = assert!(SEGMENT == STATE_SEGMENT_VALUES);

/// The roots of a worker's states in a window: at the start, after each inner step, and after the rebase between.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trajectory {
    start: WorkerRoots,
    last: WorkerRoots,
    leaves: Vec<ContentHash>,
}

impl Trajectory {
    /// Adds the state at hand.
    pub(crate) fn add(&mut self, engine: &mut dyn Engine) -> Result<WorkerRoots, EngineError> {
        let roots = worker_roots(engine)?;
        self.push(roots);
        Ok(roots)
    }

    /// Adds the state at hand, after a rebase: the optimiser's state is the one of before.
    pub(crate) fn add_rebased(&mut self, engine: &mut dyn Engine) -> Result<(), EngineError> {
        let parameters = buffer_root(engine, Buffer::Parameters)?;
        self.push(WorkerRoots { parameters, ..self.last });
        Ok(())
    }

    fn push(&mut self, roots: WorkerRoots) {
        if self.leaves.is_empty() {
            self.start = roots;
        }
        self.last = roots;
        self.leaves.push(roots.leaf());
    }

    pub(crate) fn start(&self) -> WorkerRoots {
        self.start
    }

    pub(crate) fn last(&self) -> WorkerRoots {
        self.last
    }

    /// The leaves of all states, in order.
    pub(crate) fn leaves(&self) -> &[ContentHash] {
        &self.leaves
    }

    /// The root over all states; zero where there are none.
    pub(crate) fn root(&self) -> ContentHash {
        trajectory_tree(&self.leaves).map(|tree| tree.root()).unwrap_or_default()
    }
}

/// The roots of the parameters and the optimiser's state of an engine, with one segment in memory.
pub fn worker_roots(engine: &mut dyn Engine) -> Result<WorkerRoots, EngineError> {
    let parameters = buffer_root(engine, Buffer::Parameters)?;
    let first = buffer_root(engine, Buffer::FirstMoment)?;
    let second = buffer_root(engine, Buffer::SecondMoment)?;
    Ok(WorkerRoots { parameters, optimiser: optimiser_root(engine.optimiser_step(), first, second) })
}

/// The state root of one of an engine's buffers.
fn buffer_root(engine: &mut dyn Engine, buffer: Buffer) -> Result<StateHash, EngineError> {
    let mut hasher = StateHasher::new(engine.layout().total(), 0);
    engine.for_each_segment(buffer, |_, values| {
        hasher.add(values);
        Ok::<(), EngineError>(())
    })?;
    // All values were added.
    Ok(hasher.finish().map(|tree| tree.root()).unwrap_or_default())
}
