//! DeMo: what moves fast in the momentum is sent in the frequency domain, and all step by the sign of the mean (Peng,
//! Quesnelle and Kingma 2024).

use super::{Content, Exchange, ExchangeError, Message, accumulate, check_length, sparse_mean};
use crate::layout::{CHUNK_VALUES, GradientLayout};
use crate::select::select_largest;
use std::sync::LazyLock;

/// Values that are transformed together; a short tail of a chunk is filled up with zeros.
const BLOCK: usize = 64;

/// DeMo's rule. With D the orthonormal cosine transform (DCT-II) of each block of 64 values:
/// ```text
/// m ← β·m + Δ
/// q = the k largest of D·m in each chunk      sent
/// m ← m − Dᵀ·q
/// Θ ← Θ − α·sign(Dᵀ·mean of q)
/// ```
/// A sent coefficient costs 12 bits of index and 32 of value.
#[derive(Debug, Clone)]
pub struct Demo {
    /// How many coefficients are kept of each tensor's chunks.
    pub layout: GradientLayout,
    /// Decay of the momentum (β).
    pub decay: f32,
}

/// The transform's matrix, `[frequency, place]`.
static TRANSFORM: LazyLock<[[f32; BLOCK]; BLOCK]> = LazyLock::new(|| {
    // All angles are multiples of π/128, whose cosines follow from the first by cos((n+1)x) = 2 cos x cos nx − cos((n−1)x):
    // the platform's cosine may differ from machine to machine.
    const FIRST: f64 = 0.999_698_818_696_204_2;
    let mut cosines = [1.0f64; 4 * BLOCK];
    cosines[1] = FIRST;
    for n in 2..4 * BLOCK {
        cosines[n] = 2.0 * FIRST * cosines[n - 1] - cosines[n - 2];
    }
    let mut matrix = [[0f32; BLOCK]; BLOCK];
    for (frequency, row) in matrix.iter_mut().enumerate() {
        let norm = if frequency == 0 { 1.0 / BLOCK as f64 } else { 2.0 / BLOCK as f64 }.sqrt();
        for (place, value) in row.iter_mut().enumerate() {
            *value = (norm * cosines[(2 * place + 1) * frequency % (4 * BLOCK)]) as f32;
        }
    }
    matrix
});

/// Transforms a block forwards or back.
fn transform(values: &[f32; BLOCK], forwards: bool) -> [f32; BLOCK] {
    let mut out = [0f32; BLOCK];
    for (frequency, row) in TRANSFORM.iter().enumerate() {
        for (place, factor) in row.iter().enumerate() {
            let (to, from) = if forwards { (frequency, place) } else { (place, frequency) };
            out[to] += factor * values[from];
        }
    }
    out
}

/// Transforms each block of a chunk; the result is whole blocks, so it may be longer.
fn transform_chunk(values: &[f32], forwards: bool) -> Vec<f32> {
    let blocks = values.chunks(BLOCK).map(|block| {
        let mut whole = [0f32; BLOCK];
        whole[..block.len()].copy_from_slice(block);
        transform(&whole, forwards)
    });
    blocks.flatten().collect()
}

impl Demo {
    /// Coefficients have places of their own: 4096 for each chunk, as the last of a chunk's blocks may be short.
    fn coefficients(&self) -> usize {
        self.layout.chunk_count() * CHUNK_VALUES
    }

    /// Adds the values of coefficients, in units of `sign` times their size, to a buffer over the parameters.
    fn add_back(&self, buffer: &mut [f32], coefficients: &[(usize, f32)], sign: f32) -> Result<(), ExchangeError> {
        let mut rest = coefficients;
        for (number, chunk) in self.layout.chunks().iter().enumerate() {
            let end = rest.partition_point(|(place, _)| *place < (number + 1) * CHUNK_VALUES);
            let (own, later) = rest.split_at(end);
            rest = later;
            if own.is_empty() {
                continue;
            }
            let mut frequencies = vec![0f32; usize::from(chunk.len).next_multiple_of(BLOCK)];
            for (place, value) in own {
                *frequencies.get_mut(place % CHUNK_VALUES).ok_or(ExchangeError::Foreign)? = *value;
            }
            let values = transform_chunk(&frequencies, false);
            buffer[chunk.range()].iter_mut().zip(values).for_each(|(out, value)| *out += sign * value);
        }
        if rest.is_empty() { Ok(()) } else { Err(ExchangeError::Foreign) }
    }
}

impl Exchange for Demo {
    fn send(&self, memory: &mut Vec<f32>, drift: &[f32]) -> Result<Message, ExchangeError> {
        check_length(drift.len(), self.layout.parameters())?;
        accumulate(memory, drift, self.decay)?;
        let mut sent = Vec::with_capacity(self.layout.kept());
        let (mut scratch, mut kept) = (Vec::new(), Vec::new());
        for (number, chunk) in self.layout.chunks().iter().enumerate() {
            let frequencies = transform_chunk(&memory[chunk.range()], true);
            select_largest(&frequencies, usize::from(chunk.kept), &mut scratch, &mut kept);
            let place = |index: &u16| (number * CHUNK_VALUES + usize::from(*index), frequencies[usize::from(*index)]);
            sent.extend(kept.iter().map(place));
        }
        self.add_back(memory, &sent, -1.0)?;
        Ok(Message { bytes: (sent.len() * 44).div_ceil(8), content: Content::Sparse(sent) })
    }

    fn take_back(&self, memory: &mut Vec<f32>, message: &Message) -> Result<(), ExchangeError> {
        let Content::Sparse(sent) = &message.content else { return Err(ExchangeError::Foreign) };
        check_length(memory.len(), self.layout.parameters())?;
        self.add_back(memory, sent, 1.0)
    }

    fn apply(
        &self,
        params: &mut [f32],
        _momentum: &mut [f32],
        messages: &[Message],
        alpha: f32,
    ) -> Result<usize, ExchangeError> {
        check_length(params.len(), self.layout.parameters())?;
        let mean = sparse_mean(messages, self.coefficients())?;
        let sent: Vec<(usize, f32)> = mean.into_iter().enumerate().filter(|(_, value)| *value != 0.0).collect();
        let mut step = vec![0f32; params.len()];
        self.add_back(&mut step, &sent, 1.0)?;
        for (theta, value) in params.iter_mut().zip(step) {
            // A value that is no direction does not step.
            *theta -= if value == 0.0 { 0.0 } else { alpha * value.signum() };
        }
        Ok(messages.iter().map(|message| message.bytes).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(frequency: usize) -> [f32; BLOCK] {
        let angle = |place: usize| std::f64::consts::PI * ((2 * place + 1) * frequency) as f64 / (2 * BLOCK) as f64;
        std::array::from_fn(|place| angle(place).cos() as f32)
    }

    #[test]
    fn the_transform_finds_a_wave_and_turns_back() {
        for frequency in [1, 7, 63] {
            let found = transform(&wave(frequency), true);
            for (other, value) in found.iter().enumerate() {
                let expected = if other == frequency { (BLOCK as f32 / 2.0).sqrt() } else { 0.0 };
                assert!((value - expected).abs() < 1e-5, "{frequency} {other} {value}");
            }
            let back = transform(&found, false);
            assert!(back.iter().zip(wave(frequency)).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }

    #[test]
    fn a_step_is_the_sign_of_the_mean_of_what_was_sent() {
        let layout = GradientLayout::new([("t".to_owned(), BLOCK, 64)]).unwrap();
        // One coefficient of a short chunk is kept: the wave, which both workers have in another size.
        let rule = Demo { layout, decay: 1.0 };
        let send = |size: f32| {
            let drift: Vec<f32> = wave(3).iter().map(|value| size * value).collect();
            let mut memory = vec![0f32; BLOCK];
            let message = rule.send(&mut memory, &drift).unwrap();
            assert!(memory.iter().all(|value| value.abs() < 1e-5));
            message
        };
        let mut params = vec![0f32; BLOCK];
        rule.apply(&mut params, &mut [], &[send(2.0), send(-1.0)], 0.25).unwrap();
        for (value, wave) in params.iter().zip(wave(3)) {
            assert_eq!(*value, -0.25 * wave.signum());
        }
    }
}
