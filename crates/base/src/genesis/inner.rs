//! What a miner does with its batches.

use super::problem::{Checks, Problem};
use crate::Window;
use serde::{Deserialize, Serialize};

/// What moves the matrices within the layers. Embedding, output head and norms are moved by AdamW in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MatrixOptimiser {
    /// AdamW like the rest.
    #[default]
    AdamW,
    /// Along the momentum made orthogonal.
    Muon,
}

/// What a miner does with its batches: AdamW with these constants, or Muon beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InnerOptimiser {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Decoupled decay of the matrices.
    pub weight_decay: f32,
    /// Largest global norm of a gradient.
    pub clip_norm: f32,
    /// What moves the matrices within the layers; AdamW where a document does not name it.
    #[serde(default)]
    pub hidden_matrices: MatrixOptimiser,
    /// Learning rate by window.
    pub schedule: InnerSchedule,
}

/// How the learning rate falls from the peak to a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateDecay {
    /// By the same amount in each window: for a run whose length is known.
    #[default]
    Linear,
    /// As one over the root of the windows: fast at first, then ever more slowly. The rate suits the progress whenever a
    /// run is stopped: for a run without an end.
    InverseRoot,
}

/// Learning rate by window: linear warm-up, flat, then a decay to a part of the peak.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InnerSchedule {
    /// Highest learning rate.
    pub peak: f32,
    /// Windows until the peak.
    pub warm_up_windows: u64,
    /// First window of the decay.
    pub decay_from_window: u64,
    /// Last window of the decay; the rate stays at `final_share` of the peak from here on.
    pub decay_to_window: u64,
    /// Part of the peak at the end.
    pub final_share: f32,
    /// How the rate falls; linearly where a document does not say.
    #[serde(default)]
    pub decay: RateDecay,
}

impl InnerSchedule {
    /// What cannot be used.
    fn check(&self, checks: &mut Checks) {
        let is_rate = |x: f32| x.is_finite() && x > 0.0;
        checks.require("schedule.peak", self.peak, is_rate(self.peak) && self.peak < 1.0, "over 0 and under 1");
        checks.range("schedule.final_share", self.final_share, 0.0..=1.0);
        checks.require(
            "schedule.final_share",
            self.final_share,
            self.decay == RateDecay::Linear || self.final_share > 0.0,
            "over 0 for a decay by the inverse root",
        );
        checks.at_least("schedule.decay_to_window", self.decay_to_window, self.decay_from_window);
    }

    /// The learning rate of every inner step of `window`.
    pub fn learning_rate(&self, window: Window) -> f32 {
        if window.get() < self.warm_up_windows {
            return self.peak * (window.next().get() as f32 / self.warm_up_windows as f32);
        }
        let span = self.decay_to_window.saturating_sub(self.decay_from_window);
        let done = window.windows_since(Window::new(self.decay_from_window)).min(span);
        if span == 0 || done == 0 {
            return self.peak;
        }
        let (progress, last) = (done as f32 / span as f32, self.final_share);
        match self.decay {
            RateDecay::Linear => self.peak * (1.0 - progress * (1.0 - last)),
            // 1 / √(1 + c·progress), with the c that leads to `last`. A root and a division are exact to the last bit on
            // every machine, like the operations above.
            RateDecay::InverseRoot => self.peak * (last / (last * last + progress * (1.0 - last * last)).sqrt()),
        }
    }
}

impl Default for InnerOptimiser {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.1,
            clip_norm: 1.0,
            hidden_matrices: MatrixOptimiser::AdamW,
            schedule: InnerSchedule::default(),
        }
    }
}

impl Default for InnerSchedule {
    fn default() -> Self {
        Self {
            peak: 2e-3,
            warm_up_windows: 2,
            decay_from_window: 200,
            decay_to_window: 1_000,
            final_share: 0.1,
            decay: RateDecay::Linear,
        }
    }
}

impl InnerOptimiser {
    /// What cannot be used.
    pub fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks::of("inner");
        checks.range("beta1", self.beta1, 0.0..=1.0);
        checks.range("beta2", self.beta2, 0.0..=1.0);
        checks.positive("epsilon", f64::from(self.epsilon));
        checks.range("weight_decay", self.weight_decay, 0.0..=1.0);
        checks.positive("clip_norm", f64::from(self.clip_norm));
        self.schedule.check(&mut checks);
        checks.into_problems()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_rises_stays_and_falls() {
        let schedule = InnerSchedule {
            peak: 1.0,
            warm_up_windows: 4,
            decay_from_window: 10,
            decay_to_window: 20,
            final_share: 0.5,
            decay: RateDecay::Linear,
        };
        let rates: Vec<f32> = [0, 3, 4, 10, 15, 20, 1_000].map(|w| schedule.learning_rate(Window::new(w))).to_vec();
        assert_eq!(rates, [0.25, 1.0, 1.0, 1.0, 0.75, 0.5, 0.5]);
    }
    #[test]
    fn the_inverse_root_falls_fast_at_first_and_ends_at_the_same_rate() {
        let schedule = InnerSchedule {
            peak: 1.0,
            warm_up_windows: 2,
            decay_from_window: 10,
            decay_to_window: 1_000,
            final_share: 0.1,
            decay: RateDecay::InverseRoot,
        };
        let rate = |window| schedule.learning_rate(Window::new(window));
        assert_eq!([rate(0), rate(1), rate(10), rate(1_000), rate(100_000)], [0.5, 1.0, 1.0, 0.1, 0.1]);
        // Thirty windows of 990 are three 99ths: one over the root of four.
        assert!((rate(40) - 0.5).abs() < 1e-6, "{}", rate(40));
        assert!((10..1_000).all(|window| rate(window) > rate(window + 1)));
    }
}
