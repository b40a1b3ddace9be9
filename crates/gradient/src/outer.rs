//! The outer step and what surrounds it: applying an aggregate, rebasing, drift, and the digest of the parameters.

use crate::aggregate::Aggregate;
use crate::bytes::copy_little_endian;
use rayon::prelude::*;
use templar_base::StateHash;

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

/// The digest of the shared parameters: BLAKE3 under its own context over the values as little-endian f32, bit for bit.
pub fn state_hash(params: &[f32]) -> StateHash {
    let mut hasher = blake3::Hasher::new_derive_key(STATE_CONTEXT);
    let mut bytes = vec![0u8; 4 * params.len().min(HASH_BLOCK_VALUES)];
    for block in params.chunks(HASH_BLOCK_VALUES) {
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
