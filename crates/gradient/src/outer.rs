//! The outer step and what surrounds it: applying merged payloads, rebasing, drift.
//!
//! All of it goes chunk by chunk, in place: beside the buffers that it is given it holds one chunk for each thread.

use crate::frequencies;
use crate::layout::{CHUNK_VALUES, GradientLayout};
use crate::length::{LengthMismatch, same_length};
use crate::merged::{MergeHead, Merged, MergedChunk};
use crate::state::OuterState;
use rayon::prelude::*;
use std::ops::Range;
use templar_base::{Domain, OuterRule, StepRule, Window};

/// `Θ ← Θ − α·G`: one f32 multiplication and one subtraction for each coordinate that a payload sent, never fused. The
/// alpha here and below is the whole step's: of it the part that the judges agreed on is taken, which the merge names.
pub fn outer_step(params: &mut [f32], merged: &impl Merged, alpha: f32) -> Result<(), LengthMismatch> {
    let head = merged.head();
    same_length(params.len(), head.layout.parameters())?;
    head.layout.split_segments(params).into_par_iter().enumerate().for_each(|(segment, params)| {
        let first = head.layout.segment_range(segment).start;
        merged.visit_segment(segment, &mut |chunk| descend(head, params, first, chunk, alpha));
    });
    Ok(())
}

/// The descent of one chunk; `params` begin at the flat place `first`.
fn descend(head: &MergeHead, params: &mut [f32], first: usize, chunk: MergedChunk<'_>, alpha: f32) {
    let params = &mut params[chunk.start - first..];
    let alpha = alpha * head.rule.step.factor();
    for (index, sum, count) in chunk.entries() {
        let step = alpha * head.value(sum, count);
        params[index] -= step;
    }
}

/// The outer step of one window: the rule of the genesis with the window's alpha.
///
/// With G the merged values, in the domain that they were sent in, and D its transform:
/// ```text
/// g = Dᵀ·G
/// Θ ← Θ − α·g                          descent
/// m ← μ·m + g,  Θ ← Θ − α·(g + μ·m)    Nesterov
/// Θ ← Θ − α·sign(g)                    sign
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OuterStep {
    /// What the merged values are of.
    pub domain: Domain,
    /// What is done with them.
    pub rule: StepRule,
    /// The step's size.
    pub alpha: f32,
}

impl OuterStep {
    /// The step of a window under these rules.
    pub fn of(outer: &OuterRule, window: Window) -> Self {
        Self { domain: outer.domain, rule: outer.step, alpha: outer.alpha(window) }
    }

    /// Brings a buffer over the parameters (a drift, a gradient) into the domain that is sent and merged.
    pub fn to_domain(&self, layout: &GradientLayout, values: &mut [f32]) -> Result<(), LengthMismatch> {
        same_length(values.len(), layout.parameters())?;
        if self.domain == Domain::Frequencies {
            frequencies::forwards(layout, values);
        }
        Ok(())
    }

    /// As [`Self::to_domain`], of one segment of the layout.
    pub fn to_domain_segment(
        &self,
        layout: &GradientLayout,
        segment: usize,
        values: &mut [f32],
    ) -> Result<(), LengthMismatch> {
        same_length(values.len(), layout.segment_range(segment).len())?;
        if self.domain == Domain::Frequencies {
            frequencies::forwards_segment(layout, segment, values);
        }
        Ok(())
    }

    /// Does the step, in place and in parallel over segments. Each product is rounded before it is added, and the order
    /// is fixed: the same bits everywhere. On an error nothing has changed.
    pub fn apply(&self, state: &mut OuterState, merged: &impl Merged) -> Result<(), LengthMismatch> {
        if (self.domain, self.rule) == (Domain::Parameters, StepRule::Descent) {
            return outer_step(&mut state.params, merged, self.alpha);
        }
        let head = merged.head();
        same_length(state.params.len(), head.layout.parameters())?;
        let has_momentum = self.has_momentum();
        if has_momentum {
            state.momentum.resize(state.params.len(), 0.0);
        }
        let params = head.layout.split_segments(&mut state.params);
        let momentum = match has_momentum {
            true => head.layout.split_segments(&mut state.momentum),
            false => params.iter().map(|_| Default::default()).collect(),
        };
        params.into_par_iter().zip(momentum).enumerate().for_each(|(segment, (params, momentum))| {
            self.step_checked(merged, segment, params, momentum);
        });
        Ok(())
    }

    /// Calls `visit` with the parameters to which the step leads from `start`, a segment at a time in ascending order: their
    /// first place and their values, the same bits as of [`Self::apply`]. Holds as many segments as there are threads.
    pub fn visit_stepped<E: From<LengthMismatch>>(
        &self,
        start: &OuterState,
        merged: &impl Merged,
        mut visit: impl FnMut(usize, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let layout = &merged.head().layout;
        same_length(start.params.len(), layout.parameters())?;
        let stepped = |segment: &usize| {
            let range = layout.segment_range(*segment);
            let mut params = start.params[range.clone()].to_vec();
            // A momentum begins at zero.
            let mut momentum = start.momentum.get(range.clone()).unwrap_or_default().to_vec();
            if self.has_momentum() {
                momentum.resize(range.len(), 0.0);
            }
            self.step_checked(merged, *segment, &mut params, &mut momentum);
            (range.start, params)
        };
        let segments: Vec<usize> = (0..layout.segment_count()).collect();
        for group in segments.chunks(rayon::current_num_threads()) {
            let points: Vec<(usize, Vec<f32>)> = group.par_iter().map(stepped).collect();
            points.iter().try_for_each(|(first, params)| visit(*first, params))?;
        }
        Ok(())
    }

    /// Whether the step has a momentum, which takes one value for each parameter.
    pub fn has_momentum(&self) -> bool {
        matches!(self.rule, StepRule::Nesterov { .. })
    }

    /// The step of one segment of the layout, as [`Self::apply`] does it: `params` are the segment's values, and
    /// `momentum` too where the step has one.
    pub fn step_segment(
        &self,
        merged: &impl Merged,
        segment: usize,
        params: &mut [f32],
        momentum: &mut [f32],
    ) -> Result<(), LengthMismatch> {
        let head = merged.head();
        let range = head.layout.segment_range(segment);
        same_length(params.len(), range.len())?;
        if self.has_momentum() {
            same_length(momentum.len(), range.len())?;
        }
        self.step_checked(merged, segment, params, momentum);
        Ok(())
    }

    /// The step of one segment, whose buffers have its length.
    fn step_checked(&self, merged: &impl Merged, segment: usize, params: &mut [f32], momentum: &mut [f32]) {
        let head = merged.head();
        let first = head.layout.segment_range(segment).start;
        if (self.domain, self.rule) == (Domain::Parameters, StepRule::Descent) {
            return merged.visit_segment(segment, &mut |chunk| descend(head, params, first, chunk, self.alpha));
        }
        let alpha = self.alpha * head.rule.step.factor();
        self.visit_values(merged, segment, &mut |chunk, values| {
            let place = chunk.start - first..chunk.end - first;
            let momentum = momentum.get_mut(place.clone()).unwrap_or_default();
            self.move_chunk(alpha, &mut params[place], momentum, values);
        });
    }

    /// The step of one chunk by all of its merged values g.
    fn move_chunk(&self, alpha: f32, params: &mut [f32], momentum: &mut [f32], values: &[f32]) {
        let params = params.iter_mut().zip(values);
        match self.rule {
            StepRule::Descent => params.for_each(|(theta, g)| *theta -= alpha * g),
            StepRule::Nesterov { momentum: mu } => params.zip(momentum).for_each(|((theta, g), m)| {
                *m = mu * *m + g;
                *theta -= alpha * (g + mu * *m);
            }),
            // A value without a direction does not step.
            StepRule::Sign => {
                params.for_each(|(theta, g)| *theta -= if *g == 0.0 { 0.0 } else { alpha.copysign(*g) });
            }
        }
    }

    /// What the momentum of earlier windows contributes to the decrease, by the gradient at the step's midpoint, in nats:
    /// `α·μ²·⟨∇, m⟩`, of a whole step. `momentum` and `gradient` are the same range of parameters; those of several ranges add up. In f64,
    /// summed in a fixed order.
    pub fn carried(&self, momentum: &[f32], gradient: &[f32]) -> f64 {
        let StepRule::Nesterov { momentum: mu } = self.rule else { return 0.0 };
        let products = momentum.iter().zip(gradient).map(|(m, g)| f64::from(*m) * f64::from(*g));
        f64::from(self.alpha) * f64::from(mu) * f64::from(mu) * products.sum::<f64>()
    }

    /// What a payload's share of the merged values is multiplied by in the step, as far as it is the payload's doing:
    /// momentum from earlier windows is credited to no miner ([`Self::carried`]). A step by the sign is taken for the
    /// linear one that comes closest to it, `α·Σ|g| / Σ g²` times the values, so that shares of it still add up.
    pub fn share_factor(&self, merged: &impl Merged) -> f64 {
        let alpha = f64::from(self.alpha * merged.head().rule.step.factor());
        match self.rule {
            StepRule::Descent => alpha,
            StepRule::Nesterov { momentum } => alpha * (1.0 + f64::from(momentum)),
            StepRule::Sign => {
                let (sizes, squares) = self.sizes_and_squares(merged);
                if squares > 0.0 { alpha * sizes / squares } else { 0.0 }
            }
        }
    }

    /// Sums of the merged values' sizes and squares, in the order of the parameters. Holds as many segments of values as
    /// there are threads.
    fn sizes_and_squares(&self, merged: &impl Merged) -> (f64, f64) {
        let segments: Vec<usize> = (0..merged.head().layout.segment_count()).collect();
        let values_of = |segment: &usize| {
            let mut all = Vec::with_capacity(merged.head().layout.segment_range(*segment).len());
            self.visit_values(merged, *segment, &mut |_, values| all.extend_from_slice(values));
            all
        };
        let (mut sizes, mut squares) = (0f64, 0f64);
        for group in segments.chunks(rayon::current_num_threads()) {
            let by_segment: Vec<Vec<f32>> = group.par_iter().map(values_of).collect();
            for g in by_segment.iter().flatten() {
                sizes += f64::from(g.abs());
                squares += f64::from(*g) * f64::from(*g);
            }
        }
        (sizes, squares)
    }

    /// Calls `visit` with the flat range and all merged values g of each chunk of a segment, zeros included.
    fn visit_values(&self, merged: &impl Merged, segment: usize, visit: &mut dyn FnMut(Range<usize>, &[f32])) {
        let head = merged.head();
        let mut values = vec![0f32; CHUNK_VALUES];
        merged.visit_segment(segment, &mut |chunk| {
            let range = head.layout.chunks()[chunk.chunk].range();
            let values = &mut values[..range.len()];
            values.fill(0.0);
            chunk.entries().for_each(|(index, sum, count)| values[index] = head.value(sum, count));
            if self.domain == Domain::Frequencies {
                frequencies::backwards_chunk(values);
            }
            visit(range, values);
        });
    }
}

/// Moves a miner that trained on from its endpoint `start` onto the new shared parameters: `x ← new + (x − start)`.
/// The buffers may be any same range of the parameters.
pub fn rebase(x: &mut [f32], start: &[f32], new_shared: &[f32]) -> Result<(), LengthMismatch> {
    same_length(start.len(), x.len())?;
    same_length(new_shared.len(), x.len())?;
    x.par_iter_mut().zip(start).zip(new_shared).for_each(|((x, start), new)| *x = new + (*x - start));
    Ok(())
}

/// The drift of inner training: `Δ = shared − x`, written to `out`. The buffers may be any same range of the parameters.
pub fn drift(shared: &[f32], x: &[f32], out: &mut [f32]) -> Result<(), LengthMismatch> {
    same_length(x.len(), shared.len())?;
    same_length(out.len(), shared.len())?;
    out.par_iter_mut().zip(shared).zip(x).for_each(|((out, shared), x)| *out = shared - x);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rebasing_keeps_what_was_trained_on_the_side() {
        let mut x = vec![1.5, -2.0];
        rebase(&mut x, &[1.0, -2.0], &[10.0, 20.0]).unwrap();
        assert_eq!(x, [10.5, 20.0]);
        let mut out = vec![0.0; 2];
        drift(&[10.0, 20.0], &x, &mut out).unwrap();
        assert_eq!(out, [-0.5, 0.0]);
        assert_eq!(drift(&[0.0], &x, &mut out), Err(LengthMismatch { actual: 2, expected: 1 }));
    }
}
