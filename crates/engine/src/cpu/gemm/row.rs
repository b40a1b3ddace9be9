//! Products with one row of `a`, without packing, which would cost more than the product.

use super::strip::K_BLOCK;
use crate::Isa;
use crate::cpu::vector::kernel;

/// `out[j] (+)= sum_k x[k] rows[j * stride + k]`: one row of `a` times a transposed `b`.
pub(crate) fn row_by_transposed(isa: Isa, x: &[f32], rows: &[f32], stride: usize, out: &mut [f32], accumulate: bool) {
    let Some(last) = out.len().checked_sub(1) else { return };
    assert!(last * stride + x.len() <= rows.len(), "rows outside their slice");
    match isa {
        // SAFETY: the instruction set is available (`Cpu::new`), and the rows lie inside their slice.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { avx512::row_by_transposed(x, rows, stride, out, accumulate) },
        _ => chains(isa, x, rows, stride, out, accumulate),
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::K_BLOCK;
    use crate::cpu::gemm::pack::avx512::{first, transpose};
    use std::arch::x86_64::*;

    /// Squares of the rows that are fetched ahead.
    const AHEAD: usize = 32;

    /// Sixteen outputs at a time: squares of 16 x 16 are transposed, so that a vector holds a step of every chain.
    ///
    /// Rows that lie one behind the other are fetched in that order, some squares ahead: the order in which the squares
    /// read them is none that a processor foresees. Parameters come from far away here, each is used once.
    ///
    /// # Safety
    /// AVX-512 must be there, and `rows` must hold as many rows as `out` has values.
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
    pub(super) unsafe fn row_by_transposed(x: &[f32], rows: &[f32], stride: usize, out: &mut [f32], accumulate: bool) {
        for (group, out) in out.chunks_mut(16).enumerate() {
            let rows = rows.as_ptr().wrapping_add(group * 16 * stride);
            let wanted = first(out.len());
            let terms = x.len();
            for (block, x) in x.chunks(K_BLOCK).enumerate() {
                let mut sums = _mm512_setzero_ps();
                for (part, x) in x.chunks(16).enumerate() {
                    let column = block * K_BLOCK + part * 16;
                    if stride == terms {
                        let ahead = rows.wrapping_add(16 * (column + 16 * AHEAD));
                        for line in 0..16 {
                            _mm_prefetch::<_MM_HINT_T1>(ahead.wrapping_add(16 * line).cast());
                        }
                    }
                    let mut square = [_mm512_setzero_ps(); 16];
                    for (lane, values) in square.iter_mut().enumerate().take(out.len()) {
                        let from = rows.wrapping_add(lane * stride + column);
                        // SAFETY: masked to the terms that are there.
                        *values = unsafe { _mm512_maskz_loadu_ps(first(x.len()), from) };
                    }
                    transpose(&mut square);
                    for (x, values) in x.iter().zip(square) {
                        sums = _mm512_fmadd_ps(_mm512_set1_ps(*x), values, sums);
                    }
                }
                // SAFETY: masked to the outputs that are there.
                unsafe {
                    if accumulate || block > 0 {
                        sums = _mm512_add_ps(_mm512_maskz_loadu_ps(wanted, out.as_ptr()), sums);
                    }
                    _mm512_mask_storeu_ps(out.as_mut_ptr(), wanted, sums);
                }
            }
        }
    }
}

kernel! {
    /// [`row_by_transposed`] by eight chains at a time, which hide the latency of each.
    fn chains(x: &[f32], rows: &[f32], stride: usize, out: &mut [f32], accumulate: bool) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_gives_the_same_bits_on_every_instruction_set() {
        let values: Vec<f32> = (0..40 * 600).map(|place| ((place * 7919) % 1000) as f32 / 1000.0 - 0.5).collect();
        for (outputs, terms) in [(1, 1), (16, 16), (17, 31), (33, 257), (40, 600)] {
            for accumulate in [false, true] {
                let run = |isa| {
                    let mut out = vec![0.25f32; outputs];
                    row_by_transposed(isa, &values[7..7 + terms], &values, terms, &mut out, accumulate);
                    out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
                };
                for isa in Isa::available() {
                    assert_eq!(run(isa), run(Isa::Scalar), "{isa}, {outputs} x {terms}");
                }
            }
        }
    }
}
