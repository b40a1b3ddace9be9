//! The outer step and what surrounds it: applying an aggregate, rebasing, drift, and the digest of the parameters.

use crate::aggregate::Aggregate;
use crate::bytes::copy_little_endian;
use crate::frequencies;
use crate::layout::GradientLayout;
use rayon::prelude::*;
use templar_base::{Domain, OuterRule, StateHash, StepRule, Window};

const STATE_CONTEXT: &str = "templar shared parameters v1";

/// Values hashed at once: enough to keep all cores busy, little enough to lie in cache.
const HASH_BLOCK_VALUES: usize = 1 << 20;

/// Buffers of different lengths where one model was meant; the caller is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a buffer of {actual} values where {expected} are needed; the caller is at fault")]
pub struct LengthMismatch {
    /// Values given.
    pub actual: usize,
    /// Values expected.
    pub expected: usize,
}

fn same_length(actual: usize, expected: usize) -> Result<(), LengthMismatch> {
    if actual == expected { Ok(()) } else { Err(LengthMismatch { actual, expected }) }
}

/// `Θ ← Θ − α·G`: one f32 multiplication and one subtraction for each coordinate that somebody sent, never fused.
pub fn outer_step(params: &mut [f32], aggregate: &Aggregate, alpha: f32) -> Result<(), LengthMismatch> {
    same_length(params.len(), aggregate.layout().parameters())?;
    aggregate.for_each(|index, value| {
        let step = alpha * value;
        params[index] -= step;
    });
    Ok(())
}

/// What outer steps move, the same on every node: the shared parameters, and a momentum where the rule has one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OuterState {
    /// The parameters.
    pub params: Vec<f32>,
    /// The momentum, one value for each parameter; empty, which stands for zeros, until the first step that has one.
    pub momentum: Vec<f32>,
}

impl OuterState {
    /// Parameters that no step has moved yet.
    pub fn new(params: Vec<f32>) -> Self {
        Self { params, momentum: Vec::new() }
    }

    /// A window in which nothing is merged: the parameters stay, and the momentum begins anew. Where its step does not
    /// do what it promises, that is what helps (O'Donoghue and Candès 2015); kept, it would make the next windows null
    /// as well.
    pub fn rest(&mut self) {
        self.momentum.clear();
    }

    /// The digest of all of it; that of the parameters where there is no momentum.
    pub fn hash(&self) -> StateHash {
        hash_of(&[&self.params, &self.momentum])
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

    /// Does the step. Each product is rounded before it is added, and the order is fixed: the same bits everywhere.
    pub fn apply(&self, state: &mut OuterState, aggregate: &Aggregate) -> Result<(), LengthMismatch> {
        if (self.domain, self.rule) == (Domain::Parameters, StepRule::Descent) {
            return outer_step(&mut state.params, aggregate, self.alpha);
        }
        same_length(state.params.len(), aggregate.layout().parameters())?;
        let merged = self.merged(aggregate);
        let (alpha, params) = (self.alpha, state.params.par_iter_mut().zip(merged));
        match self.rule {
            StepRule::Descent => params.for_each(|(theta, g)| *theta -= alpha * g),
            StepRule::Nesterov { momentum: mu } => {
                state.momentum.resize(params.len(), 0.0);
                params.zip(&mut state.momentum).for_each(|((theta, g), m)| {
                    *m = mu * *m + g;
                    *theta -= alpha * (g + mu * *m);
                });
            }
            // A value that is no direction does not step.
            StepRule::Sign => params.for_each(|(theta, g)| *theta -= if g == 0.0 { 0.0 } else { alpha.copysign(g) }),
        }
        Ok(())
    }

    /// What the momentum of windows before brings of the decrease, by the gradient at the step's midpoint, in nats:
    /// `α·μ²·⟨∇, m⟩`. `gradient` has one value for each parameter. In f64, summed in a fixed order.
    pub fn carried(&self, state: &OuterState, gradient: &[f32]) -> f64 {
        let StepRule::Nesterov { momentum: mu } = self.rule else { return 0.0 };
        let products = state.momentum.iter().zip(gradient).map(|(m, g)| f64::from(*m) * f64::from(*g));
        f64::from(self.alpha) * f64::from(mu) * f64::from(mu) * products.sum::<f64>()
    }

    /// What a payload's share of the merged values is multiplied by in the step, as far as it is the payload's doing:
    /// the momentum of windows before is nobody's ([`Self::carried`]). A step by the sign is taken for the linear one
    /// that comes closest to it, `α·Σ|g| / Σ g²` times the values, so that shares of it still add up.
    pub fn share_factor(&self, aggregate: &Aggregate) -> f64 {
        let alpha = f64::from(self.alpha);
        match self.rule {
            StepRule::Descent => alpha,
            StepRule::Nesterov { momentum } => alpha * (1.0 + f64::from(momentum)),
            StepRule::Sign => {
                let (mut sizes, mut squares) = (0f64, 0f64);
                for g in self.merged(aggregate) {
                    sizes += f64::from(g.abs());
                    squares += f64::from(g) * f64::from(g);
                }
                if squares > 0.0 { alpha * sizes / squares } else { 0.0 }
            }
        }
    }

    /// The merged values of all parameters.
    fn merged(&self, aggregate: &Aggregate) -> Vec<f32> {
        let mut merged = vec![0f32; aggregate.layout().parameters()];
        aggregate.for_each(|index, value| merged[index] = value);
        if self.domain == Domain::Frequencies {
            frequencies::backwards(aggregate.layout(), &mut merged);
        }
        merged
    }
}

/// The digest of parameters without a momentum: BLAKE3 under its own context over the values as little-endian f32, bit
/// for bit.
pub fn state_hash(params: &[f32]) -> StateHash {
    hash_of(&[params])
}

/// One digest of the values of all buffers, one after the other.
fn hash_of(buffers: &[&[f32]]) -> StateHash {
    let mut hasher = blake3::Hasher::new_derive_key(STATE_CONTEXT);
    let longest = buffers.iter().map(|values| values.len()).max().unwrap_or(0);
    let mut bytes = vec![0u8; 4 * longest.min(HASH_BLOCK_VALUES)];
    for block in buffers.iter().flat_map(|values| values.chunks(HASH_BLOCK_VALUES)) {
        let bytes = &mut bytes[..4 * block.len()];
        let parts = bytes.par_chunks_mut(1 << 16).zip(block.par_chunks(1 << 14));
        parts.for_each(|(bytes, values)| copy_little_endian(values, bytes));
        hasher.update_rayon(bytes);
    }
    StateHash::new(*hasher.finalize().as_bytes())
}

/// Moves a miner that trained on from its endpoint `start` onto the new shared parameters: `x ← new + (x − start)`.
pub fn rebase(x: &mut [f32], start: &[f32], new_shared: &[f32]) -> Result<(), LengthMismatch> {
    same_length(start.len(), x.len())?;
    same_length(new_shared.len(), x.len())?;
    x.par_iter_mut().zip(start).zip(new_shared).for_each(|((x, start), new)| *x = new + (*x - start));
    Ok(())
}

/// The drift of inner training: `Δ = shared − x`, written to `out`.
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
    fn the_state_hash_is_one_blake3_over_the_bytes() {
        for len in [0, 1, 5, (1 << 14) + 1, HASH_BLOCK_VALUES + 3] {
            let params: Vec<f32> = (0..len).map(|i| i as f32 * 0.5).collect();
            let bytes: Vec<u8> = params.iter().flat_map(|value| value.to_le_bytes()).collect();
            assert_eq!(state_hash(&params).as_bytes(), &blake3::derive_key(STATE_CONTEXT, &bytes), "{len} values");
        }
    }

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
