//! Elementary functions of our own: the same bits on every machine.

/// Number of lanes of every reduction; part of the numerics.
pub(crate) const LANES: usize = 16;

/// `e^x`, relative error under 2e-7; x is clamped to -87 ..= 88.
///
/// `x = t ln 2 + r` with integer t and |r| <= ln 2 / 2; ln 2 in two parts so that r is nearly exact; `e^r` by a
/// polynomial of degree 7 (Cephes' coefficients), `2^t` by its bits.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    /// Adding and taking off 1.5 * 2^23 rounds to the nearest integer without a rounding instruction.
    const ROUND: f32 = 12_582_912.0;
    // Compared such that not a number stays what it is.
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let t = shifted - ROUND;
    let r = t.mul_add(-0.693_359_4, x);
    let r = t.mul_add(2.121_944_4e-4, r);
    let p = 1.987_569_1e-4f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 0.5);
    let y = p.mul_add(r * r, r) + 1.0;
    // The lowest bits of `shifted` are t.
    y * f32::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23)
}

/// The natural logarithm of a positive, finite x; rounded from an f64 that is right to 1e-12.
///
/// `x = m 2^e`, m in [sqrt 1/2, sqrt 2); `ln m = 2 atanh(z)`, `z = (m - 1) / (m + 1)`, |z| < 0.172, by its series.
#[inline(always)]
pub(crate) fn ln(x: f32) -> f32 {
    let bits = f64::from(x).to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut m = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    if m > std::f64::consts::SQRT_2 {
        m *= 0.5;
        exponent += 1;
    }
    let z = (m - 1.0) / (m + 1.0);
    let square = z * z;
    let mut series = 0.0;
    for odd in [15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        series = series * square + 1.0 / odd;
    }
    (2.0 * z * series + exponent as f64 * std::f64::consts::LN_2) as f32
}

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
#[inline(always)]
pub(crate) fn dot(x: &[f32], y: &[f32]) -> f32 {
    let y = &y[..x.len()];
    let mut lanes = [0.0f32; LANES];
    let (x_blocks, x_rest) = x.as_chunks::<LANES>();
    let (y_blocks, y_rest) = y.as_chunks::<LANES>();
    for (x, y) in x_blocks.iter().zip(y_blocks) {
        for i in 0..LANES {
            lanes[i] = x[i].mul_add(y[i], lanes[i]);
        }
    }
    let mut sum = sum_lanes(lanes);
    for (x, y) in x_rest.iter().zip(y_rest) {
        sum = x.mul_add(*y, sum);
    }
    sum
}

/// The largest value; not a number is passed over.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for i in 0..LANES {
            lanes[i] = larger(lanes[i], block[i]);
        }
    }
    let best = lanes.into_iter().fold(f32::NEG_INFINITY, larger);
    rest.iter().fold(best, |a, &b| larger(a, b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_near_the_true_value() {
        let mut worst = 0.0f64;
        for step in -860_000..870_000 {
            let x = step as f32 * 1e-4;
            let truth = libm::exp(f64::from(x));
            worst = worst.max((f64::from(exp(x)) / truth - 1.0).abs());
        }
        assert!(worst < 2e-7, "{worst}");
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(-1e9) > 0.0 && exp(1e9).is_finite());
    }

    #[test]
    fn ln_is_the_rounded_true_value() {
        let mut bits = 0x0080_0000u32;
        while bits < 0x7f80_0000 {
            let x = f32::from_bits(bits);
            let truth = libm::log(f64::from(x));
            assert!((f64::from(ln(x)) - truth).abs() <= truth.abs() * 7e-8 + 1e-12, "{x}");
            bits += 99_991;
        }
    }
}
