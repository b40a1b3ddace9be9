//! States by which an audit starts, and their roots.

use parity_scale_codec::{Decode, Encode};
use templar_base::{ContentHash, StateHash};
use templar_engine::{Buffer, Engine, EngineError, OptimiserState, Segments};
use templar_gradient::{OuterState, StateTree, WorkerRoots, optimiser_root, state_hash};

/// What a worker trains with: its parameters and its optimiser's state.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct WorkerState {
    /// The parameters.
    pub parameters: Vec<f32>,
    /// Steps that the moments stand for.
    pub step: u64,
    /// The first moment.
    pub first: Vec<f32>,
    /// The second moment.
    pub second: Vec<f32>,
}

impl WorkerState {
    /// A copy of what an engine holds.
    pub fn of(engine: &mut dyn Engine) -> Result<Self, EngineError> {
        let OptimiserState { step, first_moment: first, second_moment: second } = OptimiserState::of(engine)?;
        Ok(Self { parameters: engine.to_vec(Buffer::Parameters)?, step, first, second })
    }

    /// These parameters with an optimiser that has done no step.
    pub fn fresh(parameters: Vec<f32>) -> Self {
        let zeros = vec![0.0; parameters.len()];
        Self { parameters, step: 0, first: zeros.clone(), second: zeros }
    }

    /// The roots that metadata names.
    pub fn roots(&self) -> WorkerRoots {
        WorkerRoots { parameters: state_hash(&self.parameters), optimiser: self.optimiser_root() }
    }

    /// The root of the optimiser's state.
    pub fn optimiser_root(&self) -> ContentHash {
        optimiser_root(self.step, state_hash(&self.first), state_hash(&self.second))
    }

    /// Whether all buffers have this many values.
    pub fn has_length(&self, parameters: usize) -> bool {
        [&self.parameters, &self.first, &self.second].iter().all(|values| values.len() == parameters)
    }

    /// Puts the state into an engine of as many parameters.
    pub fn put_into(&self, engine: &mut dyn Engine) -> Result<(), EngineError> {
        engine.write(Buffer::Parameters, 0, &self.parameters)?;
        engine.write(Buffer::FirstMoment, 0, &self.first)?;
        engine.write(Buffer::SecondMoment, 0, &self.second)?;
        engine.set_optimiser_step(self.step)
    }
}

/// The segment hashes of a shared state: enough for its state root and for the root of its parameters alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct StateHashes {
    /// Number of values of the momentum; 0 where there is none.
    pub momentum: u64,
    /// Hashes of the parameters' segments.
    pub parameters: Vec<ContentHash>,
    /// Hashes of the momentum's segments.
    pub of_momentum: Vec<ContentHash>,
}

impl StateHashes {
    /// Those of a shared state.
    pub fn of(state: &OuterState) -> Self {
        let mut parameters = state.tree().hashes().to_vec();
        let of_momentum = parameters.split_off(state.params.len().div_ceil(templar_gradient::STATE_SEGMENT_VALUES));
        Self { momentum: state.momentum.len() as u64, parameters, of_momentum }
    }

    /// The state root of a model of this many parameters; none where the hashes are of another size.
    pub fn state_root(&self, parameters: usize) -> Option<StateHash> {
        let momentum = usize::try_from(self.momentum).ok().filter(|momentum| [0, parameters].contains(momentum))?;
        let hashes = [self.parameters.as_slice(), &self.of_momentum].concat();
        Some(StateTree::from_hashes(parameters, momentum, hashes)?.root())
    }

    /// The state root that the parameters alone have.
    pub fn parameters_root(&self, parameters: usize) -> Option<StateHash> {
        Some(StateTree::from_hashes(parameters, 0, self.parameters.clone())?.root())
    }
}

/// Shared parameters with what ties them to an agreed state root.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct SharedPoint {
    /// The parameters.
    pub parameters: Vec<f32>,
    /// Number of values of the momentum; 0 where there is none.
    pub momentum: u64,
    /// Hashes of the momentum's segments.
    pub of_momentum: Vec<ContentHash>,
}

impl SharedPoint {
    /// That of a shared state.
    pub fn of(state: &OuterState) -> Self {
        let StateHashes { momentum, of_momentum, .. } = StateHashes::of(state);
        Self { parameters: state.params.clone(), momentum, of_momentum }
    }

    /// The hashes of its segments.
    pub fn hashes(&self) -> StateHashes {
        let parameters = StateTree::of(&self.parameters, &[]).hashes().to_vec();
        StateHashes { momentum: self.momentum, parameters, of_momentum: self.of_momentum.clone() }
    }

    /// Its state root; none where the hashes are of another size.
    pub fn state_root(&self) -> Option<StateHash> {
        self.hashes().state_root(self.parameters.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_with_hashes_of_its_momentum_has_the_state_root() {
        let params: Vec<f32> = (0..2_000_000).map(|i| i as f32).collect();
        for momentum in [Vec::new(), params.iter().map(|value| value * 0.5).collect()] {
            let state = OuterState { params: params.clone(), momentum };
            let point = SharedPoint::of(&state);
            assert_eq!(point.state_root(), Some(state.hash()));
            assert_eq!(point.hashes(), StateHashes::of(&state));
            assert_eq!(point.hashes().parameters_root(params.len()), Some(state_hash(&params)));
            assert_eq!(StateHashes::of(&state).state_root(5), None);
        }
    }
}
