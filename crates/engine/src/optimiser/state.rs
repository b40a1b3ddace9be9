//! The optimiser's state: of an engine to a file and back, segment by segment, or as a copy on the host.
//!
//! The format: `TPLRADM1`, the step and the number of parameters (u64), both moments (f32); little-endian.

use crate::{Buffer, Engine, EngineError, SEGMENT, Segments};
use std::io::{self, Read, Write};
use templar_base::ContentHash;

const MAGIC: &[u8; 8] = b"TPLRADM1";

/// Bytes before the moments.
const HEAD: usize = 24;

const MOMENTS: [Buffer; 2] = [Buffer::FirstMoment, Buffer::SecondMoment];

/// An optimiser's state that could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptimiserStateError {
    /// Not made by [`write_optimiser`], or by another version.
    #[error("these bytes do not start as an optimiser state of this version does; the file is at fault")]
    Magic,
    /// The state is of another model.
    #[error("the optimiser state has {actual} parameters where the model has {expected}; the file is at fault")]
    Parameters {
        /// Parameters that the state has.
        actual: u64,
        /// Parameters of the model.
        expected: u64,
    },
    /// The bytes could not be read or written; at an unexpected end of file, they are too few.
    #[error("the optimiser state cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// The engine could not be read or written.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Writes the state of an engine's optimiser.
pub fn write_optimiser(engine: &mut dyn Engine, to: &mut dyn Write) -> Result<(), OptimiserStateError> {
    pieces(engine, |bytes| Ok::<(), OptimiserStateError>(to.write_all(bytes)?))
}

/// The digest of what [`write_optimiser`] writes.
pub fn hash_optimiser(engine: &mut dyn Engine) -> Result<ContentHash, EngineError> {
    let mut hasher = blake3::Hasher::new();
    pieces(engine, |bytes| {
        hasher.update(bytes);
        Ok::<(), EngineError>(())
    })?;
    Ok(ContentHash::new(*hasher.finalize().as_bytes()))
}

/// The bytes of the state, piece by piece.
fn pieces<E: From<EngineError>>(engine: &mut dyn Engine, mut put: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(MAGIC);
    head[8..16].copy_from_slice(&engine.optimiser_step().to_le_bytes());
    head[16..].copy_from_slice(&(engine.layout().total() as u64).to_le_bytes());
    put(&head)?;
    let mut bytes = Vec::new();
    for moment in MOMENTS {
        engine.for_each_segment(moment, |_, values| {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            put(&bytes)
        })?;
    }
    Ok(())
}

/// Reads what [`write_optimiser`] wrote for a model of these sizes into an engine, up to the end of the state. After an
/// error some of the engine's moments may be overwritten: reset its optimiser.
pub fn read_optimiser(engine: &mut dyn Engine, from: &mut dyn Read) -> Result<(), OptimiserStateError> {
    let mut head = [0; HEAD];
    from.read_exact(&mut head)?;
    let word = |start: usize| u64::from_le_bytes(std::array::from_fn(|index| head[start + index]));
    if !head.starts_with(MAGIC) {
        return Err(OptimiserStateError::Magic);
    }
    let (step, actual, expected) = (word(8), word(16), engine.layout().total() as u64);
    if actual != expected {
        return Err(OptimiserStateError::Parameters { actual, expected });
    }
    let mut bytes = vec![0; 4 * engine.layout().total().min(SEGMENT)];
    for moment in MOMENTS {
        engine.fill_segments(moment, |_, values| {
            let bytes = &mut bytes[..4 * values.len()];
            from.read_exact(bytes)?;
            let words = bytes.as_chunks::<4>().0;
            values.iter_mut().zip(words).for_each(|(value, word)| *value = f32::from_le_bytes(*word));
            Ok::<(), OptimiserStateError>(())
        })?;
    }
    Ok(engine.set_optimiser_step(step)?)
}

/// A copy of an optimiser's state on the host, for simulations in which one engine plays several workers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OptimiserState {
    /// Number of steps taken.
    pub step: u64,
    /// Running mean of the gradient, in canonical order.
    pub first_moment: Vec<f32>,
    /// Running mean of the squared gradient, in canonical order; zero where Muon works.
    pub second_moment: Vec<f32>,
}

impl OptimiserState {
    /// No step taken, for this many parameters.
    pub fn new(parameters: usize) -> Self {
        Self { step: 0, first_moment: vec![0.0; parameters], second_moment: vec![0.0; parameters] }
    }

    /// The state of an engine's optimiser.
    pub fn of(engine: &mut dyn Engine) -> Result<Self, EngineError> {
        Ok(Self {
            step: engine.optimiser_step(),
            first_moment: engine.to_vec(Buffer::FirstMoment)?,
            second_moment: engine.to_vec(Buffer::SecondMoment)?,
        })
    }

    /// Puts the state into an engine of as many parameters.
    pub fn put_into(&self, engine: &mut dyn Engine) -> Result<(), EngineError> {
        let total = engine.layout().total();
        for (what, moment) in [(Buffer::FirstMoment, &self.first_moment), (Buffer::SecondMoment, &self.second_moment)] {
            if moment.len() != total {
                return Err(EngineError::Range { what, start: 0, len: moment.len(), total });
            }
        }
        engine.write(Buffer::FirstMoment, 0, &self.first_moment)?;
        engine.write(Buffer::SecondMoment, 0, &self.second_moment)?;
        engine.set_optimiser_step(self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CpuBackend, DeviceName, OpenRequest, open, preset};
    use proptest::prelude::*;
    use templar_base::ModelConfig;

    fn engine() -> Box<dyn Engine> {
        let config = ModelConfig {
            hidden_size: 4,
            intermediate_size: 2,
            num_hidden_layers: 1,
            head_dim: 2,
            ..preset("nano", 3).unwrap()
        };
        open(&DeviceName::cpu(), &[&CpuBackend], OpenRequest::new(config)).unwrap()
    }

    fn bytes_of(engine: &mut dyn Engine) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_optimiser(engine, &mut bytes).unwrap();
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn a_state_reads_back(step: u64, first: i32, second: i32) {
            let mut engine = engine();
            let moment = |seed: i32| (0..engine.layout().total() as i32).map(|at| (seed ^ at) as f32).collect();
            let state = OptimiserState { step, first_moment: moment(first), second_moment: moment(second) };
            state.put_into(engine.as_mut()).unwrap();
            let bytes = bytes_of(engine.as_mut());
            prop_assert_eq!(bytes.len(), HEAD + 8 * engine.layout().total());
            prop_assert_eq!(hash_optimiser(engine.as_mut()).unwrap(), ContentHash::of(&bytes));
            let mut other = self::engine();
            read_optimiser(other.as_mut(), &mut bytes.as_slice()).unwrap();
            prop_assert_eq!(OptimiserState::of(other.as_mut()).unwrap(), state);
            for cut in 0..bytes.len() {
                prop_assert!(read_optimiser(other.as_mut(), &mut &bytes[..cut]).is_err());
            }
        }

        #[test]
        fn hostile_bytes_are_rejected_without_harm(mut bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut engine = engine();
            prop_assert!(read_optimiser(engine.as_mut(), &mut bytes.as_slice()).is_err());
            bytes.splice(0..0, MAGIC.iter().copied());
            prop_assert!(read_optimiser(engine.as_mut(), &mut bytes.as_slice()).is_err());
        }
    }

    #[test]
    fn a_state_of_another_model_is_rejected() {
        let mut engine = engine();
        assert!(OptimiserState::new(3).put_into(engine.as_mut()).is_err());
        let mut bytes = bytes_of(engine.as_mut());
        bytes[16] ^= 1;
        let error = read_optimiser(engine.as_mut(), &mut bytes.as_slice()).unwrap_err();
        assert!(error.to_string().contains("parameters where the model has"), "{error}");
    }
}
