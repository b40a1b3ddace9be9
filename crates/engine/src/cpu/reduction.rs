//! Reductions in fixed lanes: the same bits on every machine.

use super::vector::Vector;

/// Number of lanes of every reduction; part of the numerics.
pub(crate) const LANES: usize = 16;

/// The lanes' sum by halving: (0+8, 1+9, ..), then (0+4, ..), and so on.
#[inline(always)]
pub(crate) fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// `sum(x y)`: a chain of fused multiply-adds in each lane, the lanes' tree, then what is left over in order.
///
/// # Safety
/// The instruction set of `V` must be there; `N` of its registers are [`LANES`] lanes.
#[inline(always)]
pub(crate) unsafe fn dot<V: Vector, const N: usize>(x: &[f32], y: &[f32]) -> f32 {
    let (x_blocks, x_rest) = x.as_chunks::<LANES>();
    let (y_blocks, y_rest) = y[..x.len()].as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    // SAFETY: the caller's promise; a block holds `N` registers.
    unsafe {
        let mut sums = [V::zero(); N];
        for (x, y) in x_blocks.iter().zip(y_blocks) {
            for (register, sum) in sums.iter_mut().enumerate() {
                let place = register * V::LANES;
                *sum = V::load(x.as_ptr().add(place)).mul_add(V::load(y.as_ptr().add(place)), *sum);
            }
        }
        for (register, sum) in sums.into_iter().enumerate() {
            sum.store(lanes.as_mut_ptr().add(register * V::LANES));
        }
    }
    let mut sum = sum_lanes(lanes);
    for (x, y) in x_rest.iter().zip(y_rest) {
        sum = x.mul_add(*y, sum);
    }
    sum
}

/// The larger value; not a number is passed over.
#[inline(always)]
pub(crate) fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// The largest lane.
#[inline(always)]
pub(crate) fn max_of_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = larger(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}
