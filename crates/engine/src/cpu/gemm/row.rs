//! Products with one row of `a`, without packing, which would cost more than the product.

use super::K_BLOCK;
use crate::cpu::vector::kernel;

kernel! {
    /// `out[j] (+)= sum_k x[k] rows[j * stride + k]`: one row of `a` times a transposed `b`. Eight chains at a time hide
    /// the latency of each.
    fn row_by_transposed(x: &[f32], rows: &[f32], stride: usize, out: &mut [f32], accumulate: bool) {
        for (group, out) in out.chunks_mut(8).enumerate() {
            for (block, x) in x.chunks(K_BLOCK).enumerate() {
                let mut sums = [0.0f32; 8];
                let row = |index: usize| {
                    // Missing rows of the last group repeat its last one, and their sums are dropped.
                    let start = (group * 8 + index.min(out.len() - 1)) * stride + block * K_BLOCK;
                    &rows[start..start + x.len()]
                };
                let rows: [&[f32]; 8] = std::array::from_fn(row);
                for (k, x) in x.iter().enumerate() {
                    for (sum, row) in sums.iter_mut().zip(&rows) {
                        *sum = x.mul_add(row[k], *sum);
                    }
                }
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = if accumulate || block > 0 { *out + sum } else { sum };
                }
            }
        }
    }
}

kernel! {
    /// `out[j] = sum_k x[k] rows[k * stride + j]`: one row of `a` times `b`. `sums` is working memory of `out`'s length.
    fn row_by_plain(x: &[f32], rows: &[f32], stride: usize, out: &mut [f32], sums: &mut [f32]) {
        let width = out.len();
        let sums = &mut sums[..width];
        for (block, x) in x.chunks(K_BLOCK).enumerate() {
            sums.fill(0.0);
            for (k, x) in x.iter().enumerate() {
                let row = &rows[(block * K_BLOCK + k) * stride..][..width];
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum = x.mul_add(*value, *sum);
                }
            }
            for (out, sum) in out.iter_mut().zip(&*sums) {
                *out = if block > 0 { *out + sum } else { *sum };
            }
        }
    }
}
