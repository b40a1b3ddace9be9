//! The inner optimiser: its settings and its state.

mod state;

pub use state::{OptimiserState, OptimiserStateError, hash_optimiser, read_optimiser, write_optimiser};

use crate::EngineError;
use serde::{Deserialize, Serialize};
use templar_base::MatrixOptimiser;

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

    #[test]
    fn corrections_start_high_and_end_at_one() {
        assert!((bias_correction(0.9, 1) - 10.0).abs() < 1e-4);
        assert!((bias_correction(0.9, 2) - 1.0 / 0.19).abs() < 1e-4);
        assert_eq!(bias_correction(0.95, 100_000), 1.0);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let bad = OptimiserConfig { beta2: 1.0, ..Default::default() };
        assert_eq!(bad.check().unwrap_err().to_string(), "optimiser setting `beta2` is 1; it must be in [0, 1)");
    }
}
