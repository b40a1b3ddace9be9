//! Admission: whose contribution is a fair part of what the rated miners bring.
//!
//! The threshold is a share of what a typical rated miner brings in the window. A miner of which nothing is known must
//! surely reach it. A rated one is admitted unless it is surely under it: late in a training the error of one window is as
//! large as the contribution, and a network in which each miner has to prove itself in every window stops learning.
//!
//! A miner whose payload says that it was trained on less text than the typical one's has less to reach, in proportion: a
//! weak machine is not left out for being weak. Saying so gains nothing, since what is paid is what was measured.

use crate::Contribution;

/// The least part of the threshold, for who says that it was trained on next to nothing.
const LEAST_PART: f64 = 1.0 / 8.0;

/// A contribution to be admitted or not, with the weight that its miner's rating has.
#[derive(Debug, Clone, Copy)]
pub struct Rated<'a> {
    /// What was measured.
    pub contribution: &'a Contribution,
    /// The mean of the miner's rating where the miner is rated; 0 where it is not.
    pub weight: f64,
    /// Tokens that its payload says it was trained on.
    pub tokens: u64,
}

/// What decides on the candidates of one measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// What a typical rated miner brings, in units of [`crate::Nats`]; under zero where the step overshoots.
    pub middle: f64,
    /// What a candidate of the typical tokens has to reach; never under zero.
    pub least: f64,
    /// Tokens of a typical rated miner's payload.
    pub typical_tokens: u64,
    /// Whether under a quarter of the candidates is rated: then at most half as many are merged.
    pub has_few_rated: bool,
    /// Whether rated miners, too, must surely reach it: few are rated, or the last steps brought too little.
    pub is_strict: bool,
}

impl Threshold {
    /// The threshold of these candidates: `share` of the rating-weighted median of φ, which no unrated miner moves. While
    /// under a quarter of them is rated it is that of the median over the upper half, and everybody must surely reach it:
    /// over zero is every second payload of noise.
    pub fn of(candidates: &[Rated<'_>], share: f64, is_doubtful: bool) -> Self {
        let mut by_mean: Vec<(i64, f64)> =
            candidates.iter().map(|rated| (rated.contribution.mean.0, rated.weight.max(0.0))).collect();
        by_mean.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let rated = by_mean.iter().filter(|(_, weight)| *weight > 0.0).count();
        let has_few_rated = rated == 0 || rated * 4 < by_mean.len();
        let middle_of = |ascending: &[(i64, f64)]| match has_few_rated {
            true => upper_median(ascending),
            false => weighted_median(ascending),
        };
        let mut by_tokens: Vec<(i64, f64)> = candidates
            .iter()
            .map(|rated| (i64::try_from(rated.tokens).unwrap_or(i64::MAX), rated.weight.max(0.0)))
            .collect();
        by_tokens.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let middle = middle_of(&by_mean);
        Self {
            middle,
            least: share * middle.max(0.0),
            typical_tokens: middle_of(&by_tokens).max(0.0) as u64,
            has_few_rated,
            is_strict: has_few_rated || is_doubtful,
        }
    }

    /// What a candidate that was trained on these tokens has to reach.
    pub fn least_for(&self, tokens: u64) -> f64 {
        let part = tokens as f64 / self.typical_tokens.max(1) as f64;
        self.least * part.clamp(LEAST_PART, 1.0)
    }

    /// Whether a candidate surely reaches what it has to.
    pub fn is_surely_reached(&self, candidate: &Rated<'_>) -> bool {
        candidate.contribution.sure().0 as f64 > self.least_for(candidate.tokens)
    }

    /// Whether a candidate is admitted.
    pub fn admits(&self, candidate: &Rated<'_>) -> bool {
        if candidate.weight > 0.0 && !self.is_strict {
            candidate.contribution.at_most().0 as f64 >= self.least_for(candidate.tokens)
        } else {
            self.is_surely_reached(candidate)
        }
    }
}

/// Ascending by mean.
fn upper_median(by_mean: &[(i64, f64)]) -> f64 {
    let upper = &by_mean[by_mean.len() / 2..];
    upper.get((upper.len().max(1) - 1) / 2).map_or(0.0, |(mean, _)| *mean as f64)
}

/// Ascending by mean; the lower one where two are in the middle.
fn weighted_median(by_mean: &[(i64, f64)]) -> f64 {
    let total: f64 = by_mean.iter().map(|(_, weight)| weight).sum();
    let mut sum = 0.0;
    let middle = by_mean.iter().find(|(_, weight)| {
        sum += weight;
        sum >= 0.5 * total && *weight > 0.0
    });
    middle.map_or(0.0, |(mean, _)| *mean as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nats;

    fn contribution(mean: i64, error: i64) -> Contribution {
        Contribution { mean: Nats(mean), standard_error: Nats(error), parts: Vec::new() }
    }

    /// Who is admitted of contributions with a mean, an error and the weight of a rating, of equal machines.
    fn admitted(all: &[(i64, i64, f64)], is_doubtful: bool) -> Vec<bool> {
        admitted_of(all, &vec![1_000; all.len()], is_doubtful)
    }

    fn admitted_of(all: &[(i64, i64, f64)], tokens: &[u64], is_doubtful: bool) -> Vec<bool> {
        let measured: Vec<Contribution> = all.iter().map(|(mean, error, _)| contribution(*mean, *error)).collect();
        let rated: Vec<Rated<'_>> = measured
            .iter()
            .zip(all.iter().zip(tokens))
            .map(|(contribution, ((_, _, weight), tokens))| Rated { contribution, weight: *weight, tokens: *tokens })
            .collect();
        let threshold = Threshold::of(&rated, 0.4, is_doubtful);
        rated.iter().map(|rated| threshold.admits(rated)).collect()
    }

    #[test]
    fn while_no_miner_is_rated_the_idle_the_harmful_and_the_doubtful_stay_out() {
        let all = [(100, 5, 0.0), (90, 5, 0.0), (95, 50, 0.0), (0, 0, 0.0), (-50, 5, 0.0)];
        assert_eq!(admitted(&all, false), [true, true, false, false, false]);
        assert_eq!(admitted(&[], false), [false; 0]);
        assert_eq!(admitted(&[(-10, 0, 0.0), (-20, 0, 0.0)], false), [false, false], "all are harmful");
    }

    #[test]
    fn a_rated_miner_stays_until_it_is_surely_under_the_threshold() {
        // Each one's error is as large as what the typical one brings.
        let noisy = [(100, 100, 1.0), (-80, 100, 1.0), (30, 100, 1.0), (250, 100, 1.0)];
        assert_eq!(admitted(&noisy, false), [true; 4]);
        assert_eq!(admitted(&noisy, true), [false, false, false, true], "in doubt everyone must surely reach it");
        assert_eq!(admitted(&[(100, 5, 1.0), (90, 5, 1.0), (20, 5, 1.0)], false), [true, true, false]);
        assert_eq!(admitted(&[(-100, 5, 1.0), (-90, 5, 1.0)], false), [false, false], "all overshoot");
    }

    #[test]
    fn a_weak_machine_has_as_much_less_to_reach_as_it_says_and_never_nothing() {
        let all = [(100, 5, 1.0), (90, 5, 1.0), (15, 2, 1.0)];
        assert_eq!(admitted_of(&all, &[800, 800, 200], false), [true, true, true]);
        assert_eq!(admitted_of(&all, &[800, 800, 800], false), [true, true, false], "an idle one is none");
        let noise = [(100, 5, 1.0), (90, 5, 1.0), (2, 2, 0.0), (20, 2, 0.0)];
        assert_eq!(admitted_of(&noise, &[800, 800, 1, 200], false), [true, true, false, true]);
        // What somebody unrated says moves nobody's threshold.
        let liar = [(100, 5, 1.0), (90, 5, 1.0), (15, 2, 1.0), (100, 5, 0.0)];
        assert_eq!(admitted_of(&liar, &[800, 800, 800, u64::MAX], false), [true, true, false, true]);
        assert_eq!(admitted_of(&[(10, 1, 0.0), (11, 1, 0.0)], &[0, 0], false), [true, true]);
    }

    #[test]
    fn unrated_candidates_neither_move_the_threshold_nor_pass_by_a_large_error() {
        let all = [(100, 20, 1.0), (95, 20, 1.0), (9000, 5000, 0.0), (8000, 100, 0.0), (60, 5, 0.0), (60, 20, 0.0)];
        assert_eq!(admitted(&all, false), [true, true, false, true, true, false]);
    }
}
