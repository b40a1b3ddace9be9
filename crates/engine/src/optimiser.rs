//! The inner optimiser: its settings and its state.

use crate::EngineError;
use serde::{Deserialize, Serialize};
use templar_base::{ContentHash, MatrixOptimiser};

/// The settings of the inner optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OptimiserConfig {
    /// Decay of the first moment, in [0, 1).
    pub beta1: f32,
    /// Decay of the second moment, in [0, 1).
    pub beta2: f32,
    /// Added to the root of the second moment; positive.
    pub epsilon: f32,
    /// Share of a weight (times the learning rate) taken off each step; matrices only.
    pub weight_decay: f32,
    /// The gradient is scaled down to this L2 norm if it is longer; positive, infinite for no limit.
    pub clip_norm: f32,
    /// What moves the matrices of the layers; AdamW moves everything else. Muon has no settings of its own here.
    #[serde(default)]
    pub hidden_matrices: MatrixOptimiser,
}

impl Default for OptimiserConfig {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.1,
            clip_norm: 1.0,
            hidden_matrices: MatrixOptimiser::AdamW,
        }
    }
}

impl OptimiserConfig {
    /// Checks each setting's range.
    pub fn check(&self) -> Result<(), EngineError> {
        let share = |x: f32| (0.0..1.0).contains(&x);
        for (field, value, good, rule) in [
            ("beta1", self.beta1, share(self.beta1), "in [0, 1)"),
            ("beta2", self.beta2, share(self.beta2), "in [0, 1)"),
            ("epsilon", self.epsilon, self.epsilon > 0.0 && self.epsilon.is_finite(), "positive"),
            ("weight_decay", self.weight_decay, self.weight_decay >= 0.0 && self.weight_decay.is_finite(), "0 or more"),
            ("clip_norm", self.clip_norm, self.clip_norm > 0.0, "positive"),
        ] {
            if !good {
                return Err(EngineError::Optimiser { field, value, rule });
            }
        }
        Ok(())
    }
}

/// What the optimiser remembers between steps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OptimiserState {
    /// Number of steps taken.
    pub step: u64,
    /// Running mean of the gradient, in canonical order.
    pub first_moment: Vec<f32>,
    /// Running mean of the squared gradient, in canonical order; zero where Muon works.
    pub second_moment: Vec<f32>,
}

/// Bytes that are not an optimiser's state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptimiserStateError {
    /// Not made by [`OptimiserState::to_bytes`], or by another version.
    #[error("these bytes do not start as an optimiser state of this version does")]
    Magic,
    /// Too few or too many bytes.
    #[error("optimiser state of {parameters} parameters has {actual} bytes; it needs 24 + 8 for each parameter")]
    Length {
        /// Parameters that the head promises.
        parameters: u64,
        /// Length of the bytes.
        actual: usize,
    },
}

const MAGIC: &[u8; 8] = b"TPLRADM1";

impl OptimiserState {
    /// No step taken, for this many parameters.
    pub fn new(parameters: usize) -> Self {
        Self { step: 0, first_moment: vec![0.0; parameters], second_moment: vec![0.0; parameters] }
    }

    /// `TPLRADM1`, the step and the number of parameters (u64), both moments (f32); little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(24 + 8 * self.first_moment.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.step.to_le_bytes());
        bytes.extend_from_slice(&(self.first_moment.len() as u64).to_le_bytes());
        for moment in [&self.first_moment, &self.second_moment] {
            bytes.extend(moment.iter().flat_map(|value| value.to_le_bytes()));
        }
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OptimiserStateError> {
        let rest = bytes.strip_prefix(MAGIC.as_slice()).ok_or(OptimiserStateError::Magic)?;
        let (step, rest) = rest.split_first_chunk::<8>().ok_or(OptimiserStateError::Magic)?;
        let (count, rest) = rest.split_first_chunk::<8>().ok_or(OptimiserStateError::Magic)?;
        let parameters = u64::from_le_bytes(*count);
        if parameters.checked_mul(8) != Some(rest.len() as u64) {
            return Err(OptimiserStateError::Length { parameters, actual: bytes.len() });
        }
        let (first, second) = rest.split_at(rest.len() / 2);
        let values = |bytes: &[u8]| bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        Ok(Self { step: u64::from_le_bytes(*step), first_moment: values(first), second_moment: values(second) })
    }

    /// The digest of [`Self::to_bytes`].
    pub fn hash(&self) -> ContentHash {
        ContentHash::of(&self.to_bytes())
    }
}

/// `1 / (1 - beta^step)`: what a running mean that began at zero is multiplied by.
///
/// The power by squaring, since the standard library leaves the rounding of its own open.
pub(crate) fn bias_correction(beta: f32, step: u64) -> f32 {
    let (mut power, mut base, mut left) = (1.0f64, f64::from(beta), step);
    while left > 0 {
        if !left.is_multiple_of(2) {
            power *= base;
        }
        base *= base;
        left /= 2;
    }
    (1.0 / (1.0 - power)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn corrections_start_high_and_end_at_one() {
        assert!((bias_correction(0.9, 1) - 10.0).abs() < 1e-4);
        assert!((bias_correction(0.9, 2) - 1.0 / 0.19).abs() < 1e-4);
        assert_eq!(bias_correction(0.95, 100_000), 1.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_state_reads_back(step: u64, moments in proptest::collection::vec((any::<i32>(), any::<i32>()), 0..20)) {
            let state = OptimiserState {
                step,
                first_moment: moments.iter().map(|pair| pair.0 as f32).collect(),
                second_moment: moments.iter().map(|pair| pair.1 as f32).collect(),
            };
            let bytes = state.to_bytes();
            prop_assert_eq!(OptimiserState::from_bytes(&bytes), Ok(state));
            for cut in 0..bytes.len() {
                prop_assert!(OptimiserState::from_bytes(&bytes[..cut]).is_err());
            }
        }

        #[test]
        fn hostile_bytes_are_refused_without_harm(mut bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = OptimiserState::from_bytes(&bytes);
            bytes.splice(0..0, MAGIC.iter().copied());
            let _ = OptimiserState::from_bytes(&bytes);
        }
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let bad = OptimiserConfig { beta2: 1.0, ..Default::default() };
        assert_eq!(bad.check().unwrap_err().to_string(), "optimiser setting `beta2` is 1; it must be in [0, 1)");
    }
}
