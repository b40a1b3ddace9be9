//! The tile of AVX-512, the only one in assembly: 14 rows of two vectors.
//!
//! A multiply-add takes its value of `a` from memory and spreads it over the lanes by itself, so that a step is 30
//! instructions for 28 multiply-adds. Compilers load such a value once for its two uses, which makes 44 of it, and those
//! are what a core runs short of when its other hardware thread is busy: 1.15 times the time then.

use super::pack::avx512::first;
use super::tile::Place;
use std::arch::asm;
use std::arch::x86_64::*;

/// Rows of the tile.
pub(super) const ROWS: usize = 14;

/// Columns of the tile.
pub(super) const COLUMNS: usize = 32;

/// Steps of a product so small (attention's) that its result is at hand.
const SHORT: usize = 64;

/// A row of a step: its two sums are numbered; `a` is entered at the step's and the row's place.
macro_rules! row {
    ($step:literal, $row:literal, $left:literal, $right:literal) => {
        concat!(
            "vfmadd231ps zmm",
            $left,
            ", zmm28, dword ptr [{a} + 56 * ",
            $step,
            " + 4 * ",
            $row,
            "]{{1to16}}\n",
            "vfmadd231ps zmm",
            $right,
            ", zmm29, dword ptr [{a} + 56 * ",
            $step,
            " + 4 * ",
            $row,
            "]{{1to16}}\n",
        )
    };
}

/// A step of all sums.
#[rustfmt::skip]
macro_rules! step {
    ($step:literal) => {
        concat!(
            "vmovups zmm28, [{b} + 128 * ", $step, "]\n",
            "vmovups zmm29, [{b} + 128 * ", $step, " + 64]\n",
            row!($step, 0, 0, 1), row!($step, 1, 2, 3),
            row!($step, 2, 4, 5), row!($step, 3, 6, 7),
            row!($step, 4, 8, 9), row!($step, 5, 10, 11),
            row!($step, 6, 12, 13), row!($step, 7, 14, 15),
            row!($step, 8, 16, 17), row!($step, 9, 18, 19),
            row!($step, 10, 20, 21), row!($step, 11, 22, 23),
            row!($step, 12, 24, 25), row!($step, 13, 26, 27),
        )
    };
}

/// See [`super::tile`]'s `Compute`.
///
/// # Safety
/// AVX-512 must be there; `a` holds `steps` x 14 values, `b` `steps` x 32, and `place` may be written to.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
pub(super) unsafe fn compute(steps: usize, a: *const f32, b: *const f32, place: Place) {
    // What the sums of a long chain go to is far away in memory: it is fetched while they are computed.
    if steps > SHORT {
        for row in 0..place.rows {
            let to = place.c.wrapping_add(row * place.stride);
            _mm_prefetch::<_MM_HINT_T0>(to.cast());
            _mm_prefetch::<_MM_HINT_T0>(to.wrapping_add(16).cast());
        }
    }
    // SAFETY: the caller's promise.
    let sums = unsafe { chains(steps, a, b) };
    let columns = [first(place.columns), first(place.columns.saturating_sub(16))];
    for (row, sums) in sums.into_iter().enumerate().take(place.rows) {
        for (half, sum) in sums.into_iter().enumerate() {
            // SAFETY: masked to the columns that the place has.
            unsafe {
                let to = place.c.wrapping_add(row * place.stride + half * 16);
                let sum = match place.accumulate {
                    true => _mm512_add_ps(_mm512_maskz_loadu_ps(columns[half], to), sum),
                    false => sum,
                };
                _mm512_mask_storeu_ps(to, columns[half], sum);
            }
        }
    }
}

/// The sums of a tile: for each a chain of multiply-adds from zero on.
///
/// # Safety
/// As [`compute`].
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
unsafe fn chains(steps: usize, a: *const f32, b: *const f32) -> [[__m512; 2]; ROWS] {
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    let [
        [s0, s1],
        [s2, s3],
        [s4, s5],
        [s6, s7],
        [s8, s9],
        [s10, s11],
        [s12, s13],
        [s14, s15],
        [s16, s17],
        [s18, s19],
        [s20, s21],
        [s22, s23],
        [s24, s25],
        [s26, s27],
    ] = &mut sums;
    // SAFETY: `a` and `b` are read for as many steps as the caller promises; every register that changes is named.
    unsafe {
        asm!(
            "test {fours}, {fours}",
            "jz 3f",
            ".p2align 5",
            "2:",
            step!(0),
            step!(1),
            step!(2),
            step!(3),
            "add {a}, 4 * 56",
            "add {b}, 4 * 128",
            "dec {fours}",
            "jnz 2b",
            "3:",
            "test {rest}, {rest}",
            "jz 5f",
            "4:",
            step!(0),
            "add {a}, 56",
            "add {b}, 128",
            "dec {rest}",
            "jnz 4b",
            "5:",
            fours = inout(reg) steps / 4 => _,
            rest = inout(reg) steps % 4 => _,
            a = inout(reg) a => _,
            b = inout(reg) b => _,
            inout("zmm0") *s0,
            inout("zmm1") *s1,
            inout("zmm2") *s2,
            inout("zmm3") *s3,
            inout("zmm4") *s4,
            inout("zmm5") *s5,
            inout("zmm6") *s6,
            inout("zmm7") *s7,
            inout("zmm8") *s8,
            inout("zmm9") *s9,
            inout("zmm10") *s10,
            inout("zmm11") *s11,
            inout("zmm12") *s12,
            inout("zmm13") *s13,
            inout("zmm14") *s14,
            inout("zmm15") *s15,
            inout("zmm16") *s16,
            inout("zmm17") *s17,
            inout("zmm18") *s18,
            inout("zmm19") *s19,
            inout("zmm20") *s20,
            inout("zmm21") *s21,
            inout("zmm22") *s22,
            inout("zmm23") *s23,
            inout("zmm24") *s24,
            inout("zmm25") *s25,
            inout("zmm26") *s26,
            inout("zmm27") *s27,
            out("zmm28") _,
            out("zmm29") _,
            options(pure, readonly, nostack),
        );
    }
    sums
}
