//! What each payload brought: the dot of its share of the aggregate with a gradient.

use crate::aggregate::Aggregate;
use crate::layout::CHUNK_VALUES;
use crate::merge::{MergeError, ScaleLimits};
use crate::payload::Payload;
use crate::scale::UNIT;
use rayon::prelude::*;

/// For each payload, in the order given, `Σ_j g_j · ω·s_j·scale / divisor_j` over the coordinates that it sent,
/// with the scale clipped as in the merge. The shares of all payloads sum to G, so these sum to `⟨g, G⟩`.
///
/// That is so for the means. Of the methods that are no sum, the shares are those of a mean with the same divisors.
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
