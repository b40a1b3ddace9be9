//! The learning rate of each step.

use serde::{Deserialize, Serialize};

/// How the learning rate runs after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// It stays at the peak.
    Constant,
    /// Half a cosine wave from the peak to the final rate.
    Cosine,
    /// A straight line from the peak to the final rate.
    Linear,
}

/// The learning rate as a function of the step: warm-up, then flat, then decay, then the final rate.
///
/// ```
/// use templar_engine::{Decay, Schedule};
///
/// let schedule =
///     Schedule { peak: 1e-3, warmup_steps: 10, flat_steps: 0, total_steps: 110, final_share: 0.5, decay: Decay::Linear };
/// assert_eq!(schedule.learning_rate(4), 5e-4);
/// assert_eq!(schedule.learning_rate(10), 1e-3);
/// assert_eq!(schedule.learning_rate(1000), 5e-4);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The highest rate.
    pub peak: f32,
    /// Steps in which the rate grows evenly to the peak; step 0 has a share of it already.
    pub warmup_steps: u64,
    /// Steps at the peak before the decay starts.
    pub flat_steps: u64,
    /// The step at which the decay has ended, counted from the first.
    pub total_steps: u64,
    /// The final rate, as a share of the peak.
    pub final_share: f32,
    /// The shape of the decay.
    pub decay: Decay,
}

impl Schedule {
    /// A rate that never changes.
    pub fn constant(rate: f32) -> Self {
        Self { peak: rate, warmup_steps: 0, flat_steps: 0, total_steps: 0, final_share: 1.0, decay: Decay::Constant }
    }

    /// The rate of this step; steps count from 0.
    pub fn learning_rate(&self, step: u64) -> f32 {
        let peak = f64::from(self.peak);
        if step < self.warmup_steps {
            return (peak * (step as f64 + 1.0) / self.warmup_steps as f64) as f32;
        }
        let decay_start = self.warmup_steps.saturating_add(self.flat_steps);
        if self.decay == Decay::Constant || step < decay_start {
            return self.peak;
        }
        let last = peak * f64::from(self.final_share);
        if step >= self.total_steps {
            return last as f32;
        }
        let done = (step - decay_start) as f64 / (self.total_steps - decay_start) as f64;
        let left = match self.decay {
            Decay::Cosine => 0.5 * (1.0 + libm::cos(std::f64::consts::PI * done)),
            _ => 1.0 - done,
        };
        (last + (peak - last) * left) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(decay: Decay) -> Schedule {
        Schedule { peak: 1.0, warmup_steps: 4, flat_steps: 6, total_steps: 30, final_share: 0.0, decay }
    }

    #[test]
    fn the_rate_rises_stays_and_falls() {
        for decay in [Decay::Cosine, Decay::Linear] {
            let schedule = schedule(decay);
            assert_eq!(schedule.learning_rate(0), 0.25);
            assert_eq!(schedule.learning_rate(3), 1.0);
            assert_eq!(schedule.learning_rate(10), 1.0);
            assert!((schedule.learning_rate(20) - 0.5).abs() < 1e-6);
            assert_eq!(schedule.learning_rate(30), 0.0);
            let falling = (10..30).all(|step| schedule.learning_rate(step) > schedule.learning_rate(step + 1));
            assert!(falling);
        }
        assert_eq!(schedule(Decay::Constant).learning_rate(1000), 1.0);
    }

    #[test]
    fn lengths_that_contradict_each_other_do_not_panic() {
        let mut schedule = schedule(Decay::Linear);
        schedule.total_steps = 3;
        schedule.flat_steps = u64::MAX;
        assert_eq!(schedule.learning_rate(u64::MAX), 0.0);
        schedule.flat_steps = 0;
        assert_eq!(schedule.learning_rate(4), 0.0);
    }
}
