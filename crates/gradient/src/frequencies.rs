//! The cosine transform that pseudo-gradients are sent in where the genesis says so: the orthonormal DCT-II of each 64
//! consecutive values of a chunk, the last block of a chunk being as long as what is left.
//!
//! There are as many coefficients as values, and they lie where the values lay, so that a layout serves both. The
//! transform is an isometry: products of two buffers are the same on either side.

use crate::layout::{ChunkLayout, GradientLayout, split_mut};
use rayon::prelude::*;
use std::f64::consts::PI;
use std::sync::LazyLock;

/// Values that are transformed together.
const BLOCK: usize = 64;

/// The transform of one length, by frequency and by place: both `[row, column]` in one buffer.
struct Matrix {
    by_frequency: Vec<f32>,
    by_place: Vec<f32>,
}

impl Matrix {
    /// Cosines are `libm`'s: the platform's may differ from machine to machine.
    fn of(len: usize) -> Self {
        let mut matrix = Self { by_frequency: vec![0.0; len * len], by_place: vec![0.0; len * len] };
        for frequency in 0..len {
            let norm = libm::sqrt(if frequency == 0 { 1.0 } else { 2.0 } / len as f64);
            for place in 0..len {
                // The angle in units of π/2n, brought into one turn first: it stays exact.
                let turn = (2 * place + 1) * frequency % (4 * len);
                let value = (norm * libm::cos(PI * turn as f64 / (2 * len) as f64)) as f32;
                matrix.by_frequency[frequency * len + place] = value;
                matrix.by_place[place * len + frequency] = value;
            }
        }
        matrix
    }
}

/// By length.
static MATRICES: LazyLock<Vec<Matrix>> = LazyLock::new(|| (0..=BLOCK).map(Matrix::of).collect());

/// Turns the values of a flat buffer into coefficients. The buffer has one value for each parameter of the layout.
pub(crate) fn forwards(layout: &GradientLayout, values: &mut [f32]) {
    transform(layout.chunks(), values, forwards_chunk);
}

/// As [`forwards`], of one segment: the buffer has one value for each of the segment's.
pub(crate) fn forwards_segment(layout: &GradientLayout, segment: usize, values: &mut [f32]) {
    transform(&layout.chunks()[layout.segment_chunks(segment)], values, forwards_chunk);
}

/// Turns coefficients back into values.
#[cfg(any(test, feature = "exchange"))]
pub(crate) fn backwards(layout: &GradientLayout, coefficients: &mut [f32]) {
    transform(layout.chunks(), coefficients, backwards_chunk);
}

/// Turns the coefficients of one chunk back into values.
pub(crate) fn backwards_chunk(coefficients: &mut [f32]) {
    coefficients.chunks_mut(BLOCK).for_each(|block| multiply(&MATRICES[block.len()].by_frequency, block));
}

fn forwards_chunk(values: &mut [f32]) {
    values.chunks_mut(BLOCK).for_each(|block| multiply(&MATRICES[block.len()].by_place, block));
}

/// Transforms each chunk of a buffer, which they cover without a gap.
fn transform(chunks: &[ChunkLayout], buffer: &mut [f32], of_chunk: fn(&mut [f32])) {
    let chunks = split_mut(buffer, chunks.iter().map(|chunk| usize::from(chunk.len)));
    chunks.into_par_iter().for_each(of_chunk);
}

/// `block ← Σ_i block[i] · row i`, in the order of i: the same bits on every machine. Zeros are passed over, which
/// changes no sum; most coefficients of a merge are zero.
fn multiply(rows: &[f32], block: &mut [f32]) {
    let len = block.len();
    let mut sums = [0f32; BLOCK];
    let sums = &mut sums[..len];
    for (value, row) in block.iter().zip(rows.chunks_exact(len)) {
        if *value != 0.0 {
            sums.iter_mut().zip(row).for_each(|(sum, factor)| *sum += value * factor);
        }
    }
    block.copy_from_slice(sums);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(lens: &[usize]) -> GradientLayout {
        GradientLayout::new(lens.iter().enumerate().map(|(i, len)| (format!("t{i}"), *len, 64))).unwrap()
    }

    fn wave(frequency: usize, len: usize) -> Vec<f32> {
        let angle = |place: usize| PI * ((2 * place + 1) * frequency) as f64 / (2 * len) as f64;
        (0..len).map(|place| angle(place).cos() as f32).collect()
    }

    #[test]
    fn a_wave_is_one_coefficient() {
        for (len, frequency) in [(64, 1), (64, 63), (7, 3), (1, 0)] {
            let mut values = wave(frequency, len);
            forwards(&layout(&[len]), &mut values);
            let size = if frequency == 0 { len as f32 } else { len as f32 / 2.0 }.sqrt();
            for (other, value) in values.iter().enumerate() {
                let expected = if other == frequency { size } else { 0.0 };
                assert!((value - expected).abs() < 1e-5, "{len} {frequency} {other}: {value}");
            }
        }
    }

    #[test]
    fn it_turns_back_and_keeps_products() {
        // Short chunks, short blocks, and tensors that end anywhere.
        let layout = layout(&[5000, 3, 64, 63, 4096 + 65]);
        let make = |seed: usize| (0..layout.parameters()).map(move |i| ((i * seed % 997) as f32 - 498.0) * 1e-3);
        let (left, right): (Vec<f32>, Vec<f32>) = (make(37).collect(), make(101).collect());
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a * *b)).sum::<f64>();
        let (mut a, mut b) = (left.clone(), right.clone());
        forwards(&layout, &mut a);
        forwards(&layout, &mut b);
        assert!((product(&a, &b) - product(&left, &right)).abs() < 1e-4 * product(&left, &left));
        backwards(&layout, &mut a);
        assert!(a.iter().zip(&left).all(|(back, value)| (back - value).abs() < 1e-5));
    }

    #[test]
    fn the_bits_are_those_of_every_machine() {
        let layout = layout(&[4096 + 63]);
        let mut values: Vec<f32> = (0..layout.parameters()).map(|i| ((i * 61 % 509) as f32 - 254.0) * 1e-3).collect();
        forwards(&layout, &mut values);
        backwards(&layout, &mut values);
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(
            blake3::Hash::from(blake3::derive_key("templar shared parameters v1", &bytes)).to_string(),
            "afc0d7a10eda9040e23dc2806135ed7caf40840d6fbb10cee6f2e4c41bf8e466"
        );
    }
}
