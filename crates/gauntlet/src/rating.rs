//! Rating: a Kalman filter on what a miner brings, in shares of what the window brought; 1 is an equal share.

use serde::{Deserialize, Serialize};

/// What is known of a newcomer: nothing, give or take an equal share.
const FIRST: Rating = Rating { mean: 0.0, variance: 1.0 };
/// Nobody is less known than this; so absences do not pile up for ever.
const MAX_VARIANCE: f64 = 4.0;
/// A share beyond this is taken for this much: one window must not outweigh all others.
const MAX_SHARE: f64 = 4.0;
/// No share is known better than to one part in a thousand: a filter that was surer would freeze.
const LEAST_NOISE: f64 = 1e-6;

/// What is believed of a miner's share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rating {
    /// Mean of the share; 1 is an equal share.
    pub mean: f64,
    /// Its variance.
    pub variance: f64,
}

impl Rating {
    /// The rating of a miner of which nothing is known.
    pub fn newcomer() -> Self {
        FIRST
    }

    /// One window goes by: what was known becomes less sure.
    pub fn predict(&mut self, process_noise: f64) {
        self.variance = (self.variance + process_noise).min(MAX_VARIANCE);
    }

    /// A share was measured, with its standard error.
    pub fn observe(&mut self, share: f64, error: f64) {
        let noise = (error * error).max(LEAST_NOISE);
        let gain = self.variance / (self.variance + noise);
        self.mean += gain * (share.clamp(-MAX_SHARE, MAX_SHARE) - self.mean);
        self.variance *= 1.0 - gain;
    }

    /// What is paid by: mean minus one standard deviation, nothing where that is under zero. Noise, whose error is as large
    /// as what a miner brings, earns next to nothing.
    pub fn pay(&self) -> f64 {
        (self.mean - self.variance.sqrt()).max(0.0)
    }

    /// The rating that selects: mean minus two standard deviations.
    pub fn value(&self) -> f64 {
        self.mean - 2.0 * self.variance.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rating_approaches_the_share_that_is_measured() {
        let mut rating = Rating::newcomer();
        let first = rating.value();
        for _ in 0..30 {
            rating.predict(0.01);
            rating.observe(0.5, 0.05);
        }
        assert!((rating.mean - 0.5).abs() < 0.01);
        assert!(rating.value() > first);
    }

    #[test]
    fn absence_costs_rating_without_a_cliff() {
        let mut rating = Rating { mean: 1.0, variance: 0.01 };
        let mut last = rating.value();
        for _ in 0..5 {
            rating.predict(0.02);
            assert!(rating.value() < last && rating.value() > last - 0.2);
            last = rating.value();
        }
    }

    #[test]
    fn noise_takes_a_rating_in_a_few_windows_even_where_each_window_says_little() {
        let mut rating = Rating { mean: 1.0, variance: 0.05 };
        let windows = (1..100).find(|_| {
            rating.predict(0.02);
            rating.observe(0.0, 0.6);
            rating.mean < 0.2
        });
        assert!(windows.is_some_and(|windows| windows <= 12), "{windows:?}");
    }
}
