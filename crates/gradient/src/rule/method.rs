//! The methods of merging: what each makes of a whole set of payloads, and of one coordinate.
//!
//! A method is two things. [`shares`] looks at the payloads as vectors and says how much of each counts; [`combine`]
//! looks at one coordinate, where the merged value is `sum / max(floor, count)`. Both are exact: fractions
//! are integers over 2^16, sums are integers in the unit of scales.

use super::ScaleLimits;
use crate::payload::{Lockstep, Payload, PayloadChunk};
use crate::scale::Scale;
use rayon::prelude::*;
use templar_base::MergeMethod;

/// The whole of a payload, as a fraction.
pub(crate) const WHOLE: u32 = 1 << 16;

/// What counts of one payload of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// The judges' weight (ω).
    pub weight: u32,
    /// Of 2^16. Clipping that moves its centre more than once takes more than the whole of what lies within.
    pub fraction: u32,
}

impl Share {
    /// What a contribution of `units` comes to, before the weight; at most what any scale can be.
    pub fn of(self, units: i64) -> i64 {
        if self.fraction == WHOLE {
            return units;
        }
        let part = (i128::from(units) * i128::from(self.fraction)) >> 16;
        part.min(i128::from(Scale::MAX.units())) as i64
    }
}

/// The shares of a set of weighted payloads, and the least divisor of a coordinate's sum.
pub(crate) fn shares(
    method: MergeMethod,
    kappa: u32,
    set: &[(&Payload, u32)],
    limits: &ScaleLimits,
) -> (Vec<Share>, u32) {
    let fractions = match method {
        MergeMethod::CentredClipping { radius_percent, iterations } => {
            clipping_fractions(&gram(set, limits), f64::from(radius_percent) / 100.0, iterations)
        }
        MergeMethod::Krum { faulty, chosen } => {
            krum_fractions(&gram(set, limits), usize::from(faulty), usize::from(chosen))
        }
        _ => vec![WHOLE; set.len()],
    };
    let share = |((_, weight), fraction): (&(&Payload, u32), u32)| Share { weight: *weight, fraction };
    let shares: Vec<Share> = set.iter().zip(fractions).map(share).collect();
    let total: u32 = shares.iter().map(|share| share.weight).sum();
    let counted = shares.iter().filter(|share| share.fraction > 0).map(|share| share.weight).sum::<u32>().max(1);
    let floor = match method {
        MergeMethod::MeanOfSenders => kappa,
        MergeMethod::MeanOfAll | MergeMethod::CentredClipping { .. } => total,
        MergeMethod::TrimmedMean { trimmed } => total - 2 * trimmed_weight(trimmed, total),
        MergeMethod::Krum { .. } => counted,
        MergeMethod::SignVote => 1,
    };
    (shares, floor)
}

/// Weight taken off at each end: less than half of all, so that something remains.
fn trimmed_weight(trimmed: u16, total: u32) -> u32 {
    u32::from(trimmed).min((total - 1) / 2)
}

/// Sum and count of one coordinate from what was sent of it, each as (units, weight); a count of 0 says that nothing is
/// merged. `total` is the weight of all payloads, `median` the chunk's median scale in units.
pub(crate) fn combine(method: MergeMethod, sent: &mut [(i64, u32)], total: u32, median: i64) -> (i64, u16) {
    match method {
        MergeMethod::TrimmedMean { trimmed } => trimmed_sum(sent, total, trimmed_weight(trimmed, total)),
        MergeMethod::SignVote => {
            let vote: i64 = sent.iter().map(|(units, weight)| units.signum() * i64::from(*weight)).sum();
            (median * vote.signum(), u16::from(vote != 0))
        }
        _ => {
            let sum = sent.iter().map(|(units, weight)| units * i64::from(*weight)).sum();
            // The weights of a merge were checked to sum to at most 2^16 − 1.
            (sum, sent.iter().map(|(_, weight)| *weight).sum::<u32>() as u16)
        }
    }
}

/// The sum of what remains without the lowest and the highest `trimmed` weight, those who sent nothing counting as
/// zero, and the senders' weight in it.
fn trimmed_sum(sent: &mut [(i64, u32)], total: u32, trimmed: u32) -> (i64, u16) {
    sent.sort_unstable();
    let senders: u32 = sent.iter().map(|(_, weight)| *weight).sum();
    let negative = sent.partition_point(|(units, _)| *units < 0);
    let silent = (0, total - senders);
    let (mut place, mut sum, mut count) = (0u32, 0i64, 0u32);
    let in_order = sent[..negative].iter().chain(std::iter::once(&silent)).chain(&sent[negative..]);
    for (units, weight) in in_order {
        let (first, last) = (place.max(trimmed), (place + weight).min(total - trimmed));
        let kept = last.saturating_sub(first);
        place += weight;
        sum += units * i64::from(kept);
        count += if *units == 0 { 0 } else { kept };
    }
    (sum, count as u16)
}

/// The products of all pairs of payloads as vectors, `[payload, payload]`; in f64, chunk after chunk, whatever the number
/// of threads. Holds one number for each pair and chunk of as many segments as there are threads.
fn gram(set: &[(&Payload, u32)], limits: &ScaleLimits) -> Vec<Vec<f64>> {
    let pairs: Vec<(usize, usize)> = (0..set.len()).flat_map(|i| (0..=i).map(move |j| (i, j))).collect();
    let products_of = |segment: &usize| {
        let mut products = Vec::new();
        let mut together = Lockstep::new(set.iter().map(|(payload, _)| *payload), *segment);
        while let Some(chunks) = together.next_chunks() {
            products.extend(pairs.iter().map(|(i, j)| product(&chunks[*i], &chunks[*j], limits)));
        }
        products
    };
    let segments: Vec<usize> = (0..set[0].0.layout().segment_count()).collect();
    let mut sums = vec![0f64; pairs.len()];
    for group in segments.chunks(rayon::current_num_threads()) {
        let by_segment: Vec<Vec<f64>> = group.par_iter().map(products_of).collect();
        for products in by_segment.iter().flat_map(|products| products.chunks_exact(pairs.len())) {
            sums.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
        }
    }
    let place = |i: usize, j: usize| i.max(j) * (i.max(j) + 1) / 2 + i.min(j);
    (0..set.len()).map(|i| (0..set.len()).map(|j| sums[place(i, j)]).collect()).collect()
}

/// The product of one chunk of two payloads.
fn product(left: &PayloadChunk<'_>, right: &PayloadChunk<'_>, limits: &ScaleLimits) -> f64 {
    let mut right_values = limits.contributions(right).peekable();
    let mut sum = 0f64;
    for (index, units) in limits.contributions(left) {
        while right_values.next_if(|(other, _)| *other < index).is_some() {}
        if let Some((_, other)) = right_values.next_if(|(other, _)| *other == index) {
            sum += units as f64 * other as f64;
        }
    }
    sum
}

/// `v ← v + mean of (x_i − v) · min(1, τ / |x_i − v|)` from v = 0, where τ is `radius` times the median |x_i|. v stays
/// a combination of the payloads, so that its coefficients are all that moves.
fn clipping_fractions(gram: &[Vec<f64>], radius: f64, iterations: u16) -> Vec<u32> {
    let count = gram.len();
    let mut norms: Vec<f64> = (0..count).map(|i| gram[i][i].sqrt()).collect();
    norms.sort_by(f64::total_cmp);
    let limit = radius * norms[(count - 1) / 2];
    let mut coefficients = vec![0f64; count];
    for _ in 0..iterations {
        let dot = |row: &[f64]| -> f64 { row.iter().zip(&coefficients).map(|(g, c)| g * c).sum() };
        let by_row: Vec<f64> = gram.iter().map(|row| dot(row)).collect();
        let own = dot(&by_row);
        let factor = |i: usize| {
            let distance = (gram[i][i] - 2.0 * by_row[i] + own).max(0.0).sqrt();
            if distance > limit { limit / distance } else { 1.0 }
        };
        let factors: Vec<f64> = (0..count).map(factor).collect();
        let stays = 1.0 - factors.iter().sum::<f64>() / count as f64;
        for (coefficient, factor) in coefficients.iter_mut().zip(&factors) {
            *coefficient = *coefficient * stays + factor / count as f64;
        }
    }
    let fraction = |coefficient: f64| (coefficient * count as f64 * f64::from(WHOLE)).round() as u32;
    coefficients.into_iter().map(fraction).collect()
}

/// The score of a payload is the sum of its squared distances to its `n − faulty − 2` nearest neighbours; the `chosen`
/// lowest scores are merged, ties by the lower place.
fn krum_fractions(gram: &[Vec<f64>], faulty: usize, chosen: usize) -> Vec<u32> {
    let count = gram.len();
    let neighbours = count.saturating_sub(faulty + 2).max(1);
    let score = |i: usize| -> f64 {
        let others = (0..count).filter(|j| *j != i);
        let mut distances: Vec<f64> = others.map(|j| (gram[i][i] - 2.0 * gram[i][j] + gram[j][j]).max(0.0)).collect();
        distances.sort_by(f64::total_cmp);
        distances.iter().take(neighbours).sum()
    };
    let scores: Vec<f64> = (0..count).map(score).collect();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]).then(a.cmp(b)));
    let mut fractions = vec![0; count];
    for place in order.into_iter().take(chosen) {
        fractions[place] = WHOLE;
    }
    fractions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trimming_takes_both_ends_and_counts_the_silent_as_zero() {
        let trimmed = |sent: &[(i64, u32)], total, off| trimmed_sum(&mut sent.to_vec(), total, off);
        // Five values: -7, 1, 2, 3, 100 without one at each end are 1 + 2 + 3.
        assert_eq!(trimmed(&[(100, 1), (1, 1), (-7, 1), (3, 1), (2, 1)], 5, 1), (6, 3));
        // Two senders of five: 0, 0, 0, 4, 9 without one at each end are 0 + 0 + 4.
        assert_eq!(trimmed(&[(9, 1), (4, 1)], 5, 1), (4, 1));
        assert_eq!(trimmed(&[(9, 1), (4, 1)], 5, 2), (0, 0));
        // A weight of three is three equal values.
        assert_eq!(trimmed(&[(5, 3), (-5, 1)], 4, 1), (10, 2));
    }

    #[test]
    fn the_vote_is_of_signs_alone() {
        let vote = |sent: &[(i64, u32)]| combine(MergeMethod::SignVote, &mut sent.to_vec(), 9, 40);
        assert_eq!(vote(&[(900, 1), (-1, 1), (-2, 1)]), (-40, 1));
        assert_eq!(vote(&[(900, 2), (-1, 1), (-2, 1)]), (0, 0));
    }

    /// Gram matrix of points in the plane.
    fn plane(points: &[(f64, f64)]) -> Vec<Vec<f64>> {
        points.iter().map(|a| points.iter().map(|b| a.0 * b.0 + a.1 * b.1).collect()).collect()
    }

    #[test]
    fn krum_chooses_where_most_payloads_are() {
        let gram = plane(&[(1.0, 0.0), (1.1, 0.0), (0.9, 0.1), (-9.0, 9.0), (1.0, 0.3)]);
        assert_eq!(krum_fractions(&gram, 1, 1), [WHOLE, 0, 0, 0, 0]);
        let three = krum_fractions(&gram, 1, 3);
        assert_eq!(three[3], 0);
        assert_eq!(three.iter().filter(|fraction| **fraction == WHOLE).count(), 3);
    }

    #[test]
    fn centred_clipping_is_its_iteration() {
        let points = [(1.0, 0.0), (0.0, 1.0), (6.0, 8.0)];
        // Norms 1, 1, 10; the median is 1. One step clips the last one to a tenth.
        let once = clipping_fractions(&plane(&points), 1.0, 1);
        assert_eq!(once, [WHOLE, WHOLE, (f64::from(WHOLE) * 0.1).round() as u32]);
        // Two steps, by the formula on the vectors themselves.
        let mut v = (0.0, 0.0);
        for _ in 0..2 {
            let mut move_by = (0.0, 0.0);
            for (x, y) in points {
                let (dx, dy): (f64, f64) = (x - v.0, y - v.1);
                let factor = (1.0 / dx.hypot(dy)).min(1.0);
                move_by = (move_by.0 + dx * factor / 3.0, move_by.1 + dy * factor / 3.0);
            }
            v = (v.0 + move_by.0, v.1 + move_by.1);
        }
        let twice = clipping_fractions(&plane(&points), 1.0, 2);
        let combined = points.iter().zip(&twice).fold((0.0, 0.0), |sum: (f64, f64), ((x, y), fraction)| {
            let part = f64::from(*fraction) / f64::from(WHOLE) / 3.0;
            (sum.0 + x * part, sum.1 + y * part)
        });
        assert!((combined.0 - v.0).abs() < 1e-3 && (combined.1 - v.1).abs() < 1e-3, "{combined:?} {v:?}");
    }
}
