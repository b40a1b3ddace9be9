//! How often and after which pauses something is tried again.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use templar_base::AtFault;

use crate::{BucketError, BucketOptions};

/// The retries that one call, or all parts of one transfer together, may still make. A server that fails every part
/// once is then told from one that failed a single part often: neither is asked without end.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    most: u32,
    used: AtomicU32,
    first_pause: Duration,
    longest_pause: Duration,
}

impl RetryBudget {
    /// As many retries as the options allow for one call.
    pub(crate) fn new(options: &BucketOptions) -> Self {
        let (first_pause, longest_pause) = (options.first_pause, options.longest_pause);
        Self { most: options.attempts.saturating_sub(1), used: AtomicU32::new(0), first_pause, longest_pause }
    }

    /// The pause before trying again after `error`; none if that is of no use, or no retry is left.
    ///
    /// The pause doubles with each retry and is shortened by up to half at random, so that the nodes of a network do
    /// not come back all at once.
    pub(crate) fn next_pause(&self, error: &BucketError) -> Option<Duration> {
        if !error.is_retryable() {
            return None;
        }
        let used = self.used.fetch_add(1, Ordering::Relaxed);
        if used >= self.most {
            return None;
        }
        let doubled = self.first_pause.saturating_mul(1 << used.min(20));
        Some(doubled.min(self.longest_pause).mul_f64(1.0 - 0.5 * random_unit()))
    }
}

/// A number in `0..1` that differs between processes and calls. It times a pause and reaches no result.
fn random_unit() -> f64 {
    let bits = RandomState::new().hash_one(0u8);
    bits as f64 / (u64::MAX as f64 + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest_and_end_with_the_budget() {
        let options = BucketOptions {
            attempts: 6,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_millis(500),
            ..BucketOptions::default()
        };
        let budget = RetryBudget::new(&options);
        let passing = BucketError::Unreachable { operation: "get", reason: "gone".to_owned() };
        assert_eq!(budget.next_pause(&BucketError::NotFound { key: "a".to_owned() }), None);
        for whole in [100, 200, 400, 500, 500] {
            let pause = budget.next_pause(&passing).unwrap();
            assert!(pause <= Duration::from_millis(whole) && pause >= Duration::from_millis(whole / 2), "{pause:?}");
        }
        assert_eq!(budget.next_pause(&passing), None);
    }
}
