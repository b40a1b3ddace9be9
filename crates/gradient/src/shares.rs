//! What each payload brought: the dot of its share of the aggregate with a gradient.

use crate::aggregate::Aggregate;
use crate::layout::CHUNK_VALUES;
use crate::merge::{MergeError, ScaleLimits};
use crate::payload::Payload;
use crate::scale::UNIT;
use rayon::prelude::*;
use templar_base::MergeMethod;

/// For each payload, in the order given, `Σ_j g_j · ω·s_j·scale / divisor_j` over the coordinates that it sent,
/// with the scale clipped as in the merge. The shares of all payloads sum to G, so these sum to `⟨g, G⟩`.
///
/// That is so for the means. Of the other methods, the shares are those of a sum with the same divisors; times
/// [`linear_factor`] they come as close to G as any multiple of them does.
///
/// `payloads` must be all of the aggregate's, in any order: the scale limits follow from the set.
/// `gradient`: one value for each parameter. In f64, summed in a fixed order: the same bits for any number of threads.
pub fn shares_dot(aggregate: &Aggregate, payloads: &[&Payload], gradient: &[f32]) -> Result<Vec<f64>, MergeError> {
    let layout = aggregate.layout();
    if gradient.len() != layout.parameters() {
        return Err(MergeError::Length { actual: gradient.len(), expected: layout.parameters() });
    }
    let weights = weights_of(aggregate, payloads)?;
    let limits = ScaleLimits::of(layout, payloads, aggregate.rule().scale_clip);
    let by_segment: Vec<Vec<f64>> = (0..layout.segment_count())
        .into_par_iter()
        .map_init(
            || vec![0f64; CHUNK_VALUES],
            |effect, segment| {
                let mut sums = vec![0f64; payloads.len()];
                for chunk in layout.segment_chunks(segment) {
                    fill_effect(aggregate, chunk, gradient, effect);
                    for ((payload, weight), sum) in payloads.iter().zip(&weights).zip(&mut sums) {
                        let chunk = payload.chunk(chunk);
                        let units = limits.contributions(&chunk);
                        let dot: f64 = units.map(|(index, units)| effect[index] * units as f64).sum();
                        *sum += dot * f64::from(*weight);
                    }
                }
                sums
            },
        )
        .collect();
    let mut totals = vec![0f64; payloads.len()];
    for sums in by_segment {
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total += sum;
        }
    }
    Ok(totals.into_iter().map(|total| total * f64::from(UNIT)).collect())
}

/// What the shares of [`shares_dot`] are multiplied by to come closest to the merged values: `⟨u, G⟩ / ⟨u, u⟩` with u
/// their sum; 1 for the means, whose shares sum to G. A trimmed mean or a vote leaves out part of what was sent, and a
/// promise by the whole of it would not be kept. In f64, summed in a fixed order.
pub fn linear_factor(aggregate: &Aggregate, payloads: &[&Payload]) -> Result<f64, MergeError> {
    if matches!(aggregate.rule().method, MergeMethod::MeanOfSenders | MergeMethod::MeanOfAll) {
        return Ok(1.0);
    }
    let layout = aggregate.layout();
    let weights = weights_of(aggregate, payloads)?;
    let limits = ScaleLimits::of(layout, payloads, aggregate.rule().scale_clip);
    let products_of = |sums: &mut Vec<f64>, chunk: usize| {
        sums.fill(0.0);
        for (payload, weight) in payloads.iter().zip(&weights) {
            limits.contributions(&payload.chunk(chunk)).for_each(|(index, units)| {
                sums[index] += units as f64 * f64::from(*weight);
            });
        }
        let entries = aggregate.chunk(chunk);
        let (mut with_merged, mut with_itself) = (0f64, 0f64);
        for ((index, sum), count) in entries.indices.iter().zip(entries.sums).zip(entries.counts) {
            let divisor = f64::from(u32::from(*count).max(aggregate.floor()));
            let (share, merged) = (sums[usize::from(*index)] / divisor, *sum as f64 / divisor);
            with_merged += share * merged;
            with_itself += share * share;
        }
        (with_merged, with_itself)
    };
    let chunks = (0..layout.chunk_count()).into_par_iter();
    let products: Vec<(f64, f64)> = chunks.map_init(|| vec![0f64; CHUNK_VALUES], products_of).collect();
    let (with_merged, with_itself) = products.into_iter().fold((0.0, 0.0), |sum, own| (sum.0 + own.0, sum.1 + own.1));
    // Never negative: nobody is to gain by what others vote down.
    Ok(if with_itself > 0.0 { (with_merged / with_itself).max(0.0) } else { 0.0 })
}

/// `g_j / divisor_j` at the chunk's entries, zero elsewhere: an aggregate from a peer may lack what a payload sent.
fn fill_effect(aggregate: &Aggregate, chunk: usize, gradient: &[f32], effect: &mut [f64]) {
    let entries = aggregate.chunk(chunk);
    effect.fill(0.0);
    for (index, count) in entries.indices.iter().zip(entries.counts) {
        let index = usize::from(*index);
        let divisor = u32::from(*count).max(aggregate.floor());
        effect[index] = f64::from(gradient[entries.start + index]) / f64::from(divisor);
    }
}

fn weights_of(aggregate: &Aggregate, payloads: &[&Payload]) -> Result<Vec<u32>, MergeError> {
    let contributors = aggregate.contributors();
    let mut seen = vec![false; contributors.len()];
    let mut weights = Vec::with_capacity(payloads.len());
    for payload in payloads {
        let uid = payload.metadata().uid;
        let place = contributors.binary_search_by_key(&uid, |contributor| contributor.uid);
        let place = place.map_err(|_| MergeError::NotMerged { uid })?;
        if contributors[place].payload_root != payload.root() || payload.layout() != aggregate.layout() {
            return Err(MergeError::NotMerged { uid });
        }
        if std::mem::replace(&mut seen[place], true) {
            return Err(MergeError::Duplicate { uid });
        }
        weights.push(contributors[place].weight);
    }
    if payloads.len() != contributors.len() {
        return Err(MergeError::Incomplete { given: payloads.len(), contributors: contributors.len() });
    }
    Ok(weights)
}
