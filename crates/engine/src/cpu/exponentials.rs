//! Exponentials of rows, each against its row's largest value, and their sums in fixed lanes.

use super::elementary::{exp, exp_of, ln};
use super::reduction::{LANES, larger, max_of_lanes, sum_lanes};
use super::vector::{Vector, kernel};
use std::ops::Range;

/// Some exponentials: `highest = scale max x` and `sum = sum(exp(scale x - highest))`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Exponentials {
    pub highest: f32,
    pub sum: f32,
}

impl Exponentials {
    /// Those of a row from those of its parts, in order.
    pub(crate) fn joined(parts: impl Iterator<Item = Self> + Clone) -> Self {
        let highest = parts.clone().fold(f32::NEG_INFINITY, |a, b| if b.highest > a { b.highest } else { a });
        let whole = Self { highest, sum: 0.0 };
        Self { sum: parts.fold(0.0, |sum, part| part.sum.mul_add(part.factor_in(whole), sum)), ..whole }
    }

    /// What this part's exponentials are multiplied by in the whole row.
    pub(crate) fn factor_in(self, whole: Self) -> f32 {
        exp(self.highest - whole.highest)
    }

    /// `log(sum(exp(scale x)))`.
    pub(crate) fn logarithm(self) -> f32 {
        self.highest + ln(self.sum)
    }
}

/// Chains of comparisons that are followed at once, as one takes longer than it keeps the hardware busy.
const CHAINS: usize = 4;

/// The largest value, not a number passed over.
///
/// # Safety
/// The instruction set of `V` must be there.
#[inline(always)]
unsafe fn highest<V: Vector, const N: usize>(x: &[f32]) -> f32 {
    let (blocks, rest) = x.as_chunks::<LANES>();
    let (groups, single) = blocks.as_chunks::<CHAINS>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    // SAFETY: the caller's promise; a block holds `N` registers.
    unsafe {
        let mut chains = [[V::splat(f32::NEG_INFINITY); N]; CHAINS];
        let follow = |chain: &mut [V; N], block: &[f32; LANES]| {
            for (register, highest) in chain.iter_mut().enumerate() {
                *highest = V::load(block.as_ptr().add(register * V::LANES)).max(*highest);
            }
        };
        for group in groups {
            for (chain, block) in chains.iter_mut().zip(group) {
                follow(chain, block);
            }
        }
        for (chain, block) in chains.iter_mut().zip(single) {
            follow(chain, block);
        }
        for register in 0..N {
            let highest = chains.map(|chain| chain[register]).into_iter().reduce(|a, b| b.max(a));
            if let Some(highest) = highest {
                highest.store(lanes.as_mut_ptr().add(register * V::LANES));
            }
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane = larger(*lane, value);
    }
    max_of_lanes(lanes)
}

/// The sum of `exp(x - highest)` over `len` values, which are written over x if so told.
///
/// # Safety
/// The instruction set of `V` must be there; x must be valid for reading, and for writing if it is written to.
#[inline(always)]
unsafe fn summed<V: Vector, const N: usize>(x: *mut f32, len: usize, highest: f32, write: bool) -> f32 {
    let whole = len / LANES * LANES;
    let mut lanes = [0.0f32; LANES];
    // SAFETY: the caller's promise; a block holds `N` registers.
    unsafe {
        let mut sums = [V::zero(); N];
        for block in (0..whole).step_by(LANES) {
            for (register, sum) in sums.iter_mut().enumerate() {
                let place = x.add(block + register * V::LANES);
                let e = exp_of(V::load(place).sub(V::splat(highest)));
                if write {
                    e.store(place);
                }
                *sum = sum.add(e);
            }
        }
        for (register, sum) in sums.into_iter().enumerate() {
            sum.store(lanes.as_mut_ptr().add(register * V::LANES));
        }
        for (lane, place) in lanes.iter_mut().zip(whole..len) {
            let e = exp(*x.add(place) - highest);
            if write {
                *x.add(place) = e;
            }
            *lane += e;
        }
    }
    sum_lanes(lanes)
}

kernel! {
    /// `x = exp(x - highest)` in place, `highest = max x`.
    fn exponentials<V, N>(x: &mut [f32]) -> Exponentials {
        // SAFETY: the kernel's promise; `x` may be written to.
        unsafe {
            let highest = highest::<V, N>(x);
            Exponentials { highest, sum: summed::<V, N>(x.as_mut_ptr(), x.len(), highest, true) }
        }
    }
}

kernel! {
    /// What [`exponentials`] returns, without writing them.
    fn sum_of_exponentials<V, N>(x: &[f32]) -> Exponentials {
        // SAFETY: the kernel's promise; nothing is written.
        unsafe {
            let highest = highest::<V, N>(x);
            Exponentials { highest, sum: summed::<V, N>(x.as_ptr().cast_mut(), x.len(), highest, false) }
        }
    }
}

/// Bits of the lanes of the block at `place` that lie in `span`, if some do not.
#[inline(always)]
fn edge(span: &Range<usize>, place: usize) -> Option<[u32; LANES]> {
    let inside = place >= span.start && place + LANES <= span.end;
    (!inside).then(|| std::array::from_fn(|lane| if span.contains(&(place + lane)) { u32::MAX } else { 0 }))
}

kernel! {
    /// `x = exp(scale x - highest)` in place in a span of each row of `x: [spans, width]`, `highest = scale max x`; 0
    /// outside the span. The width is whole lanes; a value's lane is its place in the row.
    ///
    /// All largest values come first, so that a row need not wait for the one before.
    fn masked_exponentials<V, N>(x: &mut [f32], spans: &[Range<usize>], scale: f32, known: &mut [Exponentials]) {
        let width = x.len() / spans.len().max(1);
        assert!(width.is_multiple_of(LANES) && spans.iter().all(|span| span.end <= width), "span outside its row");
        for ((x, span), known) in x.chunks_exact(width).zip(spans).zip(&mut *known) {
            let mut lanes = [f32::NEG_INFINITY; LANES];
            // SAFETY: the kernel's promise; the blocks lie in the row, and a block holds `N` registers.
            unsafe {
                let mut chain = [V::splat(f32::NEG_INFINITY); N];
                for place in (span.start / LANES * LANES..span.end).step_by(LANES) {
                    let edge = edge(span, place);
                    for (register, highest) in chain.iter_mut().enumerate() {
                        let mut value = V::load(x.as_ptr().add(place + register * V::LANES));
                        if let Some(edge) = &edge {
                            let mask = V::load(edge.as_ptr().cast::<f32>().add(register * V::LANES));
                            value = mask.and(value).or(mask.not_and(V::splat(f32::NEG_INFINITY)));
                        }
                        *highest = value.max(*highest);
                    }
                }
                for (register, highest) in chain.into_iter().enumerate() {
                    highest.store(lanes.as_mut_ptr().add(register * V::LANES));
                }
            }
            known.highest = max_of_lanes(lanes) * scale;
        }
        for ((x, span), known) in x.chunks_exact_mut(width).zip(spans).zip(known) {
            let blocks = span.start / LANES * LANES..span.end.next_multiple_of(LANES);
            x[..blocks.start].fill(0.0);
            x[blocks.end..].fill(0.0);
            let mut lanes = [0.0f32; LANES];
            // SAFETY: as above.
            unsafe {
                let mut sums = [V::zero(); N];
                let (scale, lowered) = (V::splat(scale), V::splat(-known.highest));
                for place in blocks.step_by(LANES) {
                    let edge = edge(span, place);
                    for (register, sum) in sums.iter_mut().enumerate() {
                        let place = x.as_mut_ptr().add(place + register * V::LANES);
                        let mut e = exp_of(V::load(place).mul_add(scale, lowered));
                        if let Some(edge) = &edge {
                            e = V::load(edge.as_ptr().cast::<f32>().add(register * V::LANES)).and(e);
                        }
                        e.store(place);
                        *sum = sum.add(e);
                    }
                }
                for (register, sum) in sums.into_iter().enumerate() {
                    sum.store(lanes.as_mut_ptr().add(register * V::LANES));
                }
            }
            known.sum = sum_lanes(lanes);
        }
    }
}

kernel! {
    /// `logarithms = log(sum(exp))` of some rows, and `inverses = 1 / sum`.
    fn logarithms(rows: &[Exponentials], logarithms: &mut [f32], inverses: &mut [f32]) {
        for ((row, logarithm), inverse) in rows.iter().zip(logarithms).zip(inverses) {
            *logarithm = row.logarithm();
            *inverse = 1.0 / row.sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::rows::tests::{random, same_everywhere};

    #[test]
    fn exponentials_are_the_same_bits_everywhere() {
        same_everywhere(|isa, n| {
            let x = random(n, 1);
            let plain = sum_of_exponentials(isa, &x);
            let mut y = x.clone();
            assert_eq!(exponentials(isa, &mut y), plain);
            // A span that starts with a row's lanes has the bits of the whole, whatever else is in the row.
            let width = (n + 5).next_multiple_of(LANES);
            let mut masked = vec![f32::NAN; 2 * width];
            masked[..n].copy_from_slice(&x);
            masked[width + 3..width + 3 + n].copy_from_slice(&x);
            let mut rows = [Exponentials { highest: 0.0, sum: 0.0 }; 2];
            masked_exponentials(isa, &mut masked, &[0..n, 3..3 + n], 1.0, &mut rows);
            assert_eq!((rows[0], &masked[..n]), (plain, &y[..]));
            assert_eq!((rows[1].highest, &masked[width + 3..width + 3 + n]), (plain.highest, &y[..]));
            assert!((rows[1].sum - plain.sum).abs() < 1e-5 * plain.sum);
            assert_eq!(masked.iter().filter(|&&e| e == 0.0).count(), 2 * (width - n));
            let (mut sums, mut inverses) = ([0.0; 2], [0.0; 2]);
            logarithms(isa, &rows, &mut sums, &mut inverses);
            assert_eq!(sums, rows.map(Exponentials::logarithm));
            let joined = Exponentials::joined(rows.into_iter());
            [y, masked, sums.to_vec(), inverses.to_vec(), vec![joined.highest, joined.sum]].concat()
        });
    }
}
