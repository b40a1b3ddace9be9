//! The tile of AVX-512, the only one in assembly: 14 rows of two vectors.
//!
//! A multiply-add can take its value of `a` from memory and spread it over the lanes by itself. If all do, a step is 30
//! instructions, the fewest, but also 30 loads for 28 multiply-adds, where a core has two ports for each: 0.80 to 0.82 of
//! the peak. If each value is spread once for its two uses, it is 16 loads and 44 instructions, which a core runs short of
//! when its other hardware thread is busy. So four of the fourteen rows do the one and ten the other: 20 loads and
//! 40 instructions, 0.95 to 0.98 of the peak on a core left alone (in a loop over the tile only, on a Cascade Lake
//! core; seven and seven reach 0.93 to 0.95). Where `a` is read as it lies, all spread once: a multiply-add whose place
//! has an index would be two instructions again.

use super::pack::avx512::first;
use super::strip::{Left, Place};
use std::arch::asm;
use std::arch::x86_64::*;

/// Rows of the tile.
pub(super) const ROWS: usize = 14;

/// Columns of the tile.
pub(super) const COLUMNS: usize = 32;

/// Steps of a product so small (attention's) that its result is at hand.
const SHORT: usize = 64;

// A longer product has four steps for each row of its result, with which the row is fetched.
const _: () = assert!(SHORT >= 4 * ROWS);

/// A row of a step: its two sums are numbered; its value of `a` lies at a place, and is spread over the lanes by each
/// multiply-add for itself (`both`) or once for the two, in a register that is numbered, too.
macro_rules! row {
    (both [$($place:literal),*], $left:literal, $right:literal) => {
        concat!(
            "vfmadd231ps zmm", $left, ", zmm28, dword ptr [", $($place,)* "]{{1to16}}\n",
            "vfmadd231ps zmm", $right, ", zmm29, dword ptr [", $($place,)* "]{{1to16}}\n",
        )
    };
    ($spread:literal [$($place:literal),*], $left:literal, $right:literal) => {
        concat!(
            "vbroadcastss zmm", $spread, ", dword ptr [", $($place,)* "]\n",
            "vfmadd231ps zmm", $left, ", zmm28, zmm", $spread, "\n",
            "vfmadd231ps zmm", $right, ", zmm29, zmm", $spread, "\n",
        )
    };
}

/// A step of all sums, whose vectors of `b` lie at a place, and the values of `a` from `{a}`, `{a5}` and `{a10}` on.
macro_rules! step {
    ([$($b:literal),*], $($spread:tt [$($place:literal),*] $left:literal $right:literal)*) => {
        concat!(
            "vmovups zmm28, [", $($b,)* "]\n",
            "vmovups zmm29, [", $($b,)* " + 64]\n",
            $(row!($spread [$($place),*], $left, $right),)*
        )
    };
}

/// A step with `a` packed: a step's values side by side, a step after the other.
macro_rules! packed {
    ($step:literal) => {
        step!(["{b} + 128 * ", $step],
            both ["{a} + 56 * ", $step] 0 1 30 ["{a} + 56 * ", $step, " + 4"] 2 3
            31 ["{a} + 56 * ", $step, " + 8"] 4 5 30 ["{a} + 56 * ", $step, " + 12"] 6 7
            both ["{a} + 56 * ", $step, " + 16"] 8 9 31 ["{a} + 56 * ", $step, " + 20"] 10 11
            30 ["{a} + 56 * ", $step, " + 24"] 12 13 31 ["{a} + 56 * ", $step, " + 28"] 14 15
            both ["{a} + 56 * ", $step, " + 32"] 16 17 30 ["{a} + 56 * ", $step, " + 36"] 18 19
            31 ["{a} + 56 * ", $step, " + 40"] 20 21 30 ["{a} + 56 * ", $step, " + 44"] 22 23
            both ["{a} + 56 * ", $step, " + 48"] 24 25 31 ["{a} + 56 * ", $step, " + 52"] 26 27)
    };
}

/// A step with `a` as it lies in columns: a step's values side by side, a step `{between}` bytes after the other.
macro_rules! in_columns {
    (0) => {
        in_columns!(0, "")
    };
    (1) => {
        in_columns!(1, " + {between}")
    };
    (2) => {
        in_columns!(2, " + 2 * {between}")
    };
    (3) => {
        in_columns!(3, " + {three}")
    };
    ($step:literal, $at:literal) => {
        step!(["{b} + 128 * ", $step],
            30 ["{a}", $at] 0 1 31 ["{a}", $at, " + 4"] 2 3 30 ["{a}", $at, " + 8"] 4 5
            31 ["{a}", $at, " + 12"] 6 7 30 ["{a}", $at, " + 16"] 8 9 31 ["{a}", $at, " + 20"] 10 11
            30 ["{a}", $at, " + 24"] 12 13 31 ["{a}", $at, " + 28"] 14 15 30 ["{a}", $at, " + 32"] 16 17
            31 ["{a}", $at, " + 36"] 18 19 30 ["{a}", $at, " + 40"] 20 21 31 ["{a}", $at, " + 44"] 22 23
            30 ["{a}", $at, " + 48"] 24 25 31 ["{a}", $at, " + 52"] 26 27)
    };
}

/// A step with `a` as it lies in rows, `{between}` bytes apart; `{three}` is three times that.
macro_rules! in_rows {
    ($step:literal) => {
        step!(["{b} + 128 * ", $step],
            30 ["{a} + 4 * ", $step] 0 1 31 ["{a} + {between} + 4 * ", $step] 2 3
            30 ["{a} + 2 * {between} + 4 * ", $step] 4 5 31 ["{a} + {three} + 4 * ", $step] 6 7
            30 ["{a} + 4 * {between} + 4 * ", $step] 8 9 31 ["{a5} + 4 * ", $step] 10 11
            30 ["{a5} + {between} + 4 * ", $step] 12 13 31 ["{a5} + 2 * {between} + 4 * ", $step] 14 15
            30 ["{a5} + {three} + 4 * ", $step] 16 17 31 ["{a5} + 4 * {between} + 4 * ", $step] 18 19
            30 ["{a10} + 4 * ", $step] 20 21 31 ["{a10} + {between} + 4 * ", $step] 22 23
            30 ["{a10} + 2 * {between} + 4 * ", $step] 24 25 31 ["{a10} + {three} + 4 * ", $step] 26 27)
    };
}

/// See [`super::tile`]'s `Compute`.
///
/// # Safety
/// AVX-512 must be there; `a` holds `steps` values of 14 rows, `b` `steps` x 32, and `place` may be written to.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
pub(super) unsafe fn compute(steps: usize, a: Left, b: *const f32, place: Place) {
    // SAFETY: the caller's promise.
    let sums = unsafe { sums(steps, a, b, &place) };
    if place.rows == ROWS && place.columns == COLUMNS {
        let mut to = place.c;
        for [left, right] in sums {
            // SAFETY: the place has all rows and columns.
            unsafe {
                let (left, right) = match place.accumulate {
                    true => {
                        (_mm512_add_ps(_mm512_loadu_ps(to), left), _mm512_add_ps(_mm512_loadu_ps(to.add(16)), right))
                    }
                    false => (left, right),
                };
                _mm512_storeu_ps(to, left);
                _mm512_storeu_ps(to.add(16), right);
            }
            to = to.wrapping_add(place.stride);
        }
        return;
    }
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

/// Four steps, behind which the pointers are moved on.
macro_rules! four_steps {
    ($step:ident, $($by_four:literal),*) => {
        concat!($step!(0), $step!(1), $step!(2), $step!(3), $($by_four, "\n",)* "add {b}, 4 * 128")
    };
}

/// The sums of a tile, for each a chain of multiply-adds from zero on: steps by fours, then one by one. The operands are
/// those of `a`, whose pointers are moved on behind a step and behind four.
macro_rules! chains {
    ($step:ident, [$($by:literal),*], [$($by_four:literal),*], $steps:expr, $b:expr, $place:expr, $($operands:tt)*) => {{
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        // Of a product so small that its result is at hand nothing is fetched.
        let far = if $steps > SHORT { $place.rows } else { 0 };
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
        asm!(
            // A row of what the sums go to is fetched with each four steps: all at once would keep `b` waiting.
            "test {far}, {far}",
            "jz 7f",
            ".p2align 5",
            "6:",
            "prefetcht0 [{to}]",
            "prefetcht0 [{to} + 64]",
            "add {to}, {stride}",
            four_steps!($step, $($by_four),*),
            "dec {far}",
            "jnz 6b",
            "7:",
            "test {fours}, {fours}",
            "jz 3f",
            ".p2align 5",
            "2:",
            four_steps!($step, $($by_four),*),
            "dec {fours}",
            "jnz 2b",
            "3:",
            "test {rest}, {rest}",
            "jz 5f",
            "4:",
            $step!(0),
            $($by,)*
            "add {b}, 128",
            "dec {rest}",
            "jnz 4b",
            "5:",
            far = inout(reg) far => _,
            to = inout(reg) $place.c => _,
            stride = in(reg) 4 * $place.stride,
            fours = inout(reg) $steps / 4 - far => _,
            rest = inout(reg) $steps % 4 => _,
            b = inout(reg) $b => _,
            $($operands)*
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
            out("zmm30") _,
            out("zmm31") _,
            options(pure, readonly, nostack),
        );
        sums
    }};
}

/// [`chains!`] with `a` packed or in rows.
///
/// # Safety
/// As [`compute`].
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
unsafe fn sums(steps: usize, a: Left, b: *const f32, place: &Place) -> [[__m512; 2]; ROWS] {
    // SAFETY: `a` and `b` are read for as many steps as the caller promises; every register that changes is named.
    unsafe {
        match a {
            Left::Packed(a) => {
                chains!(packed, ["add {a}, 56"], ["add {a}, 4 * 56"], steps, b, place, a = inout(reg) a => _,)
            }
            Left::Columns { from, between } => chains!(
                in_columns, ["add {a}, {between}"], ["lea {a}, [{a} + 4 * {between}]"], steps, b, place,
                a = inout(reg) from => _,
                between = in(reg) 4 * between,
                three = in(reg) 12 * between,
            ),
            Left::Rows { from, between } => chains!(
                in_rows,
                ["add {a}, 4", "add {a5}, 4", "add {a10}, 4"],
                ["add {a}, 16", "add {a5}, 16", "add {a10}, 16"],
                steps, b, place,
                a = inout(reg) from => _,
                a5 = inout(reg) from.wrapping_add(5 * between) => _,
                a10 = inout(reg) from.wrapping_add(10 * between) => _,
                between = in(reg) 4 * between,
                three = in(reg) 12 * between,
            ),
        }
    }
}
