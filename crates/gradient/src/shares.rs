//! The contribution of each payload: the dot of its share of a merge with a gradient.

use crate::layout::CHUNK_VALUES;
use crate::length::same_length;
use crate::merge::MergeError;
use crate::merged::{MergeHead, Merged, MergedChunk};
use crate::payload::{Lockstep, Payload, PayloadChunk};
use crate::rule::ScaleLimits;
use crate::scale::UNIT;
use rayon::prelude::*;
use templar_base::MergeMethod;

/// The shares of all payloads of a merge, to be measured with gradients.
///
/// The dot of a payload's share with a gradient `g` is `Σ_j g_j · ω·s_j·scale / divisor_j` over the coordinates that it
/// sent, with the scale clipped as in the merge. The shares of all payloads sum to G, so these sum to `⟨g, G⟩`.
///
/// That is so for the means. Of the other methods, the shares are those of a sum with the same divisors; times
/// [`linear_factor`] they come as close to G as any multiple of them does.
///
/// A payload that is not in the merge can be measured beside it: what it would bring if it alone joined. It shapes nothing,
/// neither the point that is measured at nor the scales.
///
/// Dots come in f64, summed in a fixed order: the same bits for any number of threads.
pub struct Shares<'a, M> {
    merged: &'a M,
    /// Those of the merge, then those beside it.
    payloads: Vec<&'a Payload>,
    /// Of those in the merge.
    weights: Vec<u32>,
    limits: ScaleLimits,
}

/// What a coordinate of one chunk brings for each unit that is sent of it.
struct Effects {
    /// By a payload of the merge.
    inside: Vec<f64>,
    /// By one that would join it with weight 1.
    beside: Vec<f64>,
}

impl<'a, M: Merged> Shares<'a, M> {
    /// `payloads` must be all of the merge's, in any order: the scale limits follow from the set.
    pub fn new(merged: &'a M, payloads: &[&'a Payload]) -> Result<Self, MergeError> {
        Self::with_others(merged, payloads, &[])
    }

    /// Of the merge's payloads, and of others beside it.
    pub fn with_others(merged: &'a M, payloads: &[&'a Payload], others: &[&'a Payload]) -> Result<Self, MergeError> {
        let head = merged.head();
        let weights = weights_of(head, payloads)?;
        if let Some(other) = others.iter().find(|other| other.layout() != &head.layout) {
            return Err(MergeError::WrongLayout { uid: other.metadata().uid });
        }
        let limits = ScaleLimits::of(&head.layout, payloads, head.rule.scales);
        Ok(Self { merged, payloads: [payloads, others].concat(), weights, limits })
    }

    /// The dot of each payload's share, in the order given, with a gradient that `read` copies one segment at a time, in
    /// ascending order. Holds as many segments as there are threads.
    pub fn dot<E: From<MergeError>>(
        &self,
        mut read: impl FnMut(usize, &mut [f32]) -> Result<(), E>,
    ) -> Result<Vec<f64>, E> {
        let layout = &self.merged.head().layout;
        let all: Vec<usize> = (0..layout.segment_count()).collect();
        let mut buffers = vec![Vec::new(); rayon::current_num_threads()];
        let mut by_segment = Vec::with_capacity(all.len());
        for segments in all.chunks(buffers.len()) {
            for (segment, buffer) in segments.iter().zip(&mut buffers) {
                buffer.resize(layout.segment_range(*segment).len(), 0f32);
                read(*segment, buffer)?;
            }
            let filled = segments.par_iter().zip(&buffers);
            by_segment.par_extend(self.dots_by_segment(filled.map(|(segment, buffer)| (*segment, buffer.as_slice()))));
        }
        Ok(self.total(by_segment))
    }

    /// The dots of each of these segments, whose gradients are given.
    fn dots_by_segment<'s>(
        &'s self,
        gradients: impl IndexedParallelIterator<Item = (usize, &'s [f32])> + 's,
    ) -> impl IndexedParallelIterator<Item = Vec<f64>> + 's {
        gradients.map_init(
            || Effects { inside: vec![0.0; CHUNK_VALUES], beside: vec![0.0; CHUNK_VALUES] },
            |effects, (segment, gradient)| self.segment_dots(effects, segment, gradient),
        )
    }

    /// The sum over the segments, in their order.
    fn total(&self, by_segment: Vec<Vec<f64>>) -> Vec<f64> {
        let mut totals = vec![0f64; self.payloads.len()];
        for sums in by_segment {
            totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
        totals.into_iter().map(|total| total * f64::from(UNIT)).collect()
    }

    /// The dots of one segment, whose gradient is given; `effects` hold one chunk.
    fn segment_dots(&self, effects: &mut Effects, segment: usize, gradient: &[f32]) -> Vec<f64> {
        let head = self.merged.head();
        let first = head.layout.segment_range(segment).start;
        let mut sums = vec![0f64; self.payloads.len()];
        let mut together = Lockstep::new(self.payloads.iter().copied(), segment);
        self.merged.visit_segment(segment, &mut |entries| {
            let Some(chunks) = together.next_chunks() else { return };
            let gradient = &gradient[entries.start - first..];
            let dot = |chunk: &PayloadChunk<'_>, effect: &[f64]| -> f64 {
                let units = self.limits.contributions(chunk);
                units.map(|(index, units)| effect[index] * units as f64).sum()
            };
            let (members, others) = chunks.split_at(self.weights.len());
            let (of_members, of_others) = sums.split_at_mut(self.weights.len());
            fill_effect(head, entries, gradient, &mut effects.inside);
            for ((chunk, weight), sum) in members.iter().zip(&self.weights).zip(of_members) {
                *sum += dot(chunk, &effects.inside) * f64::from(*weight);
            }
            if !others.is_empty() {
                let values = usize::from(head.layout.chunks()[entries.chunk].len);
                fill_effect_beside(head, entries, &gradient[..values], &mut effects.beside);
            }
            for (chunk, sum) in others.iter().zip(of_others) {
                *sum += dot(chunk, &effects.beside);
            }
        });
        sums
    }
}

/// [`Shares::dot`] with a gradient of one value for each parameter.
pub fn shares_dot(merged: &impl Merged, payloads: &[&Payload], gradient: &[f32]) -> Result<Vec<f64>, MergeError> {
    let layout = &merged.head().layout;
    same_length(gradient.len(), layout.parameters())?;
    let shares = Shares::new(merged, payloads)?;
    let segments = (0..layout.segment_count()).into_par_iter();
    let gradients = segments.map(|segment| (segment, &gradient[layout.segment_range(segment)]));
    Ok(shares.total(shares.dots_by_segment(gradients).collect()))
}

/// What the shares of [`shares_dot`] are multiplied by to come closest to the merged values: `⟨u, G⟩ / ⟨u, u⟩` with u
/// their sum; 1 for the means, whose shares sum to G. A trimmed mean or a vote leaves out part of what was sent, and a
/// promise by the whole of it would not be kept. In f64, summed in a fixed order.
pub fn linear_factor(merged: &impl Merged, payloads: &[&Payload]) -> Result<f64, MergeError> {
    let head = merged.head();
    if matches!(head.rule.method, MergeMethod::MeanOfSenders | MergeMethod::MeanOfAll) {
        return Ok(1.0);
    }
    let layout = &head.layout;
    let weights = weights_of(head, payloads)?;
    let limits = ScaleLimits::of(layout, payloads, head.rule.scales);
    let products_of = |sums: &mut Vec<f64>, segment: usize| {
        let mut products = Vec::with_capacity(layout.segment_chunks(segment).len());
        let mut together = Lockstep::new(payloads.iter().copied(), segment);
        merged.visit_segment(segment, &mut |entries| {
            let Some(chunks) = together.next_chunks() else { return };
            sums.fill(0.0);
            for (chunk, weight) in chunks.iter().zip(&weights) {
                limits.contributions(chunk).for_each(|(index, units)| {
                    sums[index] += units as f64 * f64::from(*weight);
                });
            }
            let (mut with_merged, mut with_itself) = (0f64, 0f64);
            for (index, sum, count) in entries.entries() {
                let divisor = f64::from(u32::from(count).max(head.floor));
                let (share, merged) = (sums[index] / divisor, sum as f64 / divisor);
                with_merged += share * merged;
                with_itself += share * share;
            }
            products.push((with_merged, with_itself));
        });
        products
    };
    let segments = (0..layout.segment_count()).into_par_iter();
    let by_segment: Vec<Vec<(f64, f64)>> = segments.map_init(|| vec![0f64; CHUNK_VALUES], products_of).collect();
    let products = by_segment.into_iter().flatten();
    let (with_merged, with_itself) = products.fold((0.0, 0.0), |sum, own| (sum.0 + own.0, sum.1 + own.1));
    // Never negative: no miner is to gain by what others vote down.
    Ok(if with_itself > 0.0 { (with_merged / with_itself).max(0.0) } else { 0.0 })
}

/// `g_j / divisor_j` at the chunk's entries, zero elsewhere: an aggregate from a peer may lack what a payload sent.
/// `gradient` begins at the chunk's first value.
fn fill_effect(head: &MergeHead, entries: MergedChunk<'_>, gradient: &[f32], effect: &mut [f64]) {
    effect.fill(0.0);
    for (index, _, count) in entries.entries() {
        let divisor = u32::from(count).max(head.floor);
        effect[index] = f64::from(gradient[index]) / f64::from(divisor);
    }
}

/// `g_j / divisor_j` with a divisor that counts one sender more, at every place of the chunk. `gradient` is the chunk's.
fn fill_effect_beside(head: &MergeHead, entries: MergedChunk<'_>, gradient: &[f32], effect: &mut [f64]) {
    let divided = |value: &f32, count: u32| f64::from(*value) / f64::from(count.max(head.floor));
    effect.iter_mut().zip(gradient).for_each(|(effect, value)| *effect = divided(value, 1));
    for (index, _, count) in entries.entries() {
        effect[index] = divided(&gradient[index], u32::from(count) + 1);
    }
}

/// The weight of each payload in the merge; they are all of its contributors.
fn weights_of(head: &MergeHead, payloads: &[&Payload]) -> Result<Vec<u32>, MergeError> {
    let contributors = &head.contributors;
    let mut seen = vec![false; contributors.len()];
    let mut weights = Vec::with_capacity(payloads.len());
    for payload in payloads {
        let uid = payload.metadata().uid;
        let place = contributors.binary_search_by_key(&uid, |contributor| contributor.uid);
        let place = place.map_err(|_| MergeError::NotMerged { uid })?;
        if contributors[place].payload_root != payload.root() || payload.layout() != &head.layout {
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
