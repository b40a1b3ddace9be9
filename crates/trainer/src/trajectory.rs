//! What binds a payload to the steps that made it.

use templar_base::{ContentHash, StateHash};
use templar_engine::{Buffer, Engine, EngineError, SEGMENT, Segments, hash_optimiser};
use templar_gradient::{STATE_SEGMENT_VALUES, StateHasher};

// The engine is read in the segments that are hashed, so that none is copied twice.
const _: () = assert!(SEGMENT == STATE_SEGMENT_VALUES);

/// The state hashes of the parameters after each inner step, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trajectory(blake3::Hasher);

impl Trajectory {
    /// Adds the parameters after a step.
    pub(crate) fn add(&mut self, engine: &mut dyn Engine) -> Result<(), EngineError> {
        self.0.update(parameters_hash(engine)?.as_bytes());
        Ok(())
    }

    /// The root over all steps and the optimiser's state at their end.
    pub(crate) fn root(&self, engine: &mut dyn Engine) -> Result<ContentHash, EngineError> {
        let mut hasher = self.0.clone();
        hasher.update(hash_optimiser(engine)?.as_bytes());
        Ok(ContentHash::new(*hasher.finalize().as_bytes()))
    }
}

/// The state hash of an engine's parameters, with one segment in memory.
fn parameters_hash(engine: &mut dyn Engine) -> Result<StateHash, EngineError> {
    let mut hasher = StateHasher::new(engine.layout().total(), 0);
    engine.for_each_segment(Buffer::Parameters, |_, values| {
        hasher.add(values);
        Ok::<(), EngineError>(())
    })?;
    // All parameters were added.
    Ok(hasher.finish().map(|tree| tree.root()).unwrap_or_default())
}
