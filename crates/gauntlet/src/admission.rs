//! Admission: whose contribution is surely a fair part of what the better half brings.

use crate::Contribution;

/// For each contribution, whether `φ − 2·se > share · (median φ over the upper half)`.
///
/// The median over the upper half cannot be pulled down by a minority of free-riders, nor pulled up by one miner.
pub fn admitted(contributions: &[&Contribution], share: f64) -> Vec<bool> {
    let mut means: Vec<i64> = contributions.iter().map(|contribution| contribution.mean.0).collect();
    means.sort_unstable_by(|a, b| b.cmp(a));
    let upper = &means[..means.len().div_ceil(2)];
    let Some(median) = upper.get(upper.len() / 2) else { return Vec::new() };
    let threshold = share * (*median).max(0) as f64;
    contributions.iter().map(|contribution| contribution.sure().0 as f64 > threshold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nats;

    fn contribution(mean: i64, error: i64) -> Contribution {
        Contribution { mean: Nats(mean), standard_error: Nats(error), parts: Vec::new() }
    }

    #[test]
    fn the_idle_the_harmful_and_the_doubtful_stay_out() {
        let all =
            [contribution(100, 5), contribution(90, 5), contribution(95, 30), contribution(0, 0), contribution(-50, 5)];
        let all: Vec<&Contribution> = all.iter().collect();
        assert_eq!(admitted(&all, 0.4), [true, true, false, false, false]);
        assert_eq!(admitted(&[], 0.4), [false; 0]);
    }

    #[test]
    fn when_everybody_is_harmful_nobody_is_admitted() {
        let all = [contribution(-10, 0), contribution(-20, 0)];
        assert_eq!(admitted(&all.iter().collect::<Vec<_>>(), 0.4), [false, false]);
    }
}
