//! The consensus: for each miner the largest weight that a majority of the stake gives it.

use super::rows::{self, Row};
use crate::arithmetic::fixed::{I32F32, normalise};

/// C: the stake-weighted median of each column at `majority`, over the rows with stake.
pub(super) fn consensus(stake: &[I32F32], weights: &[Row], majority: I32F32) -> Vec<I32F32> {
    let width = weights.len();
    let judges: Vec<usize> = (0..width).filter(|uid| stake[*uid] > I32F32::ZERO).collect();
    let mut shares: Vec<I32F32> = judges.iter().map(|uid| stake[*uid]).collect();
    normalise(&mut shares);
    let total: I32F32 = shares.iter().copied().sum();
    let minority = total.saturating_sub(majority);
    let by_judge: Vec<Vec<I32F32>> = judges.iter().map(|uid| rows::dense(&weights[*uid], width)).collect();
    let mut medians = Vec::with_capacity(width);
    for column in 0..width {
        let scores: Vec<I32F32> = by_judge.iter().map(|scores| scores[column]).collect();
        medians.push(weighted_median(&shares, &scores, minority, total));
    }
    medians
}

/// The score below which `minority` of the stake lies, found by partition around the middle entry. Which entry of
/// several candidates comes out depends on the pivots, so the search is the chain's own, step for step.
fn weighted_median(stake: &[I32F32], scores: &[I32F32], minority: I32F32, total: I32F32) -> I32F32 {
    let mut part: Vec<usize> = (0..scores.len()).collect();
    let (mut low, mut high) = (I32F32::ZERO, total);
    loop {
        let Some(middle) = part.get(part.len() / 2) else { return I32F32::ZERO };
        let pivot = scores[*middle];
        if part.len() == 1 {
            return pivot;
        }
        let lower: Vec<usize> = part.iter().copied().filter(|at| scores[*at] < pivot).collect();
        let upper: Vec<usize> = part.iter().copied().filter(|at| scores[*at] > pivot).collect();
        let lower_edge = low.saturating_add(lower.iter().map(|at| stake[*at]).sum());
        let upper_edge = high.saturating_sub(upper.iter().map(|at| stake[*at]).sum());
        if minority < lower_edge && !lower.is_empty() {
            (part, high) = (lower, lower_edge);
        } else if upper_edge <= minority && !upper.is_empty() {
            (part, low) = (upper, upper_edge);
        } else {
            return pivot;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(value: f64) -> I32F32 {
        I32F32::from_bits((value * 4_294_967_296.0) as i64)
    }

    #[test]
    fn a_majority_decides_and_a_minority_does_not() {
        let stake = [fixed(0.6), fixed(0.4)];
        let weights = vec![vec![(0, fixed(0.25)), (1, fixed(0.75))], vec![(1, fixed(1.0))]];
        let found = consensus(&stake, &weights, fixed(0.5));
        assert_eq!(found, [fixed(0.25), fixed(0.75)]);
    }

    #[test]
    fn nobody_with_stake_gives_zero() {
        let weights = vec![vec![(1, I32F32::ONE)], vec![]];
        assert_eq!(consensus(&[I32F32::ZERO; 2], &weights, fixed(0.5)), [I32F32::ZERO; 2]);
    }
}
