//! Rating: a Kalman filter on the logarithm of a miner's share of what a window brought.

use serde::{Deserialize, Serialize};

/// A standard deviation of about a factor of e: what is known of a newcomer.
const FIRST_VARIANCE: f64 = 1.0;
/// Nobody is less known than this; so absences do not pile up for ever.
const MAX_VARIANCE: f64 = 4.0;

/// What is believed of a miner's log-share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rating {
    /// Mean of the log-share.
    pub mean: f64,
    /// Its variance.
    pub variance: f64,
}

impl Rating {
    /// The rating of a miner of whom nothing is known, among `miners`: an equal share.
    pub fn newcomer(miners: usize) -> Self {
        Self { mean: -libm::log(miners.max(1) as f64), variance: FIRST_VARIANCE }
    }

    /// One window goes by: what was known becomes less sure.
    pub fn predict(&mut self, process_noise: f64) {
        self.variance = (self.variance + process_noise).min(MAX_VARIANCE);
    }

    /// A share was measured. `share` is over 0; `relative_error` is its standard error divided by it, which is the
    /// standard error of its logarithm.
    pub fn observe(&mut self, share: f64, relative_error: f64) {
        // A relative error under one part in a thousand would freeze the filter; none is known that well.
        let noise = (relative_error * relative_error).max(1e-6);
        let gain = self.variance / (self.variance + noise);
        self.mean += gain * (libm::log(share) - self.mean);
        self.variance *= 1.0 - gain;
    }

    /// The rating that counts: mean minus two standard deviations.
    pub fn value(&self) -> f64 {
        self.mean - 2.0 * self.variance.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rating_approaches_the_share_that_is_measured() {
        let mut rating = Rating::newcomer(4);
        let first = rating.value();
        for _ in 0..30 {
            rating.predict(0.01);
            rating.observe(0.5, 0.1);
        }
        assert!((rating.mean - 0.5f64.ln()).abs() < 0.01);
        assert!(rating.value() > first);
    }

    #[test]
    fn absence_costs_rating_without_a_cliff() {
        let mut rating = Rating { mean: -1.0, variance: 0.01 };
        let mut last = rating.value();
        for _ in 0..5 {
            rating.predict(0.02);
            assert!(rating.value() < last && rating.value() > last - 0.2);
            last = rating.value();
        }
    }
}
