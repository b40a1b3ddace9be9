//! Packing: the operands of a product in the order in which the tiles read them.

use super::strip::{K_BLOCK, Operand, Packed, tile};
use crate::Isa;

/// Packs the whole of `b: [k, n]` into `to`.
pub(crate) fn pack_b<'a>(isa: Isa, b: Operand, k: usize, n: usize, to: &'a mut [f32]) -> Packed<'a> {
    let (_, width) = tile(isa);
    let padded = n.next_multiple_of(width);
    let to = &mut to[..padded * k];
    for k_start in (0..k).step_by(K_BLOCK) {
        let steps = K_BLOCK.min(k - k_start);
        for column in (0..n).step_by(width) {
            let at = k_start * padded + column * steps;
            let lanes = width.min(n - column);
            pack_panel(isa, b.at(k_start, column), lanes, &mut to[at..at + width * steps]);
        }
    }
    Packed { data: to, k, n }
}

/// Packs the first `lanes` columns of `b` into rows of the tile's width, zeros where a lane is missing.
pub(super) fn pack_panel(isa: Isa, b: Operand, lanes: usize, to: &mut [f32]) {
    let (_, width) = tile(isa);
    b.assert_holds(to.len() / width, lanes);
    pack(
        isa,
        width,
        Lanes { from: &b.data[b.start..], between: b.column_stride, step: b.row_stride, count: lanes },
        to,
    );
}

/// Packs the first `lanes` rows of `a` into rows of the tile's height, zeros where a lane is missing.
pub(super) fn pack_strip(isa: Isa, a: Operand, lanes: usize, to: &mut [f32]) {
    let (height, _) = tile(isa);
    a.assert_holds(lanes, to.len() / height);
    pack(
        isa,
        height,
        Lanes { from: &a.data[a.start..], between: a.row_stride, step: a.column_stride, count: lanes },
        to,
    );
}

/// Some vectors in a matrix: element `step` of lane `lane` is `from[lane * between + step * self.step]`.
#[derive(Clone, Copy)]
struct Lanes<'a> {
    from: &'a [f32],
    between: usize,
    step: usize,
    count: usize,
}

/// `to[step * width + lane] = lanes[lane][step]`, zeros where a lane is missing; `lanes` was checked to hold them.
fn pack(isa: Isa, width: usize, lanes: Lanes, to: &mut [f32]) {
    assert!(lanes.count > 0 && lanes.count <= width && to.len().is_multiple_of(width), "panel of another size");
    match (isa, width) {
        // SAFETY: the instruction set is available (`Cpu::new`); the callers checked the operand.
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx512, 14) => unsafe { avx512::pack::<14>(lanes, to) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx512, _) => unsafe { avx512::pack::<32>(lanes, to) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx2, 6) => unsafe { avx2::pack::<6>(lanes, to) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx2, _) => unsafe { avx2::pack::<16>(lanes, to) },
        (_, 6) => pack_plain::<6>(lanes, to),
        (_, 16) => pack_plain::<16>(lanes, to),
        _ => pack_plain::<4>(lanes, to),
    }
}

/// [`pack`], a value at a time.
#[inline(always)]
fn pack_plain<const W: usize>(lanes: Lanes, to: &mut [f32]) {
    let Lanes { from, between, step: step_stride, count } = lanes;
    if between == 1 {
        for (step, row) in to.chunks_exact_mut(W).enumerate() {
            let source = &from[step * step_stride..step * step_stride + count];
            for (lane, value) in row.iter_mut().enumerate() {
                *value = if lane < count { source[lane] } else { 0.0 };
            }
        }
        return;
    }
    // Sixteen steps at a time, so that a cache line of each lane is used whole.
    for (block, rows) in to.chunks_mut(16 * W).enumerate() {
        for lane in 0..W {
            if lane >= count {
                rows.iter_mut().skip(lane).step_by(W).for_each(|value| *value = 0.0);
                continue;
            }
            let source = &from[lane * between + block * 16 * step_stride..];
            for (step, row) in rows.chunks_exact_mut(W).enumerate() {
                row[lane] = source[step * step_stride];
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod avx512 {
    use super::{Lanes, pack_plain};
    use std::arch::x86_64::*;

    /// [`super::pack`] for a width of up to 32 lanes.
    ///
    /// # Safety
    /// AVX-512 must be there, and `lanes` must hold what is asked for.
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
    pub(super) unsafe fn pack<const W: usize>(lanes: Lanes, to: &mut [f32]) {
        // SAFETY: the caller's promise; the halves of a width lie inside its rows.
        unsafe {
            match (lanes.between, lanes.step) {
                (1, _) => copy_rows::<W>(lanes, to),
                (_, 1) => {
                    for first in (0..W).step_by(16) {
                        transpose_lanes::<W>(lanes, first, to);
                    }
                }
                _ => pack_plain::<W>(lanes, to),
            }
        }
    }

    /// The lowest `count` lanes of a vector, as a mask.
    pub(in crate::cpu::gemm) fn first(count: usize) -> __mmask16 {
        if count >= 16 { u16::MAX } else { (1 << count) - 1 }
    }

    /// Lanes that lie side by side: each step is a masked load and store.
    ///
    /// # Safety
    /// As [`pack`], with lanes 1 apart.
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
    unsafe fn copy_rows<const W: usize>(lanes: Lanes, to: &mut [f32]) {
        let mut from = lanes.from.as_ptr();
        for row in to.chunks_exact_mut(W) {
            for half in (0..W).step_by(16) {
                let (kept, wanted) = (first(lanes.count.saturating_sub(half)), first(W - half));
                // SAFETY: masked to the lanes that are there and to the row's own width.
                unsafe {
                    let values = _mm512_maskz_loadu_ps(kept, from.wrapping_add(half));
                    _mm512_mask_storeu_ps(row.as_mut_ptr().add(half), wanted, values);
                }
            }
            from = from.wrapping_add(lanes.step);
        }
    }

    /// Lanes whose steps lie side by side, 16 of them from `first_lane` on: squares of 16 x 16 are transposed.
    ///
    /// # Safety
    /// As [`pack`], with steps 1 apart.
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
    unsafe fn transpose_lanes<const W: usize>(lanes: Lanes, first_lane: usize, to: &mut [f32]) {
        let count = lanes.count.saturating_sub(first_lane).min(16);
        let wanted = first(W - first_lane);
        let from = lanes.from.as_ptr().wrapping_add(first_lane * lanes.between);
        for (block, rows) in to.chunks_mut(16 * W).enumerate() {
            let steps = rows.len() / W;
            let mut square = [_mm512_setzero_ps(); 16];
            for (lane, values) in square.iter_mut().enumerate().take(count) {
                // SAFETY: masked to the steps that are there.
                *values = unsafe {
                    _mm512_maskz_loadu_ps(first(steps), from.wrapping_add(lane * lanes.between + block * 16))
                };
            }
            transpose(&mut square);
            for (row, values) in rows.chunks_exact_mut(W).zip(square) {
                // SAFETY: masked to the row's own width.
                unsafe { _mm512_mask_storeu_ps(row.as_mut_ptr().add(first_lane), wanted, values) };
            }
        }
    }

    /// Transposes a square of 16 x 16: pairs, then fours, then the quarters of the vectors.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
    pub(in crate::cpu::gemm) fn transpose(square: &mut [__m512; 16]) {
        let mut fours = [_mm512_setzero_ps(); 16];
        for i in 0..4 {
            let [a, b, c, d] = [square[4 * i], square[4 * i + 1], square[4 * i + 2], square[4 * i + 3]];
            let (ab_low, ab_high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let (cd_low, cd_high) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let low = |x, y| _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(x), _mm512_castps_pd(y)));
            let high = |x, y| _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(x), _mm512_castps_pd(y)));
            // Column j of the four rows, for j, j + 4, j + 8 and j + 12, a quarter each.
            fours[4 * i] = low(ab_low, cd_low);
            fours[4 * i + 1] = high(ab_low, cd_low);
            fours[4 * i + 2] = low(ab_high, cd_high);
            fours[4 * i + 3] = high(ab_high, cd_high);
        }
        for j in 0..4 {
            let [a, b, c, d] = [fours[j], fours[4 + j], fours[8 + j], fours[12 + j]];
            let (ab_even, ab_odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
            let (cd_even, cd_odd) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
            square[j] = _mm512_shuffle_f32x4::<0x88>(ab_even, cd_even);
            square[8 + j] = _mm512_shuffle_f32x4::<0xdd>(ab_even, cd_even);
            square[4 + j] = _mm512_shuffle_f32x4::<0x88>(ab_odd, cd_odd);
            square[12 + j] = _mm512_shuffle_f32x4::<0xdd>(ab_odd, cd_odd);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{Lanes, pack_plain};

    /// [`super::pack`], with the compiler's own use of AVX2.
    ///
    /// # Safety
    /// AVX2 must be there.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn pack<const W: usize>(lanes: Lanes, to: &mut [f32]) {
        pack_plain::<W>(lanes, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_puts_every_lane_in_its_place_for_any_strides() {
        let data: Vec<f32> = (0..40 * 70).map(|value| value as f32 + 1.0).collect();
        for isa in Isa::available() {
            let (height, width) = tile(isa);
            for size in [height, width] {
                for (steps, lanes) in [(1, 1), (15, size), (16, size - 1), (37, size), (40, (size / 2).max(1))] {
                    for (between, step) in [(1, 70), (70, 1), (41, 2)] {
                        if (lanes - 1) * between + (steps - 1) * step >= data.len() {
                            continue;
                        }
                        let mut to = vec![-1.0; steps * size];
                        pack(isa, size, Lanes { from: &data, between, step, count: lanes }, &mut to);
                        for (place, value) in to.iter().enumerate() {
                            let (at, lane) = (place / size, place % size);
                            let expected = if lane < lanes { data[lane * between + at * step] } else { 0.0 };
                            assert_eq!(*value, expected, "{isa}, width {size}, step {at}, lane {lane}");
                        }
                    }
                }
            }
        }
    }
}
